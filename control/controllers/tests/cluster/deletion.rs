//! Garbage collection and namespaces.

use crate::support::{Cluster, Objects};
use barepod_client::{DeleteOptions, Propagation};
use serde_json::{Value, json};
use std::time::Duration;

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/web";

async fn deployed() -> Cluster {
    let mut cluster = Cluster::new().await;
    cluster.hollow_node("n1", 1).await;
    cluster.deploy("web", 2, json!({})).await;
    cluster.rolled_out("web", 2).await;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreground_deletion_removes_dependents_first() {
    let cluster = deployed().await;
    cluster
        .delete(
            DEPLOYMENT,
            DeleteOptions::default().propagation(Propagation::Foreground),
        )
        .await;
    cluster
        .until("apps/v1/Deployment", "no Deployment", Objects::is_empty)
        .await;
    let pods = cluster.get("/api/v1/namespaces/default/pods").await;
    assert_eq!(pods["items"], json!([]), "the owner went last");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_of_owners_goes_when_one_of_them_does() {
    let cluster = Cluster::new().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let mut made = Vec::new();
    for name in ["a", "b", "c"] {
        made.push(cluster.post(maps, json!({"metadata": {"name": name}})).await);
    }
    for (at, map) in made.iter().enumerate() {
        let owner = &made[(at + 2) % 3]["metadata"];
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner["name"], "uid": owner["uid"],
            "blockOwnerDeletion": true});
        let name = map["metadata"]["name"].as_str().expect("named");
        cluster
            .merge(
                &format!("{maps}/{name}"),
                json!({"metadata": {"ownerReferences": [owner]}}),
            )
            .await;
    }
    let foreground = DeleteOptions::default().propagation(Propagation::Foreground);
    cluster.delete(&format!("{maps}/a"), foreground).await;
    cluster
        .until("v1/ConfigMap", "the circle to go", |all| {
            !["a", "b", "c"]
                .iter()
                .any(|name| all.contains_key(&format!("default/{name}")))
        })
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_stay_without_their_reference() {
    let cluster = deployed().await;
    cluster
        .delete(DEPLOYMENT, DeleteOptions::default().propagation(Propagation::Orphan))
        .await;
    cluster
        .until("apps/v1/Deployment", "no Deployment", Objects::is_empty)
        .await;
    let sets = cluster.get("/apis/apps/v1/namespaces/default/replicasets").await;
    let set = &sets["items"][0];
    assert_eq!(set["status"]["readyReplicas"], 2);
    assert!(set["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty));
    // A new Deployment with the same template takes it over.
    cluster.deploy("web", 2, json!({})).await;
    let adopted = |all: &Objects| {
        all.len() == 1
            && all
                .values()
                .all(|s| s["metadata"]["ownerReferences"][0]["kind"] == "Deployment")
    };
    cluster.until("apps/v1/ReplicaSet", "adoption", adopted).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_kind_is_collected_once_its_owner_is_gone() {
    let cluster = Cluster::new().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let owner = cluster.post(maps, json!({"metadata": {"name": "owner"}})).await;
    let reference = |uid: &Value| json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}]);
    let uid = &owner["metadata"]["uid"];
    let secrets = "/api/v1/namespaces/default/secrets";
    cluster
        .post(
            secrets,
            json!({"metadata": {"name": "kept", "ownerReferences": reference(uid)}}),
        )
        .await;
    let other = json!("00000000-0000-0000-0000-000000000000");
    cluster
        .post(
            secrets,
            json!({"metadata": {"name": "stray", "ownerReferences": reference(&other)}}),
        )
        .await;
    cluster
        .until("v1/Secret", "the stray to go", |all| all.keys().eq(["default/kept"]))
        .await;
    cluster.delete(&format!("{maps}/owner"), DeleteOptions::default()).await;
    cluster.until("v1/Secret", "the kept to go", Objects::is_empty).await;
    cluster.stop().await;
}

/// A kind that is served only when everything runs already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_resources_own_and_are_owned() {
    let cluster = Cluster::new().await;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definition = json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com",
        "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    let map = |owner: &Value| {
        let owner = json!({"apiVersion": "example.com/v1", "kind": "Widget", "name": "owner", "uid": owner});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dependent", "ownerReferences": [owner]}})
    };
    let (maps, widgets) = (
        "/api/v1/namespaces/default/configmaps",
        "/apis/example.com/v1/namespaces/default/widgets",
    );
    let gone = |all: &Objects| !all.contains_key("default/dependent");
    // Whose owner it is cannot be told before the kind is there.
    cluster
        .post(maps, map(&json!("00000000-0000-0000-0000-000000000000")))
        .await;
    cluster.post(definitions, definition).await;
    cluster.until("v1/ConfigMap", "the stray to go", gone).await;
    let widget = |name: &str| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}});
    let owner = cluster.post(widgets, widget("owner")).await;
    cluster.post(maps, map(&owner["metadata"]["uid"])).await;
    let mut part = widget("part");
    part["metadata"]["ownerReferences"] = map(&owner["metadata"]["uid"])["metadata"]["ownerReferences"].clone();
    cluster.post(widgets, part).await;
    let foreground = DeleteOptions::default().propagation(Propagation::Foreground);
    cluster.delete(&format!("{widgets}/owner"), foreground).await;
    cluster.until("v1/ConfigMap", "the dependent to go", gone).await;
    let all_gone = async {
        while cluster.get(widgets).await["items"] != json!([]) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), all_gone).await;
    in_time.expect("the part goes, and then its owner");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_goes_with_all_it_has() {
    let mut cluster = Cluster::new().await;
    cluster.hollow_node("n1", 1).await;
    cluster
        .post("/api/v1/namespaces", json!({"metadata": {"name": "shop"}}))
        .await;
    cluster
        .until("v1/ServiceAccount", "an account", |all| {
            all.contains_key("shop/default")
        })
        .await;
    let published = |all: &Objects| {
        all.get("shop/kube-root-ca.crt")
            .is_some_and(|m| m["data"]["ca.crt"] == "PEM")
    };
    cluster.until("v1/ConfigMap", "certificates", published).await;
    let template = crate::support::template("web", "web:1");
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template});
    cluster
        .post(
            "/apis/apps/v1/namespaces/shop/deployments",
            json!({"metadata": {"name": "web"}, "spec": spec}),
        )
        .await;
    let running = |all: &Objects| all.values().filter(|p| p["status"]["phase"] == "Running").count() == 3;
    cluster.until("v1/Pod", "pods", running).await;
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    cluster.post("/api/v1/namespaces/shop/configmaps", held).await;

    cluster
        .delete("/api/v1/namespaces/shop", DeleteOptions::default())
        .await;
    let waits = |all: &Objects| {
        all["/shop"]["status"]["conditions"]
            .to_string()
            .contains("example.com/hold has 1 resource instances")
    };
    cluster.until("v1/Namespace", "the finalizer to be named", waits).await;
    cluster.until("v1/Pod", "no pods", Objects::is_empty).await;
    cluster
        .merge(
            "/api/v1/namespaces/shop/configmaps/held",
            json!({"metadata": {"finalizers": []}}),
        )
        .await;
    cluster
        .until("v1/Namespace", "no namespace", |all| !all.contains_key("/shop"))
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_a_namespace_go_first_and_others_can_hold_it() {
    let cluster = Cluster::new().await;
    let spec = json!({"finalizers": ["kubernetes", "example.com/hold"]});
    for (name, spec) in [("shop", json!({})), ("held", spec)] {
        cluster
            .post("/api/v1/namespaces", json!({"metadata": {"name": name}, "spec": spec}))
            .await;
    }
    let pod = json!({"metadata": {"name": "last", "finalizers": ["example.com/hold"]},
        "spec": {"containers": [{"name": "c", "image": "web:1"}]}});
    cluster.post("/api/v1/namespaces/shop/pods", pod).await;
    cluster
        .post(
            "/api/v1/namespaces/shop/configmaps",
            json!({"metadata": {"name": "kept"}}),
        )
        .await;
    for name in ["shop", "held"] {
        let path = format!("/api/v1/namespaces/{name}");
        cluster.delete(&path, DeleteOptions::default()).await;
    }
    let reported = |all: &Objects| {
        ["/shop", "/held"].iter().all(|name| {
            let conditions = all[*name]["status"]["conditions"].as_array();
            conditions.is_some_and(|conditions| conditions.len() == 5)
        })
    };
    let all = cluster.until("v1/Namespace", "conditions", reported).await;
    let remaining = &all["/shop"]["status"]["conditions"][3];
    assert_eq!(
        (&remaining["type"], &remaining["message"]),
        (
            &json!("NamespaceContentRemaining"),
            &json!("pods has 1 resource instances")
        )
    );
    let map = cluster.get("/api/v1/namespaces/shop/configmaps/kept").await;
    assert_eq!(map["metadata"].get("deletionTimestamp"), None, "{map}");
    cluster
        .until("v1/Namespace", "this controller to be done", |all| {
            all["/held"]["spec"]["finalizers"] == json!(["example.com/hold"])
        })
        .await;
    let pod = "/api/v1/namespaces/shop/pods/last";
    cluster.merge(pod, json!({"metadata": {"finalizers": []}})).await;
    cluster
        .until("v1/Namespace", "no namespace", |all| !all.contains_key("/shop"))
        .await;
    cluster.stop().await;
}
