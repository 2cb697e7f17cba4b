//! Watches.

use crate::support::{Api, MAPS, PODS, map, pod};
use serde_json::{Value, json};

#[tokio::test]
async fn state_first_then_changes() {
    let api = Api::new().await;
    api.post(MAPS, map("a")).await.ok();
    let mut watch = api.watch(&format!("{MAPS}?watch=true"), "").await;
    assert_eq!(watch.names(1).await, ["ADDED a"]);
    let made = api.post(MAPS, map("b")).await.ok();
    assert_eq!(watch.next().await.unwrap(), ("ADDED".into(), made.clone()));
    api.patch(&format!("{MAPS}/b"), "merge-patch+json", json!({"data": {"x": "y"}}))
        .await
        .ok();
    api.delete(&format!("{MAPS}/b"), Value::Null).await.ok();
    assert_eq!(watch.names(2).await, ["MODIFIED b", "DELETED b"]);
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    let mut later = api
        .watch(&format!("{MAPS}?watch=1&resourceVersion={version}"), "")
        .await;
    let (type_, object) = later.next().await.unwrap();
    assert_eq!((type_.as_str(), object["data"]["x"].as_str()), ("MODIFIED", Some("y")));
    let (type_, object) = later.next().await.unwrap();
    assert_eq!(type_, "DELETED");
    assert!(object["metadata"]["resourceVersion"].as_str() > Some(version));
    assert!(later.quiet().await);
}

#[tokio::test]
async fn the_path_of_old_clients() {
    let api = Api::new().await;
    api.post(MAPS, map("a")).await.ok();
    api.post(MAPS, map("b")).await.ok();
    let old = MAPS.replace("/v1/", "/v1/watch/");
    assert_eq!(api.watch(&old, "").await.names(2).await, ["ADDED a", "ADDED b"]);
    let mut one = api.watch(&format!("{old}/b"), "").await;
    assert_eq!(one.names(1).await, ["ADDED b"]);
    assert!(one.quiet().await);
    assert_eq!(api.delete(&format!("{old}/b"), Value::Null).await.code, 405);
}

#[tokio::test]
async fn selections_add_and_delete() {
    let api = Api::new().await;
    let query = "watch=true&labelSelector=app%3Dweb&resourceVersion=0";
    let mut watch = api.watch(&format!("/api/v1/pods?{query}"), "").await;
    api.post(PODS, pod("other")).await.ok();
    let label = |value: &str| json!({"metadata": {"labels": {"app": value}}});
    let path = format!("{PODS}/other");
    api.patch(&path, "merge-patch+json", label("web")).await.ok();
    api.patch(
        &path,
        "merge-patch+json",
        json!({"metadata": {"annotations": {"n": "1"}}}),
    )
    .await
    .ok();
    let left = api.patch(&path, "merge-patch+json", label("db")).await.ok();
    assert_eq!(watch.names(2).await, ["ADDED other", "MODIFIED other"]);
    let (type_, object) = watch.next().await.unwrap();
    assert_eq!(
        (type_.as_str(), &object["metadata"]["labels"]["app"]),
        ("DELETED", &json!("web"))
    );
    assert_eq!(
        object["metadata"]["resourceVersion"],
        left["metadata"]["resourceVersion"]
    );
    let mut one = api
        .watch(&format!("{PODS}?watch=true&fieldSelector=metadata.name%3Dother"), "")
        .await;
    assert_eq!(one.names(1).await, ["ADDED other"]);
    api.post(PODS, pod("other2")).await.ok();
    assert!(one.quiet().await && watch.quiet().await);
}

#[tokio::test]
async fn what_comes_after_a_revision_of_the_future_is_told_when_it_comes() {
    let api = Api::new().await;
    let made = api.post(MAPS, map("a")).await.ok();
    let version: u64 = made["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    let query = format!("watch=true&resourceVersion={}", version + 2);
    let mut watch = api.watch(&format!("{MAPS}?{query}"), "").await;
    for name in ["b", "c"] {
        api.post(MAPS, map(name)).await.ok();
    }
    assert!(watch.quiet().await);
    api.post(MAPS, map("d")).await.ok();
    assert_eq!(watch.names(1).await, ["ADDED d"]);
    // The state at that revision cannot be told.
    let state = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let query = format!("watch=true&resourceVersion={}&{state}", version + 9);
    assert_eq!(api.get(&format!("{MAPS}?{query}")).await.code, 504);
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let api = Api::new().await;
    api.post(MAPS, map("a")).await.ok();
    let last = api.post(MAPS, map("b")).await.ok();
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = api.watch(&format!("{MAPS}?{query}"), "").await;
    assert_eq!(watch.names(2).await, ["ADDED a", "ADDED b"]);
    let (type_, object) = watch.next().await.unwrap();
    assert_eq!((type_.as_str(), &object["kind"]), ("BOOKMARK", &json!("ConfigMap")));
    assert_eq!(object["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(
        object["metadata"]["resourceVersion"],
        last["metadata"]["resourceVersion"]
    );
    assert_eq!(
        api.get(&format!("{MAPS}?watch=true&sendInitialEvents=true")).await.code,
        422
    );
}

#[tokio::test(start_paused = true)]
async fn bookmarks_and_timeouts() {
    let api = Api::new().await;
    let mut watch = api
        .watch(
            &format!("{MAPS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=200"),
            "",
        )
        .await;
    let other = api
        .post("/api/v1/namespaces/kube-system/configmaps", map("x"))
        .await
        .ok();
    let (type_, object) = watch.next().await.unwrap();
    assert_eq!(type_, "BOOKMARK");
    assert_eq!(
        object["metadata"]["resourceVersion"],
        other["metadata"]["resourceVersion"]
    );
    assert!(
        watch.next().await.is_none(),
        "nothing happened since, so the time runs out without another bookmark"
    );
}

#[tokio::test]
async fn compacted_revisions_are_gone() {
    let api = Api::new().await;
    api.post(MAPS, map("a")).await.ok();
    api.post(MAPS, map("b")).await.ok();
    barepod_store::Store::compact(&*api.store, barepod_store::Store::revision(&*api.store));
    let mut watch = api.watch(&format!("{MAPS}?watch=true&resourceVersion=1"), "").await;
    let (type_, status) = watch.next().await.unwrap();
    assert_eq!(
        (type_.as_str(), &status["code"], &status["reason"]),
        ("ERROR", &json!(410), &json!("Expired"))
    );
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn tables_and_metadata() {
    let api = Api::new().await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut watch = api.watch(&format!("{PODS}?watch=true"), table).await;
    api.post(PODS, pod("a")).await.ok();
    api.post(PODS, pod("b")).await.ok();
    let (_, first) = watch.next().await.unwrap();
    assert!(first["columnDefinitions"].is_array() && first["rows"][0]["cells"][0] == "a");
    let (_, second) = watch.next().await.unwrap();
    assert!(second["columnDefinitions"].is_null() && second["rows"][0]["cells"][0] == "b");
    let partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let mut watch = api.watch(&format!("{PODS}?watch=true"), partial).await;
    let (_, object) = watch.next().await.unwrap();
    assert_eq!(
        (&object["kind"], object.get("spec")),
        (&json!("PartialObjectMetadata"), None)
    );
}

#[tokio::test]
async fn watches_end_with_the_store() {
    let api = Api::new().await;
    let mut watch = api.watch(&format!("{MAPS}?watch=true"), "").await;
    api.store.close();
    assert!(watch.next().await.is_none());
    assert_eq!(api.post(MAPS, map("a")).await.code, 503);
}
