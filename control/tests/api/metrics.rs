//! What the API server says about itself at `/metrics`.

use crate::server::{Cluster, get};
use crate::support::hook::Hook;
use http_body_util::BodyExt;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn told(cluster: &Cluster) -> String {
    let (code, text) = cluster.call(Some("admin"), "GET", "/metrics", Value::Null).await;
    assert_eq!(code, 200);
    text.as_str().expect("text").to_owned()
}

/// The number of a row; 0 if there is none.
fn number(text: &str, row: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(' '));
    line.map_or(0.0, |number| number.parse().expect("a number"))
}

/// The row of requests that one of these labels counts.
fn requests(code: u16, verb: &str, resource: &str, scope: &str) -> String {
    let (version, dry_run) = (if resource.is_empty() { "" } else { "v1" }, "");
    format!(
        "apiserver_request_total{{code=\"{code}\",component=\"apiserver\",dry_run=\"{dry_run}\",group=\"\",\
         resource=\"{resource}\",scope=\"{scope}\",subresource=\"\",verb=\"{verb}\",version=\"{version}\"}}"
    )
}

#[tokio::test]
async fn what_happens_is_counted() {
    let cluster = Cluster::start().await;
    let before = told(&cluster).await;
    for name in ["a", "b"] {
        let map = json!({"metadata": {"name": name}});
        cluster.admin("POST", MAPS, map).await;
        cluster.admin("GET", &format!("{MAPS}/{name}"), Value::Null).await;
    }
    cluster.admin("GET", MAPS, Value::Null).await;
    assert_eq!(cluster.call(Some("bob"), "GET", MAPS, Value::Null).await.0, 403);
    // What nobody serves is all the same, however it is called.
    for made_up in ["nothing", "nowhere"] {
        let path = format!("/api/v1/namespaces/default/{made_up}");
        assert_eq!(cluster.call(Some("admin"), "GET", &path, Value::Null).await.0, 404);
    }
    let watch = cluster.send(Some("admin"), get(&format!("{MAPS}?watch=true"))).await;
    let mut events = watch.into_body();
    assert!(events.frame().await.unwrap().is_ok());
    let text = told(&cluster).await;
    let more = |row: &str| number(&text, row) - number(&before, row);
    assert_eq!(more(&requests(201, "POST", "configmaps", "resource")), 2.0);
    assert_eq!(more(&requests(200, "GET", "configmaps", "resource")), 2.0);
    assert_eq!(more(&requests(200, "LIST", "configmaps", "namespace")), 1.0);
    assert_eq!(more(&requests(403, "LIST", "configmaps", "namespace")), 1.0);
    assert_eq!(more(&requests(404, "LIST", "", "namespace")), 2.0);
    assert!(!text.contains("nowhere"));
    let of_reads = "component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"configmaps\",scope=\"resource\",\
                    subresource=\"\",verb=\"GET\",version=\"v1\"";
    assert_eq!(
        more(&format!("apiserver_request_duration_seconds_count{{{of_reads}}}")),
        2.0
    );
    assert_eq!(
        more(&format!(
            "apiserver_request_duration_seconds_bucket{{{of_reads},le=\"+Inf\"}}"
        )),
        2.0
    );
    assert_eq!(more("apiserver_storage_objects{resource=\"configmaps\"}"), 2.0);
    assert!(
        number(
            &text,
            "apiserver_storage_objects{resource=\"clusterroles.rbac.authorization.k8s.io\"}"
        ) > 10.0
    );
    assert_eq!(
        more("apiserver_watch_events_total{group=\"\",resource=\"configmaps\",version=\"v1\"}"),
        2.0
    );
    let watches = "apiserver_longrunning_requests{component=\"apiserver\",group=\"\",resource=\"configmaps\",\
                   scope=\"namespace\",subresource=\"\",verb=\"WATCH\",version=\"v1\"}";
    assert_eq!(number(&text, watches), 1.0);
    let steps = |phase: &str| {
        format!(
            "apiserver_admission_step_admission_duration_seconds_count{{operation=\"CREATE\",rejected=\"false\",type=\"{phase}\"}}"
        )
    };
    assert_eq!((more(&steps("admit")), more(&steps("validate"))), (2.0, 2.0));
    let exempt = "apiserver_flowcontrol_dispatched_requests_total{flow_schema=\"exempt\",priority_level=\"exempt\"}";
    assert!(more(exempt) >= 8.0);
    for row in [
        "apiserver_storage_size_bytes{storage_cluster_id=\"etcd-0\"}",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(number(&text, row) > 0.0, "{row}");
    }
    // The request itself is being answered.
    assert_eq!(
        number(&text, "apiserver_current_inflight_requests{request_kind=\"readOnly\"}"),
        1.0
    );
    drop(events);
    let ended = async {
        while number(&told(&cluster).await, watches) > 0.0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), ended)
        .await
        .expect("the watch ends");
    assert_eq!(cluster.call(Some("bob"), "GET", "/metrics", Value::Null).await.0, 403);
    let role = json!({"metadata": {"name": "watches"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole", "name": "system:monitoring"}, "subjects": [{"kind": "User", "name": "bob",
        "apiGroup": "rbac.authorization.k8s.io"}]});
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    cluster.admin("POST", bindings, role).await;
    assert_eq!(cluster.call(Some("bob"), "GET", "/metrics", Value::Null).await.0, 200);
    assert_eq!(
        cluster.call(Some("bob"), "GET", "/livez/ping", Value::Null).await.0,
        200
    );
    cluster.stop().await;
}

#[tokio::test]
async fn webhooks_and_queues_are_counted() {
    let directory = crate::server::directory();
    let mut config = crate::server::config(directory.path(), ([127, 0, 0, 1], 0).into());
    config.controllers = true;
    let cluster = Cluster::start_with(directory, config).await;
    let hook = Hook::start(Box::new(|_| json!({"allowed": false}))).await;
    let rules =
        json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]);
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": "default"}});
    let hooks = json!({"metadata": {"name": "h"}, "webhooks": [{"name": "h.example.com", "sideEffects": "None",
        "rules": rules, "admissionReviewVersions": ["v1"], "clientConfig": hook.client(), "namespaceSelector": selector}]});
    let all = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    cluster.admin("POST", all, hooks).await;
    let map = json!({"metadata": {"name": "a"}});
    assert_eq!(cluster.call(Some("admin"), "POST", MAPS, map).await.0, 400);
    let asked = "apiserver_admission_webhook_admission_duration_seconds_count{name=\"h.example.com\",operation=\"CREATE\",\
                 rejected=\"true\",type=\"validating\"}";
    let refused = "apiserver_admission_webhook_rejection_count{error_type=\"no_error\",name=\"h.example.com\",\
                   operation=\"CREATE\",rejection_code=\"400\",type=\"validating\"}";
    assert_eq!(number(&told(&cluster).await, refused), 1.0);
    drop(hook);
    let map = json!({"metadata": {"name": "a"}});
    assert_eq!(cluster.call(Some("admin"), "POST", MAPS, map).await.0, 500);
    let failed = refused
        .replace("no_error", "calling_webhook_error")
        .replace("400", "503");
    assert_eq!(number(&told(&cluster).await, &failed), 1.0);
    let counted = async {
        loop {
            let text = told(&cluster).await;
            let adds: Vec<&str> = text
                .lines()
                .filter(|line| line.starts_with("workqueue_adds_total{"))
                .collect();
            if number(&text, asked) >= 1.0 && adds.iter().any(|line| !line.ends_with(" 0")) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), counted)
        .await
        .expect("both are counted");
    cluster.stop().await;
}
