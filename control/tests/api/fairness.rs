//! Priority and fairness, over the socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::server::{Cluster, get};
use crate::support::hook::Hook;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const FLOWS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
const LOUD: usize = 20;

/// A level with one seat, on which both clients are, each with a queue of its own.
async fn one_seat(cluster: &Cluster) {
    let queuing = json!({"queues": 64, "queueLengthLimit": 50, "handSize": 1});
    let limited = json!({"nominalConcurrencyShares": 1, "lendablePercent": 0,
        "limitResponse": {"type": "Queue", "queuing": queuing}});
    let level = json!({"metadata": {"name": "tight"}, "spec": {"type": "Limited", "limited": limited}});
    cluster
        .admin("POST", &format!("{FLOWS}/prioritylevelconfigurations"), level)
        .await;
    let subject = |name: &str| json!({"kind": "User", "user": {"name": name}});
    let everything = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]});
    let schema = json!({"metadata": {"name": "tight"}, "spec": {"matchingPrecedence": 10,
        "priorityLevelConfiguration": {"name": "tight"}, "distinguisherMethod": {"type": "ByUser"},
        "rules": [{"subjects": [subject("loud"), subject("quiet")], "resourceRules": [everything]}]}});
    cluster.admin("POST", &format!("{FLOWS}/flowschemas"), schema).await;
    let subject = |name: &str| json!({"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"});
    let binding = json!({"metadata": {"name": "both"}, "subjects": [subject("loud"), subject("quiet")],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}});
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    cluster.admin("POST", bindings, binding).await;
}

async fn create(cluster: &Cluster, user: &str, number: usize) -> Response<Incoming> {
    let map = json!({"metadata": {"name": format!("{user}-{number}")}});
    let request = Request::post(MAPS)
        .header("host", "x")
        .header("impersonate-user", user)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(map.to_string())));
    cluster.send(Some("admin"), request.unwrap()).await
}

/// Waits until so many requests wait for the seat.
async fn waiting(cluster: &Cluster, number: usize) {
    let row = format!(
        "apiserver_flowcontrol_current_inqueue_requests{{flow_schema=\"tight\",priority_level=\"tight\"}} {number}"
    );
    let there = async {
        loop {
            let (_, text) = cluster.call(Some("admin"), "GET", "/metrics", Value::Null).await;
            if text.as_str().unwrap().lines().any(|line| line == row) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let there = tokio::time::timeout(Duration::from_secs(60), there).await;
    there.unwrap_or_else(|_| panic!("there are never {number} that wait"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_loud_client_does_not_keep_a_quiet_one_waiting() {
    let cluster = Arc::new(Cluster::start().await);
    one_seat(&cluster).await;
    // The first request stays in a webhook until everybody else is there.
    let open = Arc::new(AtomicBool::new(false));
    let gate = open.clone();
    let hook = Hook::start(Box::new(move |_| {
        tokio::task::block_in_place(|| {
            while !gate.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        json!({"allowed": true})
    }))
    .await;
    let rules =
        json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]);
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": "default"}});
    let hooks = json!({"metadata": {"name": "h"}, "webhooks": [{"name": "h.example.com", "sideEffects": "None",
        "rules": rules, "admissionReviewVersions": ["v1"], "clientConfig": hook.client(), "timeoutSeconds": 30,
        "namespaceSelector": selector}]});
    let all = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    cluster.admin("POST", all, hooks).await;
    let send = |user: &'static str, number| {
        let cluster = cluster.clone();
        tokio::spawn(async move { create(&cluster, user, number).await })
    };
    let mut tasks: Vec<_> = (0..LOUD).map(|number| send("loud", number)).collect();
    waiting(&cluster, LOUD - 1).await;
    tasks.push(send("quiet", 0));
    waiting(&cluster, LOUD).await;
    open.store(true, Ordering::Release);
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    assert!(answers.iter().all(|answer| answer.status() == 201));
    let order: Vec<String> = hook
        .asked()
        .iter()
        .map(|asked| asked["name"].as_str().unwrap().to_owned())
        .collect();
    let position = order.iter().position(|name| name == "quiet-0").unwrap();
    assert!(position < 4, "the quiet client came after {position} others: {order:?}");

    // Every answer says by which schema and which level its request had its turn.
    let uid = async |path: &str| {
        let object = cluster.admin("GET", &format!("{FLOWS}/{path}"), Value::Null).await;
        object["metadata"]["uid"].as_str().unwrap().to_owned()
    };
    let said = |answer: &Response<Incoming>| {
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        (
            header("x-kubernetes-pf-flowschema-uid"),
            header("x-kubernetes-pf-prioritylevel-uid"),
        )
    };
    let tight = (
        uid("flowschemas/tight").await,
        uid("prioritylevelconfigurations/tight").await,
    );
    assert_eq!(said(&answers[LOUD]), tight);
    let exempt = (
        uid("flowschemas/exempt").await,
        uid("prioritylevelconfigurations/exempt").await,
    );
    assert_eq!(said(&cluster.send(Some("admin"), get(MAPS)).await), exempt);
}
