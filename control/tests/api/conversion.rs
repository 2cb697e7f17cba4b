//! Custom resources whose versions a webhook converts.

use crate::support::hook::Hook;
use std::pin::pin;
use std::time::{Duration, Instant};

use crate::support::{Api, names};
use futures_util::future::join_all;
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const OLD: &str = "/apis/example.com/v1/namespaces/default/hosts";
const NEW: &str = "/apis/example.com/v2/namespaces/default/hosts";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// v1 has one text `hostPort`, v2 has `host` and `port`; v1 is stored.
fn definition(hook: &Hook) -> Value {
    let version = |name: &str, stored: bool, properties: Value, required: Value, column: &str| {
        json!({"name": name, "served": true, "storage": stored, "subresources": {"status": {}},
            "additionalPrinterColumns": [{"name": column, "type": "string", "jsonPath": format!(".spec.{column}")}],
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "required": required, "properties": properties},
                "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}}}}}})
    };
    let string = json!({"type": "string"});
    let port = json!({"type": "string", "default": "80", "x-kubernetes-validations": [{"rule": "self != '0'"}]});
    json!({"metadata": {"name": "hosts.example.com"}, "spec": {
    "group": "example.com", "scope": "Namespaced", "names": {"plural": "hosts", "kind": "Host"},
    "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": hook.client()}},
    "versions": [
        version("v1", true, json!({"hostPort": string}), json!(["hostPort"]), "hostPort"),
        version("v2", false, json!({"host": string, "port": port}), json!(["host"]), "host"),
    ]}})
}

fn convert(request: &Value) -> Value {
    let wanted = request["desiredAPIVersion"].as_str().unwrap();
    let objects = request["objects"].as_array().unwrap().iter().map(|object| {
        let mut object = object.clone();
        assert_ne!(object["apiVersion"], wanted);
        object["apiVersion"] = wanted.into();
        let spec = object["spec"].take();
        object["spec"] = match wanted {
            "example.com/v1" => {
                let text = |key: &str| spec[key].as_str().unwrap().to_owned();
                json!({"hostPort": format!("{}:{}", text("host"), text("port"))})
            }
            _ => {
                let (host, port) = spec["hostPort"].as_str().unwrap().split_once(':').unwrap();
                json!({"host": host, "port": port})
            }
        };
        object["metadata"]["labels"]["converted"] = "yes".into();
        object["metadata"]["finalizers"] = json!(["no.one/asked"]);
        object
    });
    let objects: Vec<Value> = objects.collect();
    if objects.iter().any(|object| object["metadata"]["name"] == "bad") {
        return json!({"result": {"status": "Failure", "message": "bad is not wanted"}});
    }
    json!({"result": {"status": "Success"}, "convertedObjects": objects})
}

async fn start() -> (Api, Hook) {
    start_with(convert).await
}

async fn start_with(convert: fn(&Value) -> Value) -> (Api, Hook) {
    let api = Api::new().await;
    let hook = Hook::start(Box::new(convert)).await;
    api.post(DEFINITIONS, definition(&hook)).await.ok();
    (api, hook)
}

fn host(version: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("example.com/{version}"), "kind": "Host", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn every_version_shows_every_object() {
    let (api, hook) = start().await;
    let made = api
        .post(OLD, host("v1", "a", json!({"hostPort": "a.example:1"})))
        .await
        .ok();
    assert_eq!(made["spec"], json!({"hostPort": "a.example:1"}));
    assert_eq!(hook.asked(), Vec::<Value>::new());
    let shown = api.get(&format!("{NEW}/a")).await.ok();
    assert_eq!(
        (&shown["apiVersion"], &shown["spec"]),
        (&json!("example.com/v2"), &json!({"host": "a.example", "port": "1"}))
    );
    // Of the metadata only labels and annotations are the webhook's.
    assert_eq!(shown["metadata"]["labels"], json!({"converted": "yes"}));
    assert_eq!(shown["metadata"].get("finalizers"), None);
    assert_eq!(shown["metadata"]["uid"], made["metadata"]["uid"]);
    let made = api.post(NEW, host("v2", "b", json!({"host": "b.example"}))).await.ok();
    assert_eq!(made["spec"], json!({"host": "b.example", "port": "80"}));
    assert_eq!(
        api.get(&format!("{OLD}/b")).await.ok()["spec"],
        json!({"hostPort": "b.example:80"})
    );
    hook.asked();
    let list = api.get(NEW).await.ok();
    assert_eq!(names(&list), ["a", "b"]);
    assert_eq!(list["items"][1]["spec"], json!({"host": "b.example", "port": "80"}));
    // One call for the whole list.
    assert_eq!(hook.asked().len(), 1);
    let table = api.get_as(NEW, TABLE).await.ok();
    assert_eq!(table["rows"][0]["cells"], json!(["a", "a.example"]));
}

#[tokio::test]
async fn objects_are_written_in_every_version() {
    let (api, _hook) = start().await;
    api.post(OLD, host("v1", "a", json!({"hostPort": "a.example:1"})))
        .await
        .ok();
    let path = format!("{NEW}/a");
    let merged = api
        .patch(&path, "merge-patch+json", json!({"spec": {"port": "2"}}))
        .await
        .ok();
    assert_eq!(merged["spec"], json!({"host": "a.example", "port": "2"}));
    assert_eq!(merged["metadata"]["generation"], 2);
    assert_eq!(
        api.get(&format!("{OLD}/a")).await.ok()["spec"]["hostPort"],
        "a.example:2"
    );
    let config = host("v2", "a", json!({"port": "3"}));
    let conflict = api
        .patch(&format!("{path}?fieldManager=one"), "apply-patch+yaml", config.clone())
        .await;
    assert_eq!(conflict.code, 409);
    let applied = api
        .patch(
            &format!("{path}?fieldManager=one&force=true"),
            "apply-patch+yaml",
            config,
        )
        .await
        .ok();
    assert_eq!(applied["spec"], json!({"host": "a.example", "port": "3"}));
    let status = json!({"status": {"ready": true}});
    let ready = api
        .patch(&format!("{path}/status"), "merge-patch+json", status)
        .await
        .ok();
    assert_eq!(
        (&ready["status"]["ready"], &ready["spec"]["port"]),
        (&json!(true), &json!("3"))
    );
    let mut whole = api.get(&path).await.ok();
    whole["spec"]["host"] = "c.example".into();
    let put = api.put(&path, whole).await.ok();
    assert_eq!(put["spec"], json!({"host": "c.example", "port": "3"}));
    // An object is judged as the version that it is written in, before the webhook sees it.
    let refused = api
        .patch(&path, "merge-patch+json", json!({"spec": {"port": "0"}}))
        .await;
    assert_eq!(refused.value["details"]["causes"][0]["field"], "spec.port");
    let refused = api.post(NEW, host("v2", "b", json!({}))).await;
    assert_eq!(refused.value["details"]["causes"][0]["field"], "spec.host");
}

#[tokio::test]
async fn a_new_version_is_stored_when_objects_are_written() {
    let (api, _hook) = start().await;
    api.post(OLD, host("v1", "a", json!({"hostPort": "a.example:1"})))
        .await
        .ok();
    let swap = json!([{"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true}]);
    let path = format!("{DEFINITIONS}/hosts.example.com");
    let swapped = api.patch(&path, "json-patch+json", swap).await.ok();
    assert_eq!(swapped["status"]["storedVersions"], json!(["v1", "v2"]));
    assert_eq!(
        api.get(&format!("{OLD}/a")).await.ok()["spec"]["hostPort"],
        "a.example:1"
    );
    let before = api.get(&format!("{NEW}/a")).await.ok();
    // Writing what is there already moves the object to the version that is stored now.
    let after = api.put(&format!("{NEW}/a"), before.clone()).await.ok();
    assert_ne!(
        after["metadata"]["resourceVersion"],
        before["metadata"]["resourceVersion"]
    );
    assert_eq!(after["spec"], json!({"host": "a.example", "port": "1"}));
    let again = api.put(&format!("{NEW}/a"), after.clone()).await.ok();
    assert_eq!(
        again["metadata"]["resourceVersion"],
        after["metadata"]["resourceVersion"]
    );
}

/// On one thread, so that whoever held it while a webhook is asked would stop everything, the webhook too.
#[tokio::test]
async fn a_slow_webhook_delays_nobody_else() {
    const SLOW: Duration = Duration::from_secs(1);
    let (api, hook) = start_with(|request| {
        let mut answer = convert(request);
        answer["afterMs"] = json!(1000 * SLOW.as_secs());
        answer
    })
    .await;
    for at in 0..50 {
        let made = host("v1", &format!("h{at}"), json!({"hostPort": format!("h{at}.example:1")}));
        api.post(OLD, made).await.ok();
    }
    let began = Instant::now();
    let asked = (0..50).map(async |at| {
        let shown = api.get(&format!("{NEW}/h{at}")).await.ok();
        assert_eq!(shown["spec"]["host"], format!("h{at}.example"));
    });
    let mut slow = pin!(join_all(asked));
    let (mut longest, other) = (Duration::ZERO, format!("{OLD}/h0"));
    loop {
        let one = Instant::now();
        tokio::select! {
            _ = &mut slow => break,
            other = api.get(&other) => drop(other.ok()),
        }
        longest = longest.max(one.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(began.elapsed() < 3 * SLOW, "one after the other: {:?}", began.elapsed());
    assert!(longest < SLOW / 2, "somebody else waited {longest:?}");
    assert_eq!(hook.asked().len(), 50);
}

#[tokio::test]
async fn events_come_in_order_and_end_with_what_cannot_be_converted() {
    let (api, hook) = start().await;
    for name in ["a", "b"] {
        api.post(OLD, host("v1", name, json!({"hostPort": "x.example:1"})))
            .await
            .ok();
    }
    let initial = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = api.watch(&format!("{NEW}?{initial}"), "").await;
    let (_, first) = watch.next().await.unwrap();
    assert_eq!(first["spec"], json!({"host": "x.example", "port": "1"}));
    assert_eq!(watch.names(2).await, ["ADDED b", "BOOKMARK "]);
    assert_eq!(hook.asked().len(), 1);
    let mut tables = api.watch(&format!("{NEW}?watch=true"), TABLE).await;
    let (_, first) = tables.next().await.unwrap();
    assert_eq!(first["rows"][0]["cells"], json!(["a", "x.example"]));
    assert_eq!(first["columnDefinitions"][1]["name"], "host");
    let (_, second) = tables.next().await.unwrap();
    assert_eq!(
        (&second["columnDefinitions"], &second["rows"][0]["cells"][0]),
        (&Value::Null, &json!("b"))
    );
    api.delete(&format!("{OLD}/a"), Value::Null).await.ok();
    api.post(OLD, host("v1", "bad", json!({"hostPort": "x.example:1"})))
        .await
        .ok();
    assert_eq!(watch.names(1).await, ["DELETED a"]);
    let (type_, error) = watch.next().await.unwrap();
    assert_eq!((type_.as_str(), &error["code"]), ("ERROR", &json!(500)));
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn a_webhook_that_fails_fails_the_request() {
    let (api, hook) = start().await;
    api.post(OLD, host("v1", "bad", json!({"hostPort": "a.example:1"})))
        .await
        .ok();
    let shown = api.get(&format!("{NEW}/bad")).await;
    assert_eq!(
        (shown.code, shown.status().2),
        (
            500,
            "conversion webhook for example.com/v1, Kind=Host failed: bad is not wanted"
        )
    );
    assert_eq!(api.get(NEW).await.code, 500);
    assert_eq!(api.get(&format!("{OLD}/bad")).await.code, 200);
    drop(hook);
    assert_eq!(api.post(NEW, host("v2", "b", json!({"host": "b"}))).await.code, 500);
}
