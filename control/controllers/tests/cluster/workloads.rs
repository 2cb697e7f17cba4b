//! ReplicaSets, ReplicationControllers and Deployments.

use crate::support::{Cluster, Objects, is, template};
use barepod_client::DeleteOptions;
use serde_json::{Value, json};
use std::time::Instant;

fn active(all: &Objects, app: &str) -> usize {
    let of_app = |p: &&Value| p["metadata"]["labels"]["app"] == app && p["metadata"]["deletionTimestamp"].is_null();
    all.values().filter(of_app).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_of_a_hundred_and_its_end() {
    let mut cluster = Cluster::new().await;
    cluster.hollow_node("n1", 1).await;
    let start = Instant::now();
    cluster.deploy("web", 100, json!({})).await;
    let bound = |all: &Objects| all.values().filter(|p| p["spec"]["nodeName"] == "n1").count() == 100;
    let pods = cluster.until("v1/Pod", "100 bound pods", bound).await;
    eprintln!("100 pods created and bound after {:?}", start.elapsed());
    assert_eq!(pods.len(), 100, "not one too many");
    let deployment = cluster.rolled_out("web", 100).await;
    eprintln!("100 pods available after {:?}", start.elapsed());
    assert!(is(&deployment, "Available", "True"));
    assert!(is(&deployment, "Progressing", "True"));
    assert_eq!(
        deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "1"
    );
    assert_eq!(
        deployment["metadata"]["generation"], 1,
        "only users change what is wanted"
    );

    let start = Instant::now();
    cluster
        .delete(
            "/apis/apps/v1/namespaces/default/deployments/web",
            DeleteOptions::default(),
        )
        .await;
    cluster.until("v1/Pod", "no pods", Objects::is_empty).await;
    eprintln!("100 pods gone after {:?}", start.elapsed());
    cluster
        .until("apps/v1/ReplicaSet", "no ReplicaSets", Objects::is_empty)
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_pod_is_bound_within_milliseconds() {
    let mut cluster = Cluster::new().await;
    cluster.hollow_node("n1", 1).await;
    let mut times = Vec::new();
    for round in 0..20 {
        let name = format!("web{round}");
        let start = Instant::now();
        cluster.deploy(&name, 1, json!({})).await;
        let bound = |all: &Objects| {
            all.values()
                .any(|p| p["metadata"]["labels"]["app"] == *name && p["spec"]["nodeName"] == "n1")
        };
        cluster.until("v1/Pod", "a bound pod", bound).await;
        times.push(start.elapsed());
    }
    times.sort();
    eprintln!(
        "create Deployment to bound pod: median {:?}, worst {:?}",
        times[10], times[19]
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_never_falls_below_the_minimum_and_can_be_undone() {
    let mut cluster = Cluster::new().await;
    cluster.hollow_node("n1", 1).await;
    let strategy = json!({"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}});
    cluster.deploy("web", 4, strategy).await;
    cluster.rolled_out("web", 4).await;

    let path = "/apis/apps/v1/namespaces/default/deployments/web";
    let change = json!({
        "metadata": {"annotations": {"kubernetes.io/change-cause": "a newer image"}},
        "spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}},
    });
    cluster.strategic(path, change).await;
    // Every state of the pods on the way.
    let done = |all: &Objects| {
        let ready = |p: &&Value| is(p, "Ready", "True") && p["metadata"]["deletionTimestamp"].is_null();
        let ready: Vec<&Value> = all.values().filter(ready).collect();
        assert!(ready.len() >= 4, "{} of 4 pods are ready", ready.len());
        let alive = all
            .values()
            .filter(|p| p["metadata"]["deletionTimestamp"].is_null())
            .count();
        assert!(alive <= 5, "{alive} pods of at most 5");
        alive == 4 && ready.iter().all(|p| p["spec"]["containers"][0]["image"] == "web:2")
    };
    cluster.until("v1/Pod", "4 new pods", done).await;
    let deployment = cluster.rolled_out("web", 4).await;
    assert_eq!(
        deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "2"
    );

    let sets = cluster.get("/apis/apps/v1/namespaces/default/replicasets").await;
    let revisions: Vec<&Value> = sets["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["metadata"]["annotations"]["deployment.kubernetes.io/revision"])
        .collect();
    assert_eq!(revisions.len(), 2);
    let newest = sets["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["spec"]["replicas"] == 4)
        .unwrap();
    assert_eq!(
        newest["metadata"]["annotations"]["kubernetes.io/change-cause"],
        "a newer image"
    );

    // What `kubectl rollout undo` does: the old template again, which revives the old ReplicaSet.
    let undo = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:1"}]}}}});
    cluster.strategic(path, undo).await;
    let deployment = cluster.rolled_out("web", 4).await;
    assert_eq!(
        deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "3"
    );
    let sets = cluster.get("/apis/apps/v1/namespaces/default/replicasets").await;
    assert_eq!(sets["items"].as_array().unwrap().len(), 2);
    let back = sets["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["spec"]["replicas"] == 4)
        .unwrap();
    assert_eq!(
        back["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"],
        "1"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recreate_ends_the_old_pods_first() {
    let mut cluster = Cluster::new().await;
    cluster.hollow_node("n1", 1).await;
    cluster
        .deploy("web", 3, json!({"strategy": {"type": "Recreate"}}))
        .await;
    cluster.rolled_out("web", 3).await;
    let change = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}});
    cluster
        .strategic("/apis/apps/v1/namespaces/default/deployments/web", change)
        .await;
    let done = |all: &Objects| {
        let of = |image: &str| {
            all.values()
                .filter(|p| p["spec"]["containers"][0]["image"] == image)
                .count()
        };
        assert!(of("web:1") == 0 || of("web:2") == 0, "both at once");
        of("web:2") == 3
    };
    cluster.until("v1/Pod", "3 new pods", done).await;
    cluster.rolled_out("web", 3).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaling_up_and_down_keeps_ready_pods() {
    let mut cluster = Cluster::new().await;
    cluster.hollow_node("n1", 1).await;
    cluster.deploy("web", 2, json!({})).await;
    cluster.rolled_out("web", 2).await;
    let path = "/apis/apps/v1/namespaces/default/deployments/web";
    for size in [7, 3, 0, 1] {
        cluster.merge(path, json!({"spec": {"replicas": size}})).await;
        cluster.rolled_out("web", size).await;
        let wanted = usize::try_from(size).unwrap();
        cluster.until("v1/Pod", "as many pods", |all| all.len() == wanted).await;
    }
    let set = cluster.get("/apis/apps/v1/namespaces/default/replicasets").await["items"][0].clone();
    assert_eq!(
        set["metadata"]["annotations"]["deployment.kubernetes.io/desired-replicas"],
        "1"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_vanish_are_replaced_and_strangers_adopted() {
    let mut cluster = Cluster::new().await;
    cluster.hollow_node("n1", 1).await;
    let mut stranger = template("web", "web:1");
    stranger["metadata"]["name"] = "stranger".into();
    cluster.post("/api/v1/namespaces/default/pods", stranger).await;
    for (path, selector) in [
        (
            "/api/v1/namespaces/default/replicationcontrollers",
            json!({"app": "web"}),
        ),
        (
            "/apis/apps/v1/namespaces/default/replicasets",
            json!({"matchLabels": {"app": "other"}}),
        ),
    ] {
        let app = if path.starts_with("/api/v1") { "web" } else { "other" };
        let spec = json!({"replicas": 3, "selector": selector, "template": template(app, "web:1")});
        cluster
            .post(path, json!({"metadata": {"name": app}, "spec": spec}))
            .await;
    }
    let three = |all: &Objects| {
        let running = |app: &str| {
            all.values()
                .filter(|p| p["metadata"]["labels"]["app"] == app && is(p, "Ready", "True"))
                .count()
        };
        running("web") == 3 && running("other") == 3
    };
    let pods = cluster.until("v1/Pod", "3 of each", three).await;
    assert_eq!(
        pods["default/stranger"]["metadata"]["ownerReferences"][0]["kind"],
        "ReplicationController"
    );

    let victim = pods
        .values()
        .find(|p| p["metadata"]["labels"]["app"] == "other")
        .unwrap();
    let name = victim["metadata"]["name"].as_str().unwrap().to_owned();
    cluster
        .delete(
            &format!("/api/v1/namespaces/default/pods/{name}"),
            DeleteOptions::default(),
        )
        .await;
    let gone = format!("default/{name}");
    cluster
        .until("v1/Pod", "a replacement", |all| !all.contains_key(&gone) && three(all))
        .await;

    // A pod that loses its label is let go and replaced.
    cluster
        .merge(
            "/api/v1/namespaces/default/pods/stranger",
            json!({"metadata": {"labels": {"app": "free"}}}),
        )
        .await;
    let released = |all: &Objects| {
        let owners = &all["default/stranger"]["metadata"]["ownerReferences"];
        owners.as_array().is_none_or(Vec::is_empty) && three(all)
    };
    cluster.until("v1/Pod", "a released pod", released).await;
    let ready = |all: &Objects| {
        all.get("default/web")
            .is_some_and(|c| c["status"]["readyReplicas"] == 3)
    };
    cluster.until("v1/ReplicationController", "status", ready).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_that_cannot_progress_says_so() {
    let cluster = Cluster::new().await;
    cluster.node("n1").await;
    cluster.deploy("web", 2, json!({"progressDeadlineSeconds": 1})).await;
    let overdue = |all: &Objects| {
        let conditions = all["default/web"]["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions.iter().any(|c| c["reason"] == "ProgressDeadlineExceeded")
    };
    cluster.until("apps/v1/Deployment", "deadline", overdue).await;
    let pods = cluster.until("v1/Pod", "two pods", |all| active(all, "web") == 2).await;
    assert!(pods.values().all(|p| p["spec"]["nodeName"] == "n1"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_controllers_take_over_what_runs() {
    let mut cluster = Cluster::new().await;
    cluster.hollow_node("n1", 1).await;
    cluster.deploy("web", 5, json!({})).await;
    cluster.rolled_out("web", 5).await;
    let versions = |pods: &Value| -> Vec<String> {
        let items = pods["items"].as_array().unwrap();
        items
            .iter()
            .map(|p| format!("{} {}", p["metadata"]["uid"], p["metadata"]["resourceVersion"]))
            .collect()
    };
    let before = versions(&cluster.get("/api/v1/namespaces/default/pods").await);
    cluster.restart_controllers().await;
    // In the middle of a rollout, too: whatever was done counts, nothing is done twice.
    cluster.deploy("other", 40, json!({})).await;
    cluster
        .until("v1/Pod", "some pods", |all| active(all, "other") > 5)
        .await;
    cluster.restart_controllers().await;
    cluster.rolled_out("other", 40).await;
    let pods = cluster.get("/api/v1/namespaces/default/pods").await;
    assert_eq!(pods["items"].as_array().unwrap().len(), 45);
    let after = versions(&pods);
    assert!(
        before.iter().all(|pod| after.contains(pod)),
        "pods that ran were not touched"
    );
    let sets = cluster.get("/apis/apps/v1/namespaces/default/replicasets").await;
    assert_eq!(sets["items"].as_array().unwrap().len(), 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_available_only_after_its_time() {
    let mut cluster = Cluster::new().await;
    cluster.hollow_node("n1", 1).await;
    let start = Instant::now();
    cluster.deploy("web", 2, json!({"minReadySeconds": 2})).await;
    let ready = |all: &Objects| all["default/web"]["status"]["readyReplicas"] == 2;
    let all = cluster.until("apps/v1/Deployment", "ready", ready).await;
    assert!(is(&all["default/web"], "Available", "False"));
    cluster.rolled_out("web", 2).await;
    // The time of readiness has no fractions.
    assert!(start.elapsed().as_secs_f64() > 1.0);
    cluster.stop().await;
}
