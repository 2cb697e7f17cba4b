//! Which pods are bound where, and what users are told of those that are not.

use crate::support::{Cluster, Objects, template};
use barepod_client::DeleteOptions;
use serde_json::{Value, json};

fn pod(name: &str, spec: Value) -> Value {
    let mut pod = template("p", "web:1");
    pod["metadata"]["name"] = name.into();
    pod["spec"]
        .as_object_mut()
        .unwrap()
        .extend(spec.as_object().cloned().unwrap());
    pod
}

fn asking(cpu: &str) -> Value {
    json!({"containers": [{"name": "c", "image": "web:1", "resources": {"requests": {"cpu": cpu}}}]})
}

fn message(all: &Objects, name: &str) -> String {
    let conditions = all
        .get(name)
        .and_then(|p| p["status"]["conditions"].as_array().cloned())
        .unwrap_or_default();
    let scheduled = conditions
        .iter()
        .find(|c| c["type"] == "PodScheduled" && c["status"] == "False");
    scheduled
        .and_then(|c| c["message"].as_str())
        .unwrap_or_default()
        .to_owned()
}

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_waits_for_room_and_gets_it() {
    let mut cluster = Cluster::new().await;
    cluster.post(PODS, pod("early", asking("1"))).await;
    let told = |all: &Objects| message(all, "default/early") == "no nodes available to schedule pods";
    let pods = cluster.until("v1/Pod", "no nodes", told).await;
    let status = &pods["default/early"]["status"];
    assert_eq!(status["conditions"][0]["observedGeneration"], 1, "{status}");

    cluster.hollow_node("n1", 1).await;
    let bound = |name: &'static str| move |all: &Objects| all[name]["spec"]["nodeName"] == "n1";
    cluster.until("v1/Pod", "a node came", bound("default/early")).await;

    cluster.post(PODS, pod("large", asking("3500m"))).await;
    let full = |all: &Objects| message(all, "default/large") == "0/1 nodes are available: 1 Insufficient cpu.";
    cluster.until("v1/Pod", "no room", full).await;
    let event = |all: &Objects| {
        all.values()
            .any(|e| e["reason"] == "FailedScheduling" && e["involvedObject"]["name"] == "large")
    };
    cluster.until("v1/Event", "an event", event).await;

    cluster.delete(&format!("{PODS}/early"), DeleteOptions::default()).await;
    let pods = cluster.until("v1/Pod", "room", bound("default/large")).await;
    let conditions = pods["default/large"]["status"]["conditions"].as_array().unwrap();
    assert!(
        conditions
            .iter()
            .any(|c| c["type"] == "PodScheduled" && c["status"] == "True"),
        "{conditions:?}"
    );
    let event = |all: &Objects| {
        all.values()
            .any(|e| e["reason"] == "Scheduled" && e["involvedObject"]["name"] == "large")
    };
    cluster.until("v1/Event", "an event", event).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn respects_selectors_taints_names_gates_and_priorities() {
    let cluster = Cluster::new().await;
    for name in ["a", "b"] {
        cluster.node(name).await;
    }
    cluster
        .merge("/api/v1/nodes/b", json!({"metadata": {"labels": {"disk": "ssd"}}}))
        .await;
    let taint = json!({"spec": {"taints": [{"key": "team", "value": "x", "effect": "NoSchedule"}]}});
    cluster.merge("/api/v1/nodes/a", taint).await;
    let both = |all: &Objects| !all["/a"]["spec"]["taints"].is_null();
    cluster.until("v1/Node", "taint", both).await;

    cluster
        .post(PODS, pod("ssd", json!({"nodeSelector": {"disk": "ssd"}})))
        .await;
    cluster.post(PODS, pod("plain", json!({}))).await;
    let toleration = json!({"tolerations": [{"key": "team", "operator": "Exists"}], "nodeSelector": {"kubernetes.io/hostname": "a"}});
    cluster.post(PODS, pod("tolerant", toleration)).await;
    cluster
        .post(
            PODS,
            pod("gated", json!({"schedulingGates": [{"name": "example.com/wait"}]})),
        )
        .await;
    cluster
        .post(PODS, pod("foreign", json!({"schedulerName": "other"})))
        .await;
    cluster
        .post(PODS, pod("nowhere", json!({"nodeSelector": {"disk": "tape"}})))
        .await;
    let done = |all: &Objects| {
        let on = |name: &str, node: &str| {
            all.get(&format!("default/{name}"))
                .is_some_and(|p| p["spec"]["nodeName"] == node)
        };
        let told = message(all, "default/nowhere");
        on("ssd", "b")
            && on("plain", "b")
            && on("tolerant", "a")
            && told == "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
    };
    let pods = cluster.until("v1/Pod", "placed", done).await;
    for name in ["default/gated", "default/foreign"] {
        assert!(pods[name]["spec"]["nodeName"].is_null());
    }
    cluster
        .merge(&format!("{PODS}/gated"), json!({"spec": {"schedulingGates": []}}))
        .await;
    cluster
        .until("v1/Pod", "gate lifted", |all| {
            all["default/gated"]["spec"]["nodeName"] == "b"
        })
        .await;
    cluster.stop().await;
}
