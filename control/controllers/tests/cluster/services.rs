//! EndpointSlices and Endpoints.

use crate::support::{Cluster, Objects, template};
use barepod_client::DeleteOptions;
use serde_json::{Value, json};

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn slice_of<'a>(all: &'a Objects, service: &str) -> Vec<&'a Value> {
    all.values()
        .filter(|s| s["metadata"]["labels"]["kubernetes.io/service-name"] == service)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_follow_the_pods() {
    let mut cluster = Cluster::new().await;
    cluster.hollow_node("n1", 1).await;
    let spec = json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]});
    cluster
        .post(
            SERVICES,
            json!({"metadata": {"name": "web", "labels": {"team": "x"}}, "spec": spec}),
        )
        .await;
    cluster.deploy("web", 3, json!({})).await;
    let ready = |count: usize| {
        move |all: &Objects| {
            let slices = slice_of(all, "web");
            let endpoints = slices
                .iter()
                .flat_map(|s| s["endpoints"].as_array().cloned().unwrap_or_default());
            let states: Vec<bool> = endpoints.map(|e| e["conditions"]["ready"] == true).collect();
            states.len() == count && states.iter().all(|r| *r)
        }
    };
    let slices = cluster
        .until("discovery.k8s.io/v1/EndpointSlice", "3 endpoints", ready(3))
        .await;
    let slice = slice_of(&slices, "web")[0];
    assert_eq!(slice["ports"][0]["port"], 8080);
    assert_eq!(slice["endpoints"][0]["nodeName"], "n1");
    assert_eq!(slice["endpoints"][0]["targetRef"]["kind"], "Pod");
    assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
    assert_eq!(
        slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"],
        "endpointslice-controller.k8s.io"
    );
    assert_eq!(slice["metadata"]["labels"]["team"], "x");
    let three = |all: &Objects| {
        all.get("default/web")
            .is_some_and(|e| e["subsets"][0]["addresses"].as_array().is_some_and(|a| a.len() == 3))
    };
    cluster.until("v1/Endpoints", "3 addresses", three).await;

    let path = "/apis/apps/v1/namespaces/default/deployments/web";
    cluster.merge(path, json!({"spec": {"replicas": 1}})).await;
    cluster
        .until("discovery.k8s.io/v1/EndpointSlice", "1 endpoint", ready(1))
        .await;

    cluster
        .delete(&format!("{SERVICES}/web"), DeleteOptions::default())
        .await;
    cluster
        .until("discovery.k8s.io/v1/EndpointSlice", "no slices", |all| {
            slice_of(all, "web").is_empty()
        })
        .await;
    cluster
        .until("v1/Endpoints", "no endpoints", |all| !all.contains_key("default/web"))
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_is_not_ready_is_listed_but_not_ready() {
    let cluster = Cluster::new().await;
    cluster.node("n1").await;
    let spec = json!({"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]});
    cluster
        .post(SERVICES, json!({"metadata": {"name": "web"}, "spec": spec}))
        .await;
    let mut pod = template("web", "web:1");
    pod["metadata"]["name"] = "p".into();
    cluster.post("/api/v1/namespaces/default/pods", pod).await;
    let status = |ready: &str| {
        json!({"status": {"phase": "Running", "podIP": "10.244.1.9", "podIPs": [{"ip": "10.244.1.9"}],
            "conditions": [{"type": "Ready", "status": ready}]}})
    };
    let path = "/api/v1/namespaces/default/pods/p/status";
    for (word, value) in [("False", false), ("True", true), ("False", false)] {
        cluster.strategic(path, status(word)).await;
        let shown = |all: &Objects| {
            slice_of(all, "web")
                .iter()
                .any(|s| s["endpoints"][0]["conditions"]["ready"] == value)
        };
        let slices = cluster.until("discovery.k8s.io/v1/EndpointSlice", word, shown).await;
        assert!(
            slice_of(&slices, "web")[0]["metadata"]["labels"]
                .get("service.kubernetes.io/headless")
                .is_some()
        );
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_written_by_hand_are_mirrored() {
    let cluster = Cluster::new().await;
    cluster
        .post(
            SERVICES,
            json!({"metadata": {"name": "db"}, "spec": {"ports": [{"port": 5432}]}}),
        )
        .await;
    let subsets = json!([{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 5432}]}]);
    let endpoints = json!({"metadata": {"name": "db"}, "subsets": subsets});
    cluster.post("/api/v1/namespaces/default/endpoints", endpoints).await;
    let mirrored = |all: &Objects| {
        slice_of(all, "db")
            .iter()
            .any(|s| s["endpoints"][0]["addresses"][0] == "192.0.2.7")
    };
    cluster
        .until("discovery.k8s.io/v1/EndpointSlice", "a mirror", mirrored)
        .await;
    cluster
        .delete("/api/v1/namespaces/default/endpoints/db", DeleteOptions::default())
        .await;
    cluster
        .until("discovery.k8s.io/v1/EndpointSlice", "no mirror", |all| {
            slice_of(all, "db").is_empty()
        })
        .await;
    cluster.stop().await;
}
