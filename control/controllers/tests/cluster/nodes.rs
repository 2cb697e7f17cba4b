//! Networks, health and loss of nodes.

use crate::support::{Cluster, Objects, is};
use barepod_client::DeleteOptions;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_gets_its_own_network() {
    let cluster = Cluster::new().await;
    for name in ["a", "b", "c"] {
        cluster.node(name).await;
    }
    let cidr = |n: &Value| n["spec"]["podCIDR"].as_str().map(str::to_owned);
    let assigned = |all: &Objects| all.values().filter_map(cidr).count() == 3;
    let nodes = cluster.until("v1/Node", "networks", assigned).await;
    let distinct: BTreeSet<String> = nodes.values().filter_map(cidr).collect();
    assert_eq!(
        distinct.into_iter().collect::<Vec<_>>(),
        ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"]
    );
    assert_eq!(nodes["/a"]["spec"]["podCIDRs"][0], nodes["/a"]["spec"]["podCIDR"]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_a_silent_node_are_replaced_on_another() {
    let mut cluster = Cluster::with(|options| {
        options.node_monitor_grace = Duration::from_millis(1500);
        options.pod_eviction_timeout = Some(Duration::from_millis(500));
    })
    .await;
    cluster.hollow_node("dying", 1).await;
    cluster.deploy("web", 2, json!({})).await;
    cluster.rolled_out("web", 2).await;
    // Only "dying" goes silent: "other" keeps posting.
    cluster.hollow_node("other", 2).await;
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/other";
    let beats = async {
        for beat in 0.. {
            let renewed = format!("2026-01-01T00:00:{:02}.{:06}Z", beat / 10 % 60, beat % 10);
            cluster.merge(lease, json!({"spec": {"renewTime": renewed}})).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let watch = async {
        let unknown =
            |all: &Objects| is(&all["/dying"], "Ready", "Unknown") && all["/dying"]["spec"]["taints"].is_array();
        let nodes = cluster.until("v1/Node", "silence", unknown).await;
        let taints = nodes["/dying"]["spec"]["taints"].to_string();
        assert!(taints.contains("node.kubernetes.io/unreachable"), "{taints}");
        let moved = |all: &Objects| {
            all.values()
                .filter(|p| p["spec"]["nodeName"] == "other" && is(p, "Ready", "True"))
                .count()
                == 2
        };
        cluster.until("v1/Pod", "replacements", moved).await;
        assert!(is(&cluster.get("/api/v1/nodes/other").await, "Ready", "True"));
    };
    tokio::select! {
        () = beats => {}
        () = watch => {}
    }
    cluster.report("dying", "True").await;
    let clean = |all: &Objects| all["/dying"]["spec"]["taints"].as_array().is_none_or(Vec::is_empty);
    cluster.until("v1/Node", "no taints", clean).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_a_deleted_node_are_removed_and_replaced() {
    let mut cluster = Cluster::with(|options| options.orphan_pod_grace = Duration::from_millis(200)).await;
    cluster.node("lost").await;
    cluster.deploy("web", 2, json!({})).await;
    let bound = |all: &Objects| all.values().filter(|p| p["spec"]["nodeName"] == "lost").count() == 2;
    cluster.until("v1/Pod", "bound pods", bound).await;
    cluster.delete("/api/v1/nodes/lost", DeleteOptions::default()).await;
    cluster.hollow_node("next", 2).await;
    let moved = |all: &Objects| all.len() == 2 && all.values().all(|p| p["spec"]["nodeName"] == "next");
    cluster.until("v1/Pod", "replacements", moved).await;
    cluster.stop().await;
}

/// Each is given the time that a node may take to register, whoever named the same node before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_a_node_that_never_was_are_each_waited_for() {
    const GRACE: Duration = Duration::from_millis(300);
    let cluster = Cluster::with(|options| options.orphan_pod_grace = GRACE).await;
    for name in ["first", "second"] {
        let begun = Instant::now();
        let spec = json!({"nodeName": "never", "containers": [{"name": "c", "image": "i"}]});
        let pod = json!({"metadata": {"name": name}, "spec": spec});
        cluster.post("/api/v1/namespaces/default/pods", pod).await;
        cluster.until("v1/Pod", "no pod", Objects::is_empty).await;
        assert!(begun.elapsed() >= GRACE, "{name}: {:?}", begun.elapsed());
    }
    cluster.stop().await;
}
