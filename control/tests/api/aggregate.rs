//! Group versions that another server serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::server::{Cluster, directory, get, identity, roots, serve};
use base64::Engine as _;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const THINGS: &str = "/apis/x.example.com/v1/namespaces/default/things";
const OTHER_THINGS: &str = "/apis/x.example.com/v1/namespaces/other/things";

/// Serves things, echoes who asked for them, and notes that those of a namespace were deleted.
fn things(up: &AtomicBool, emptied: &AtomicBool, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let headers = request.headers();
    let all = |name: &str| {
        let values = headers.get_all(name).iter();
        values.map(|it| it.to_str().unwrap()).collect::<Vec<_>>()
    };
    let path = request.uri().path();
    let answer = match path {
        _ if !up.load(Ordering::Relaxed) => return Response::builder().status(500).body(Full::default()).unwrap(),
        "/apis/x.example.com/v1" => {
            json!({"kind": "APIResourceList", "groupVersion": "x.example.com/v1", "resources": [
                {"name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing",
                    "verbs": ["get", "list", "delete", "deletecollection"]},
            ]})
        }
        "/openapi/v3" => {
            json!({"paths": {"apis/x.example.com/v1": {"serverRelativeURL": "/openapi/v3/apis/x.example.com/v1?hash=H"}}})
        }
        "/openapi/v2" => json!({
            "paths": {THINGS: {"get": {"responses": {"200": {"description": "OK",
                "schema": {"$ref": "#/definitions/com.example.x.v1.Thing"}}}}}, "/apis/y.example.com/v1/": {}},
            "definitions": {"com.example.x.v1.Thing": {"type": "object"}, "com.example.y.v1.Other": {}},
        }),
        OTHER_THINGS => {
            if request.method() == http::Method::DELETE {
                emptied.store(all("x-remote-group").contains(&"system:masters"), Ordering::Relaxed);
            }
            let left = json!([{"metadata": {"name": "t", "namespace": "other", "uid": "u"}}]);
            let items = if emptied.load(Ordering::Relaxed) {
                Value::Null
            } else {
                left
            };
            json!({"kind": "ThingList", "apiVersion": "x.example.com/v1", "metadata": {"resourceVersion": "1"}, "items": items})
        }
        THINGS if *request.method() == http::Method::POST => json!({"kind": "Thing", "metadata": {"name": "made"}}),
        THINGS | "/openapi/v3/apis/x.example.com/v1" => json!({
            "path": path, "query": request.uri().query(), "method": request.method().as_str(),
            "host": all("host"), "user": all("x-remote-user"), "groups": all("x-remote-group"),
            "authorization": all("authorization"),
        }),
        _ => return Response::builder().status(404).body(Full::default()).unwrap(),
    };
    Response::new(Full::new(answer.to_string().into()))
}

async fn available(cluster: &Cluster, status: &str, reason: &str) {
    let mut seen = Value::Null;
    for _ in 0..600 {
        let service = cluster
            .admin("GET", &format!("{SERVICES}/v1.x.example.com"), Value::Null)
            .await;
        let conditions = service["status"]["conditions"].as_array().cloned().unwrap_or_default();
        seen = conditions
            .into_iter()
            .find(|it| it["type"] == "Available")
            .unwrap_or_default();
        if seen["status"] == status && seen["reason"] == reason {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not {status} {reason}: {seen}");
}

#[tokio::test]
async fn another_server_serves_a_group() {
    let directory = directory();
    let at = |file: &str| directory.path().join(file);
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
                  - {level: RequestResponse, verbs: [create], resources: [{group: x.example.com}]}\n";
    std::fs::write(at("audit.yaml"), policy).unwrap();
    let mut config = crate::server::config(directory.path(), ([127, 0, 0, 1], 0).into());
    config.controllers = true;
    let up = Arc::new(AtomicBool::new(true));
    let emptied = Arc::new(AtomicBool::new(false));
    let (state, noted) = (up.clone(), emptied.clone());
    let address = serve(
        identity(directory.path(), "things"),
        Some(roots(directory.path())),
        move |request| things(&state, &noted, &request),
    )
    .await;
    let cluster = Cluster::start_with(directory.clone(), config).await;
    let published = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let published = cluster.admin("GET", published, Value::Null).await;
    assert_eq!(
        published["data"]["requestheader-allowed-names"],
        "[\"front-proxy-client\"]"
    );
    let ca = std::fs::read(at("ca.crt")).unwrap();
    let service = json!({"metadata": {"name": "v1.x.example.com"}, "spec": {
        "group": "x.example.com", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 10,
        "caBundle": base64::engine::general_purpose::STANDARD.encode(&ca),
        "service": {"namespace": "default", "name": "things", "port": address.port()},
    }});
    cluster.admin("POST", SERVICES, service).await;
    available(&cluster, "False", "ServiceNotFound").await;
    assert_eq!(cluster.call(Some("admin"), "GET", THINGS, Value::Null).await.0, 503);
    let named = json!({"metadata": {"name": "things"}, "spec": {"type": "ExternalName", "externalName": "localhost"}});
    cluster
        .admin("POST", "/api/v1/namespaces/default/services", named)
        .await;
    available(&cluster, "True", "Passed").await;

    // Who asks is told by this server alone.
    let request = Request::builder().uri(format!("{THINGS}?limit=5"));
    let request = request
        .header("host", "x")
        .header("x-remote-user", "root")
        .header("x-remote-group", "system:masters");
    let response = cluster
        .send(Some("admin"), request.body(Full::default()).unwrap())
        .await;
    // It had its turn before.
    assert!(response.headers().contains_key("x-kubernetes-pf-flowschema-uid"));
    let echoed = response.into_body().collect().await.unwrap().to_bytes();
    let echoed: Value = serde_json::from_slice(&echoed).unwrap();
    assert_eq!(
        echoed,
        json!({"path": THINGS, "query": "limit=5", "method": "GET", "host": ["things.default.svc"], "user": ["admin"],
            "groups": ["system:masters", "system:authenticated"], "authorization": []})
    );
    let thing = json!({"kind": "Thing", "metadata": {"name": "sent"}});
    cluster.admin("POST", THINGS, thing).await;
    let log = at("audit.log");
    let event = async {
        loop {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if let Some((line, _)) = text.split_once('\n') {
                return serde_json::from_str::<Value>(line).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let event = tokio::time::timeout(Duration::from_secs(60), event)
        .await
        .expect("it is written down");
    let name = |part: &str| event[part]["metadata"]["name"].clone();
    assert_eq!(
        (&event["stage"], name("requestObject"), name("responseObject")),
        (&json!("ResponseComplete"), json!("sent"), json!("made"))
    );
    // And only who may ask is passed on.
    assert_eq!(cluster.call(Some("bob"), "GET", THINGS, Value::Null).await.0, 403);
    assert_eq!(cluster.call(None, "GET", THINGS, Value::Null).await.0, 401);

    // A namespace takes along what another server keeps in it.
    let namespaces = "/api/v1/namespaces";
    let other = json!({"metadata": {"name": "other"}});
    cluster.admin("POST", namespaces, other).await;
    let other = format!("{namespaces}/other");
    cluster.admin("DELETE", &other, Value::Null).await;
    let gone = async {
        while cluster.call(Some("admin"), "GET", &other, Value::Null).await.0 != 404 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone)
        .await
        .expect("the namespace goes");
    assert!(emptied.load(Ordering::Relaxed));

    // It is found like everything else.
    let groups = cluster.admin("GET", "/apis", Value::Null).await;
    let groups = groups["groups"].as_array().unwrap().clone();
    assert!(
        groups.iter().any(|group| group["name"] == "x.example.com"),
        "{groups:?}"
    );
    let group = cluster.admin("GET", "/apis/x.example.com", Value::Null).await;
    assert_eq!(group["preferredVersion"]["groupVersion"], "x.example.com/v1");
    let resources = cluster.admin("GET", "/apis/x.example.com/v1", Value::Null).await;
    assert_eq!(resources["resources"][0]["name"], "things");
    let mut aggregated = get("/apis");
    let form = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    aggregated.headers_mut().insert("accept", form.parse().unwrap());
    let aggregated = cluster.send(Some("admin"), aggregated).await;
    let aggregated = aggregated.into_body().collect().await.unwrap().to_bytes();
    let aggregated: Value = serde_json::from_slice(&aggregated).unwrap();
    let items = aggregated["items"].as_array().unwrap();
    let item = items
        .iter()
        .find(|it| it["metadata"]["name"] == "x.example.com")
        .unwrap();
    assert_eq!(item["versions"][0]["resources"][0]["responseKind"]["kind"], "Thing");
    let index = cluster.admin("GET", "/openapi/v3", Value::Null).await;
    let url = index["paths"]["apis/x.example.com/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let document = cluster.admin("GET", url, Value::Null).await;
    assert_eq!(
        (&document["query"], &document["user"]),
        (&json!("hash=H"), &json!(["admin"]))
    );

    // Of its document of version 2 what is about the group is a part of the one document.
    let document = cluster.admin("GET", "/openapi/v2", Value::Null).await;
    let answers = &document["paths"][THINGS]["get"]["responses"]["200"]["schema"]["$ref"];
    assert_eq!(answers, "#/definitions/com.example.x.v1.Thing");
    assert_eq!(document["definitions"]["com.example.x.v1.Thing"]["type"], "object");
    assert!(document["definitions"].get("com.example.y.v1.Other").is_none());
    assert!(document["paths"].get("/apis/y.example.com/v1/").is_none());
    assert!(document["paths"].get("/api/v1/pods").is_some());

    // What is built in is listed beside it, and stays what it is.
    let all = cluster.admin("GET", SERVICES, Value::Null).await;
    let local = |name: &str| {
        let items = all["items"].as_array().unwrap();
        items
            .iter()
            .any(|it| it["metadata"]["name"] == name && it["status"]["conditions"][0]["reason"] == "Local")
    };
    assert!(local("v1.") && local("v1.apps"), "{all}");

    // When it is gone that is told, and with a certificate of another authority it is not believed.
    up.store(false, Ordering::Relaxed);
    let touch = json!({"metadata": {"annotations": {"looked": "again"}}});
    cluster.patch(&format!("{SERVICES}/v1.x.example.com"), touch).await;
    available(&cluster, "False", "FailedDiscoveryCheck").await;
    assert_eq!(cluster.call(Some("admin"), "GET", THINGS, Value::Null).await.0, 503);
    up.store(true, Ordering::Relaxed);
    let touch = json!({"metadata": {"annotations": {"looked": "once more"}}});
    cluster.patch(&format!("{SERVICES}/v1.x.example.com"), touch).await;
    available(&cluster, "True", "Passed").await;
    let other = base64::engine::general_purpose::STANDARD.encode(std::fs::read(at("other-ca.crt")).unwrap());
    cluster
        .patch(
            &format!("{SERVICES}/v1.x.example.com"),
            json!({"spec": {"caBundle": other}}),
        )
        .await;
    available(&cluster, "False", "FailedDiscoveryCheck").await;
    cluster
        .admin("DELETE", &format!("{SERVICES}/v1.x.example.com"), Value::Null)
        .await;
    for _ in 0..600 {
        if cluster
            .call(Some("admin"), "GET", "/apis/x.example.com", Value::Null)
            .await
            .0
            == 404
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(cluster.call(Some("admin"), "GET", THINGS, Value::Null).await.0, 404);
    cluster.stop().await;
}
