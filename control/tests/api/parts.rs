//! What is written to a part of an object: evictions and budgets, bindings, resources, approvals.

use crate::support::{Api, PODS, names, pod};
use base64::Engine as _;
use serde_json::{Value, json};

const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

/// A pod that runs, and is ready or not.
async fn running(api: &Api, name: &str, ready: bool) {
    let mut created = pod(name);
    created["metadata"]["labels"] = json!({"app": "a"});
    created["spec"]["nodeName"] = json!("n1");
    api.post(PODS, created).await.ok();
    let ready = if ready { "True" } else { "False" };
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}});
    api.patch(&format!("{PODS}/{name}/status"), "merge-patch+json", status)
        .await
        .ok();
}

async fn budget(api: &Api, name: &str, status: Value) {
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}});
    let budget = json!({"metadata": {"name": name}, "spec": spec});
    api.post(BUDGETS, budget).await.ok();
    set_budget(api, name, status).await;
}

async fn set_budget(api: &Api, name: &str, status: Value) {
    let path = format!("{BUDGETS}/{name}/status");
    api.patch(&path, "merge-patch+json", json!({"status": status}))
        .await
        .ok();
}

async fn evict(api: &Api, name: &str) -> crate::support::Answer {
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    api.post(&format!("{PODS}/{name}/eviction"), eviction).await
}

#[tokio::test]
async fn an_eviction_takes_from_the_budget() {
    let api = Api::new().await;
    for name in ["a", "b"] {
        running(&api, name, true).await;
    }
    let allowed = json!({"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1});
    budget(&api, "p", json!({})).await;
    let unseen = evict(&api, "a").await;
    assert_eq!(
        unseen.status(),
        (
            429,
            "TooManyRequests",
            "Cannot evict pod as it would violate the pod's disruption budget."
        )
    );
    assert_eq!(
        unseen.value["details"],
        json!({"causes": [{"reason": "DisruptionBudget",
            "message": "The disruption budget p is still being processed by the server."}], "retryAfterSeconds": 10})
    );
    set_budget(&api, "p", allowed).await;
    let dry = json!({"metadata": {"name": "a"}, "deleteOptions": {"dryRun": ["All"]}});
    assert_eq!(api.post(&format!("{PODS}/a/eviction"), dry).await.code, 201);
    assert_eq!(
        evict(&api, "a").await.ok(),
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
    );
    let gone = api.get(&format!("{PODS}/a")).await.ok();
    assert_eq!(gone["metadata"]["deletionGracePeriodSeconds"], 30);
    let last = gone["status"]["conditions"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["type"], &last["reason"]),
        (&json!("DisruptionTarget"), &json!("EvictionByEvictionAPI"))
    );
    let spent = api.get(&format!("{BUDGETS}/p")).await.ok();
    assert_eq!(spent["status"]["disruptionsAllowed"], 0);
    assert!(spent["status"]["disruptedPods"]["a"].is_string());
    let refused = evict(&api, "b").await;
    assert_eq!(refused.code, 429);
    assert_eq!(
        refused.value["details"]["causes"][0]["message"],
        "The disruption budget p needs 1 healthy pods and has 2 currently"
    );
    // The pod that goes already asks nobody.
    assert_eq!(evict(&api, "a").await.code, 201);
}

#[tokio::test]
async fn who_does_not_serve_goes_without_asking() {
    let api = Api::new().await;
    running(&api, "unready", false).await;
    budget(
        &api,
        "p",
        json!({"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 1}),
    )
    .await;
    assert_eq!(evict(&api, "unready").await.code, 429);
    let lenient = json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}});
    api.patch(&format!("{BUDGETS}/p"), "merge-patch+json", lenient)
        .await
        .ok();
    assert_eq!(evict(&api, "unready").await.code, 201);
    let mut waiting = pod("waiting");
    waiting["metadata"]["labels"] = json!({"app": "a"});
    api.post(PODS, waiting).await.ok();
    assert_eq!(evict(&api, "waiting").await.code, 201);
    assert_eq!(api.get(&format!("{PODS}/waiting")).await.code, 404);
    running(&api, "two", true).await;
    budget(&api, "q", json!({})).await;
    let two = evict(&api, "two").await;
    assert_eq!(two.code, 500);
    assert!(
        two.status()
            .2
            .starts_with("This pod has more than one PodDisruptionBudget")
    );
}

#[tokio::test]
async fn bindings_stand_on_their_own_too() {
    let api = Api::new().await;
    api.post(PODS, pod("a")).await.ok();
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}});
    api.post("/api/v1/namespaces/default/bindings", binding).await.ok();
    assert_eq!(api.get(&format!("{PODS}/a")).await.ok()["spec"]["nodeName"], "n1");
}

#[tokio::test]
async fn pods_get_containers_and_resources() {
    let api = Api::new().await;
    let mut created = pod("a");
    created["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "100m"}});
    api.post(PODS, created).await.ok();
    let more = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox"}],
        "containers": [{"name": "c", "image": "other"}]}});
    let path = format!("{PODS}/a/ephemeralcontainers");
    let with = api.patch(&path, "strategic-merge-patch+json", more).await.ok();
    assert_eq!(with["spec"]["ephemeralContainers"][0]["name"], "debug");
    assert_eq!(with["spec"]["containers"][0]["image"], "busybox");
    assert_eq!(with["metadata"]["generation"], 2);
    assert!(
        with["metadata"]["managedFields"]
            .as_array()
            .unwrap()
            .iter()
            .any(|entry| entry["subresource"] == "ephemeralcontainers")
    );
    let less = json!([{"op": "remove", "path": "/spec/ephemeralContainers"}]);
    let refused = api.patch(&path, "json-patch+json", less).await;
    assert_eq!(refused.code, 422);
    let larger = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "200m"}}}]}});
    let path = format!("{PODS}/a/resize");
    let resized = api.patch(&path, "strategic-merge-patch+json", larger).await.ok();
    assert_eq!(resized["spec"]["containers"][0]["resources"]["requests"]["cpu"], "200m");
    assert_eq!(resized["metadata"]["generation"], 3);
}

#[tokio::test]
async fn requests_for_certificates_are_approved_apart() {
    let api = Api::new().await;
    let all = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    let request = base64::engine::general_purpose::STANDARD.encode(request.pem().unwrap());
    let csr = json!({"metadata": {"name": "c"}, "spec": {"request": request, "usages": ["client auth"],
        "signerName": "kubernetes.io/kube-apiserver-client"}});
    let created = api.post(all, csr).await.ok();
    assert_eq!(created["spec"]["username"], "admin");
    assert_eq!(
        created["spec"]["groups"],
        json!(["system:masters", "system:authenticated"])
    );
    let approval = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "r"}]}});
    let by_status = api
        .patch(&format!("{all}/c/status"), "merge-patch+json", approval.clone())
        .await;
    assert_eq!(by_status.code, 422);
    let approved = api
        .patch(&format!("{all}/c/approval"), "merge-patch+json", approval)
        .await
        .ok();
    assert!(approved["status"]["conditions"][0]["lastUpdateTime"].is_string());
}

#[tokio::test]
async fn components_are_shown() {
    let api = Api::new().await;
    let all = api.get("/api/v1/componentstatuses").await;
    assert_eq!(names(&all.value), ["scheduler", "controller-manager", "etcd-0"]);
    assert_eq!(all.warnings, ["299 - \"v1 ComponentStatus is deprecated in v1.19+\""]);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = api.get_as("/api/v1/componentstatuses", table).await.ok();
    assert_eq!(table["rows"][0]["cells"], json!(["scheduler", "Healthy", "ok", ""]));
    assert_eq!(api.get("/api/v1/componentstatuses/x").await.code, 404);
}
