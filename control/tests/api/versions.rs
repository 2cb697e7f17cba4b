//! Kinds that are served in several versions.

use crate::support::Api;
use serde_json::{Value, json};

const CORE: &str = "/api/v1/namespaces/default/events";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

fn event(name: &str) -> Value {
    json!({
        "metadata": {"name": name}, "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "reason": "Started", "action": "Start", "type": "Normal",
        "note": "it runs", "reportingController": "example.com/c", "reportingInstance": "c-0",
    })
}

#[tokio::test]
async fn an_event_is_one_object_in_two_groups() {
    let api = Api::new().await;
    let mut watch = api.watch(&format!("{EVENTS}?watch=true&resourceVersion=1"), "").await;
    let made = api.post(EVENTS, event("a")).await.ok();
    assert_eq!(
        (&made["apiVersion"], &made["note"]),
        (&json!("events.k8s.io/v1"), &json!("it runs"))
    );
    let core = api.get(&format!("{CORE}/a")).await.ok();
    assert_eq!(
        (&core["apiVersion"], &core["message"]),
        (&json!("v1"), &json!("it runs"))
    );
    assert_eq!(core["involvedObject"]["name"], "p");
    assert_eq!(core["metadata"]["uid"], made["metadata"]["uid"]);
    let list = api.get(&format!("{EVENTS}?fieldSelector=regarding.name=p")).await.ok();
    assert_eq!(
        (&list["kind"], &list["items"][0]["note"]),
        (&json!("EventList"), &json!("it runs"))
    );
    assert_eq!(list["apiVersion"], "events.k8s.io/v1");
    assert_eq!(list["items"][0].get("kind"), None);
    let wrong = api.get(&format!("{EVENTS}?fieldSelector=involvedObject.name=p")).await;
    assert_eq!(
        (wrong.code, wrong.value["message"].as_str().unwrap()),
        (400, "field label not supported: involvedObject.name")
    );
    let (type_, seen) = watch.next().await.unwrap();
    assert_eq!((type_.as_str(), &seen["regarding"]["kind"]), ("ADDED", &json!("Pod")));
    let table = api
        .get_as(
            &format!("{EVENTS}?includeObject=Object"),
            "application/json;as=Table;v=v1;g=meta.k8s.io",
        )
        .await
        .ok();
    assert_eq!(table["rows"][0]["object"]["note"], "it runs");
    let gone = api.delete(&format!("{EVENTS}/a"), Value::Null).await;
    assert_eq!(gone.code, 200);
    assert_eq!(api.get(&format!("{CORE}/a")).await.code, 404);
}

#[tokio::test]
async fn owners_know_their_fields_by_the_names_of_their_version() {
    let api = Api::new().await;
    api.post(EVENTS, event("a")).await.ok();
    let patched = api
        .patch(
            &format!("{CORE}/a?fieldManager=other"),
            "merge-patch+json",
            json!({"message": "it walks", "count": 2}),
        )
        .await
        .ok();
    assert_eq!(
        (&patched["message"], &patched["apiVersion"]),
        (&json!("it walks"), &json!("v1"))
    );
    let books = patched["metadata"]["managedFields"].as_array().unwrap();
    let of = |manager: &str| books.iter().find(|entry| entry["manager"] == manager).unwrap();
    assert_eq!(of("tester")["apiVersion"], "events.k8s.io/v1");
    assert_eq!(
        of("tester")["fieldsV1"].get("f:note"),
        None,
        "it is somebody else's now"
    );
    assert_eq!(of("tester")["fieldsV1"]["f:regarding"], json!({}));
    assert_eq!(of("other")["fieldsV1"], json!({"f:message": {}, "f:count": {}}));
    let path = format!("{EVENTS}/a?fieldManager=applier");
    let config = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "it sleeps"});
    let conflict = api.patch(&path, "apply-patch+yaml", config).await;
    let message = "Apply failed with 1 conflict: conflict with \"other\" using v1: .message";
    assert_eq!(conflict.status(), (409, "Conflict", message));
    // Through the older version the message may still be changed.
    let path = format!("{CORE}/a?fieldManager=applier&force=true");
    let config = json!({"apiVersion": "v1", "kind": "Event", "message": "it sleeps"});
    let applied = api.patch(&path, "apply-patch+yaml", config).await.ok();
    assert_eq!(applied["message"], "it sleeps");
    assert_eq!(api.get(&format!("{EVENTS}/a")).await.ok()["note"], "it sleeps");
    let core = api.get(&format!("{CORE}/a")).await.ok();
    assert_eq!(core["message"], "it sleeps");
    let books = core["metadata"]["managedFields"].as_array().unwrap();
    let other = books.iter().find(|entry| entry["manager"] == "other").unwrap();
    assert_eq!(other["fieldsV1"], json!({"f:count": {}}));
}

#[tokio::test]
async fn an_update_through_one_version_keeps_what_the_other_wrote() {
    let api = Api::new().await;
    let core = api
        .post(
            CORE,
            json!({"metadata": {"name": "c"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
            "message": "m", "source": {"component": "x"}, "count": 1}),
        )
        .await
        .ok();
    assert_eq!(core["metadata"]["managedFields"][0]["apiVersion"], "v1");
    let mut shown = api.get(&format!("{EVENTS}/c")).await.ok();
    assert_eq!(shown["deprecatedSource"]["component"], "x");
    shown["metadata"]["labels"] = json!({"a": "b"});
    let written = api.put(&format!("{EVENTS}/c"), shown).await.ok();
    assert_eq!(
        (&written["deprecatedCount"], &written["note"]),
        (&json!(1), &json!("m"))
    );
    let core = api.get(&format!("{CORE}/c")).await.ok();
    assert_eq!((&core["count"], &core["source"]["component"]), (&json!(1), &json!("x")));
    assert_eq!(core["metadata"]["labels"]["a"], "b");
}

#[tokio::test]
async fn autoscalers_speak_both_versions() {
    let api = Api::new().await;
    let path = |version: &str| format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers");
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let made = api
        .post(
            &path("v1"),
            json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "scaleTargetRef": target,
            "targetCPUUtilizationPercentage": 50}}),
        )
        .await
        .ok();
    assert_eq!(
        (&made["apiVersion"], &made["spec"]["targetCPUUtilizationPercentage"]),
        (&json!("autoscaling/v1"), &json!(50))
    );
    let newer = api.get(&format!("{}/h", path("v2"))).await.ok();
    assert_eq!(
        newer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
        50
    );
    assert_eq!(newer["spec"]["minReplicas"], 1);
    let patch = json!({"spec": {"metrics": [{"type": "Pods", "pods": {"metric": {"name": "m"},
        "target": {"type": "AverageValue", "averageValue": "5"}}}]}});
    api.patch(&format!("{}/h", path("v2")), "merge-patch+json", patch)
        .await
        .ok();
    let older = api.get(&format!("{}/h", path("v1"))).await.ok();
    assert_eq!(older["spec"].get("targetCPUUtilizationPercentage"), None);
    assert!(
        older["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"]
            .as_str()
            .unwrap()
            .contains("\"m\"")
    );
    let status = json!({"status": {"currentReplicas": 2, "desiredReplicas": 2, "currentCPUUtilizationPercentage": 7}});
    api.patch(&format!("{}/h/status", path("v1")), "merge-patch+json", status)
        .await
        .ok();
    let newer = api.get(&format!("{}/h", path("v2"))).await.ok();
    assert_eq!(
        newer["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"],
        7
    );
    let groups = api.get("/apis").await.ok();
    let groups = groups["groups"].as_array().unwrap();
    let group = groups.iter().find(|group| group["name"] == "autoscaling").unwrap();
    assert_eq!(group["preferredVersion"]["version"], "v2");
    assert_eq!(group["versions"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_newer_version_of_events_is_strict() {
    let api = Api::new().await;
    let mut counted = event("a");
    counted["deprecatedCount"] = json!(2);
    let refused = api.post(EVENTS, counted).await;
    let message = "Event.events.k8s.io \"a\" is invalid: count: Invalid value: \"\": needs to be unset";
    assert_eq!((refused.code, refused.status().2), (422, message));
    // What is said through the older one may be, and stays what it is.
    let counted = json!({"metadata": {"name": "b"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Started", "type": "Normal", "count": 2, "firstTimestamp": "2026-01-01T00:00:00Z"});
    api.post(CORE, counted).await.ok();
    let again = json!({"deprecatedCount": 3});
    let refused = api.patch(&format!("{EVENTS}/b"), "merge-patch+json", again).await;
    let message = "Event.events.k8s.io \"b\" is invalid: count: Invalid value: 3: field is immutable";
    assert_eq!((refused.code, refused.status().2), (422, message));
    api.patch(&format!("{CORE}/b"), "merge-patch+json", json!({"count": 3}))
        .await
        .ok();
}
