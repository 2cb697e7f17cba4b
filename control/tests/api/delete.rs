//! Removal: grace, finalizers, namespaces, collections.

use crate::support::{Api, MAPS, PODS, map, names, pod};
use serde_json::{Value, json};

#[tokio::test]
async fn plain_objects_go_at_once() {
    let api = Api::new().await;
    let made = api.post(MAPS, map("a")).await.ok();
    let path = format!("{MAPS}/a");
    let wrong = json!({"preconditions": {"uid": "other"}});
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let why = format!(
        "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (other) does not match the UID in \
         record ({uid}). The object might have been deleted and then recreated"
    );
    assert_eq!(api.delete(&path, wrong).await.status(), (409, "Conflict", why.as_str()));
    let gone = api.delete(&path, Value::Null).await.ok();
    assert_eq!((&gone["kind"], &gone["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(
        gone["details"],
        json!({"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]})
    );
    assert_eq!(api.delete(&path, Value::Null).await.code, 404);
}

#[tokio::test]
async fn finalizers_hold() {
    let api = Api::new().await;
    let mut held = map("a");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post(MAPS, held).await.ok();
    let path = format!("{MAPS}/a");
    let marked = api.delete(&path, Value::Null).await.ok();
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    assert_eq!(
        api.post(MAPS, map("a")).await.status(),
        (
            409,
            "AlreadyExists",
            "object is being deleted: configmaps \"a\" already exists"
        )
    );
    let watch_from = marked["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    api.patch(&path, "merge-patch+json", json!({"metadata": {"finalizers": null}}))
        .await
        .ok();
    assert_eq!(api.get(&path).await.code, 404);
    let mut watch = api
        .watch(&format!("{MAPS}?watch=true&resourceVersion={watch_from}"), "")
        .await;
    assert_eq!(watch.names(1).await, ["DELETED a"]);
}

#[tokio::test]
async fn old_clients_hear_that_dependents_take_time() {
    let api = Api::new().await;
    let mut held = map("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    for object in [map("free"), held] {
        api.post(MAPS, object).await.ok();
    }
    let cascade = json!({"orphanDependents": false});
    for (name, code) in [("free", 200), ("held", 202)] {
        assert_eq!(
            api.delete(&format!("{MAPS}/{name}"), cascade.clone()).await.code,
            code,
            "{name}"
        );
    }
}

#[tokio::test]
async fn propagation_leaves_finalizers() {
    let api = Api::new().await;
    api.post(MAPS, map("a")).await.ok();
    let foreground = json!({"propagationPolicy": "Foreground"});
    let marked = api.delete(&format!("{MAPS}/a"), foreground).await.ok();
    assert_eq!(marked["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    api.post(MAPS, map("b")).await.ok();
    let marked = api
        .delete(&format!("{MAPS}/b?propagationPolicy=Orphan"), Value::Null)
        .await
        .ok();
    assert_eq!(marked["metadata"]["finalizers"], json!(["orphan"]));
    assert_eq!(
        api.delete(&format!("{MAPS}/b?propagationPolicy=Sideways"), Value::Null)
            .await
            .code,
        422
    );
}

async fn bound(api: &Api, name: &str) -> Value {
    api.post(PODS, pod(name)).await.ok();
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"},
    });
    let answer = api.post(&format!("{PODS}/{name}/binding"), binding.clone()).await;
    assert_eq!(
        (answer.code, &answer.value["status"]),
        (201, &json!("Success")),
        "{}",
        answer.value
    );
    let again = api.post(&format!("{PODS}/{name}/binding"), binding).await;
    let message = format!(
        "Operation cannot be fulfilled on pods/binding \"{name}\": pod {name} is already assigned to node \"n1\""
    );
    assert_eq!(again.status(), (409, "Conflict", message.as_str()));
    api.get(&format!("{PODS}/{name}")).await.ok()
}

#[tokio::test]
async fn pods_have_grace() {
    let api = Api::new().await;
    api.post(PODS, pod("unscheduled")).await.ok();
    api.delete(&format!("{PODS}/unscheduled"), Value::Null).await.ok();
    assert_eq!(api.get(&format!("{PODS}/unscheduled")).await.code, 404);

    let pod = bound(&api, "p").await;
    assert_eq!(pod["spec"]["nodeName"], "n1");
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    assert!(
        conditions
            .iter()
            .any(|c| c["type"] == "PodScheduled" && c["status"] == "True")
    );
    let path = format!("{PODS}/p");
    let marked = api.delete(&path, Value::Null).await.ok();
    assert_eq!(
        (&marked["kind"], &marked["metadata"]["deletionGracePeriodSeconds"]),
        (&json!("Pod"), &json!(30))
    );
    let shorter = api.delete(&path, json!({"gracePeriodSeconds": 5})).await.ok();
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
    let last = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": marked["metadata"]["uid"]}});
    api.delete(&path, last).await.ok();
    assert_eq!(api.get(&path).await.code, 404);

    bound(&api, "e").await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "e"}});
    assert_eq!(api.post(&format!("{PODS}/e/eviction"), eviction).await.code, 201);
    assert!(api.get(&format!("{PODS}/e")).await.ok()["metadata"]["deletionTimestamp"].is_string());
}

#[tokio::test]
async fn collections() {
    let api = Api::new().await;
    for n in 0..1200 {
        let mut object = map(&format!("m{n}"));
        object["metadata"]["labels"] = json!({"parity": if n % 2 == 0 { "even" } else { "odd" }});
        api.post(MAPS, object).await.ok();
    }
    api.post("/api/v1/namespaces/kube-system/configmaps", map("stays"))
        .await
        .ok();
    let removed = api
        .delete(&format!("{MAPS}?labelSelector=parity%3Dodd"), Value::Null)
        .await
        .ok();
    let items = removed["items"].as_array().unwrap();
    assert_eq!((items.len(), items[0].get("kind")), (600, None));
    assert_eq!(names(&api.get(MAPS).await.ok()).len(), 600);
    api.delete(MAPS, Value::Null).await.ok();
    assert_eq!(names(&api.get("/api/v1/configmaps").await.ok()), ["stays"]);
}

#[tokio::test]
async fn namespaces_terminate_and_are_finalized() {
    let api = Api::new().await;
    let missing = api.post("/api/v1/namespaces/none/configmaps", map("a")).await;
    assert_eq!(missing.status(), (404, "NotFound", "namespaces \"none\" not found"));
    let made = api
        .post("/api/v1/namespaces", json!({"metadata": {"name": "shop"}}))
        .await
        .ok();
    assert_eq!(
        (&made["status"]["phase"], &made["spec"]["finalizers"]),
        (&json!("Active"), &json!(["kubernetes"]))
    );
    let marked = api.delete("/api/v1/namespaces/shop", Value::Null).await.ok();
    assert_eq!(marked["status"]["phase"], "Terminating");
    let late = api.post("/api/v1/namespaces/shop/configmaps", map("late")).await;
    let message = "configmaps \"late\" is forbidden: unable to create new content in namespace shop because it is \
                   being terminated";
    assert_eq!(late.status(), (403, "Forbidden", message));
    assert_eq!(late.value["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let mut finalized = api.get("/api/v1/namespaces/shop").await.ok();
    finalized["spec"]["finalizers"] = json!([]);
    api.put("/api/v1/namespaces/shop/finalize", finalized).await.ok();
    assert_eq!(api.get("/api/v1/namespaces/shop").await.code, 404);
    let kept = api.delete("/api/v1/namespaces/default", Value::Null).await;
    let message = "namespaces \"default\" is forbidden: this namespace may not be deleted";
    assert_eq!(kept.status(), (403, "Forbidden", message));
}
