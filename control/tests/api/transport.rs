//! The API server on a socket: identities, limits, compression, streams to nodes, start and stop.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::server::{Cluster, config, directory, get, identity, roots, serve};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn certificates_are_identities() {
    let cluster = Cluster::start().await;
    let versions = cluster.admin("GET", "/api", Value::Null).await;
    let address = format!("192.0.2.1:{}", cluster.address.port());
    let addresses = json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]);
    assert_eq!(versions["serverAddressByClientCIDRs"], addresses);
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(cluster.call(None, "GET", path, Value::Null).await.0, 200, "{path}");
    }
    for path in ["/livez/ping", "/readyz/etcd", "/metrics", "/version/x"] {
        assert_eq!(cluster.call(None, "GET", path, Value::Null).await.0, 401, "{path}");
    }
    let binding = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:public-info-viewer";
    cluster.admin("DELETE", binding, Value::Null).await;
    assert_eq!(cluster.call(None, "GET", "/livez", Value::Null).await.0, 403);
    let (code, status) = cluster.call(None, "GET", "/api/v1/pods", Value::Null).await;
    assert_eq!(
        (code, &status["kind"], &status["reason"]),
        (401, &json!("Status"), &json!("Unauthorized"))
    );
    let (code, status) = cluster.call(Some("bob"), "GET", "/api/v1/pods", Value::Null).await;
    let message =
        "pods is forbidden: User \"bob\" cannot list resource \"pods\" in API group \"\" at the cluster scope";
    assert_eq!((code, &status["message"]), (403, &json!(message)));
    let (code, status) = cluster
        .call(Some("bob"), "GET", "/api/v1/namespaces/default/pods/p/log", Value::Null)
        .await;
    assert_eq!((code, &status["reason"]), (403, &json!("Forbidden")));
    let service = cluster
        .admin("GET", "/api/v1/namespaces/default/services/kubernetes", Value::Null)
        .await;
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.1");
    let endpoints = cluster
        .admin("GET", "/api/v1/namespaces/default/endpoints/kubernetes", Value::Null)
        .await;
    assert_eq!(endpoints["subsets"][0]["addresses"][0]["ip"], "192.0.2.1");
    assert_eq!(endpoints["subsets"][0]["ports"][0]["port"], cluster.address.port());
}

#[tokio::test]
async fn http2_is_spoken_when_asked_for() {
    let cluster = Cluster::start().await;
    let stream = cluster.connect(Some("admin"), &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let watch = sender
        .send_request(get("https://x/api/v1/namespaces?watch=true"))
        .await
        .unwrap();
    let list = sender.send_request(get("https://x/api/v1/namespaces")).await.unwrap();
    assert_eq!((watch.status(), list.status()), (StatusCode::OK, StatusCode::OK));
    let first = watch.into_body().frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"{\"type\":\"ADDED\""));
}

#[tokio::test]
async fn malformed_and_oversized_requests() {
    let cluster = Cluster::start().await;
    let mut stream = cluster.connect(Some("admin"), &["http/1.1"]).await;
    stream.write_all(b"NONSENSE\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let large = json!({"metadata": {"name": "a"}, "data": {"a": "x".repeat(4 << 20)}});
    let (code, status) = cluster.call(Some("admin"), "POST", MAPS, large).await;
    assert_eq!((code, &status["reason"]), (413, &json!("RequestEntityTooLarge")));
    let (code, status) = cluster.call(Some("admin"), "POST", MAPS, json!("text")).await;
    assert_eq!((code, &status["kind"]), (400, &json!("Status")));
    for path in [
        "/api/v1/namespaces/%00/pods",
        "/api/v1/namespaces/../../etc",
        "//",
        "/api//v1",
        "/apis/a/b/c/d/e/f/g",
    ] {
        let (code, _) = cluster.call(Some("admin"), "GET", path, Value::Null).await;
        assert!((200..500).contains(&code), "{path}: {code}");
    }
}

#[tokio::test]
async fn large_answers_are_compressed_when_asked_for() {
    let cluster = Cluster::start().await;
    for n in 0..20 {
        let object = json!({"metadata": {"name": format!("m{n}")}, "data": {"a": "x".repeat(10_000)}});
        cluster.admin("POST", MAPS, object).await;
    }
    let plain = cluster.send(Some("admin"), get(MAPS)).await;
    assert!(plain.headers().get("content-encoding").is_none());
    let length: usize = plain.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let plain = plain.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(plain.len(), length);
    let mut request = get(MAPS);
    request.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());
    let packed = cluster.send(Some("admin"), request).await;
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let packed = packed.into_body().collect().await.unwrap().to_bytes();
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&packed[..])
        .read_to_end(&mut text)
        .unwrap();
    assert!(packed.len() < plain.len() / 10 && text == plain);
}

/// A node's API: it echoes upgraded streams, and describes other requests.
async fn node(directory: &Path) -> SocketAddr {
    serve(identity(directory, "node"), Some(roots(directory)), |mut request| {
        let uri = request.uri().to_string();
        let builder = Response::builder();
        if request.headers().contains_key("upgrade") {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgrade.await.unwrap());
                stream.write_all(uri.as_bytes()).await.unwrap();
                let (mut reader, mut writer) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
            let builder = builder
                .status(101)
                .header("connection", "upgrade")
                .header("upgrade", "websocket");
            return builder.body(Full::default()).unwrap();
        }
        if uri.contains("missing") {
            let text = Full::new("container \"missing\" not found".into());
            return builder.status(404).body(text).unwrap();
        }
        builder.body(Full::new(uri.into())).unwrap()
    })
    .await
}

async fn running_pod(cluster: &Cluster, port: u16) {
    let status = json!({
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    });
    cluster
        .admin("POST", "/api/v1/nodes", json!({"metadata": {"name": "n1"}}))
        .await;
    let request = Request::patch("/api/v1/nodes/n1/status").header("host", "x");
    let request = request.header("content-type", "application/merge-patch+json");
    let patched = cluster.send(
        Some("admin"),
        request
            .body(Full::new(json!({"status": status}).to_string().into()))
            .unwrap(),
    );
    assert_eq!(patched.await.status(), 200);
    let account = json!({"metadata": {"name": "default"}});
    cluster
        .admin("POST", "/api/v1/namespaces/default/serviceaccounts", account)
        .await;
    let containers = json!([{"name": "c", "image": "i"}, {"name": "missing", "image": "i"}]);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": containers}});
    cluster.admin("POST", "/api/v1/namespaces/default/pods", pod).await;
}

#[tokio::test]
async fn streams_are_passed_to_the_node() {
    let cluster = Cluster::start().await;
    let address = node(cluster.directory.path()).await;
    running_pod(&cluster, address.port()).await;
    let pod = "/api/v1/namespaces/default/pods/p";
    let log = cluster
        .admin("GET", &format!("{pod}/log?container=c&tailLines=3"), Value::Null)
        .await;
    assert_eq!(log, "/containerLogs/default/p/c?container=c&tailLines=3");
    let proxied = cluster
        .admin("GET", "/api/v1/nodes/n1/proxy/stats/summary?x=1", Value::Null)
        .await;
    assert_eq!(proxied, "/stats/summary?x=1");
    let (code, status) = cluster
        .call(
            Some("admin"),
            "GET",
            &format!("{pod}/log?container=missing"),
            Value::Null,
        )
        .await;
    assert_eq!(
        (code, &status["message"]),
        (404, &json!("container \"missing\" not found"))
    );
    let (code, status) = cluster
        .call(Some("admin"), "GET", &format!("{pod}/log"), Value::Null)
        .await;
    let message = "a container name must be specified for pod p, choose one of: [c missing]";
    assert_eq!((code, &status["message"]), (400, &json!(message)));

    let request = Request::get(format!("{pod}/exec?container=c&command=ls&command=-l&stdin=true"))
        .header("host", "x")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-protocol", "v5.channel.k8s.io");
    let response = cluster
        .send(Some("admin"), request.body(Full::default()).unwrap())
        .await;
    assert_eq!(response.status(), 101);
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let expected = "/exec/default/p/c?container=c&command=ls&command=-l&stdin=true";
    let mut greeting = vec![0; expected.len()];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&greeting), expected);
    let data: Vec<u8> = (0..200_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sent = data.clone();
    tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer
    });
    let mut back = vec![0; data.len()];
    reader.read_exact(&mut back).await.unwrap();
    assert!(back == data);
    // The request lasts as long as the stream does.
    let lasts = async || {
        let text = cluster.admin("GET", "/metrics", Value::Null).await;
        let mut lines = text.as_str().unwrap().lines();
        lines.any(|line| line.starts_with("apiserver_longrunning_requests{") && line.contains("subresource=\"exec\""))
    };
    assert!(lasts().await);
    drop(reader);
    let ended = async {
        while lasts().await {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), ended).await;
    ended.expect("the request ends with its stream");
}

#[tokio::test]
async fn pages_of_pods_are_led_through_the_proxy() {
    let cluster = Cluster::start().await;
    running_pod(&cluster, 1).await;
    // It shows a certificate that nobody vouches for, and asks for none.
    let page = serve(identity(cluster.directory.path(), "node"), None, |request| {
        let builder = Response::builder();
        match request.uri().path() {
            "/moved" => builder.status(302).header("location", "/new").body(Full::default()),
            _ => builder
                .header("content-type", "text/html; charset=utf-8")
                .body(Full::new("<a href=\"/next\">".into())),
        }
        .unwrap()
    })
    .await;
    let status = json!({"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}});
    let request = Request::patch("/api/v1/namespaces/default/pods/p/status").header("host", "x");
    let request = request.header("content-type", "application/merge-patch+json");
    let patched = cluster.send(
        Some("admin"),
        request.body(Full::new(status.to_string().into())).unwrap(),
    );
    assert_eq!(patched.await.status(), 200);
    let pod = format!("/api/v1/namespaces/default/pods/https:p:{}/proxy", page.port());
    let location = |response: &Response<_>| response.headers()["location"].to_str().unwrap().to_owned();
    let bare = cluster.send(Some("admin"), get(&format!("{pod}?a=b"))).await;
    assert_eq!((bare.status().as_u16(), location(&bare)), (301, format!("{pod}/?a=b")));
    let moved = cluster.send(Some("admin"), get(&format!("{pod}/moved"))).await;
    assert_eq!((moved.status().as_u16(), location(&moved)), (302, format!("{pod}/new")));
    let shown = cluster.admin("GET", &format!("{pod}/some/where"), Value::Null).await;
    assert_eq!(shown, format!("<a href=\"{pod}/next\">"));
}

#[tokio::test]
async fn an_absent_node_is_named() {
    let cluster = Cluster::start().await;
    running_pod(&cluster, 1).await;
    let (code, status) = cluster
        .call(
            Some("admin"),
            "GET",
            "/api/v1/namespaces/default/pods/p/log?container=c",
            Value::Null,
        )
        .await;
    let message = status["message"].as_str().unwrap();
    let start = "Get \"https://127.0.0.1:1/containerLogs/default/p/c?container=c\": dial tcp 127.0.0.1:1: ";
    assert!(
        code == 500 && message.starts_with(start) && message.contains("refused"),
        "{message}"
    );
}

#[tokio::test]
async fn stops_cleanly_and_starts_again() {
    let cluster = Cluster::start().await;
    cluster.admin("POST", MAPS, json!({"metadata": {"name": "kept"}})).await;
    let watch = cluster
        .send(Some("admin"), get(&format!("{MAPS}?watch=true&resourceVersion=0")))
        .await;
    let mut watch = watch.into_body();
    assert!(watch.frame().await.unwrap().is_ok());
    let started = std::time::Instant::now();
    let directory = cluster.stop().await;
    assert!(watch.frame().await.is_none_or(|frame| frame.is_err()));
    assert!(started.elapsed().as_secs() < 2, "the watch does not hold up the stop");
    let cluster = Cluster::start_in(directory).await;
    let kept = cluster.admin("GET", &format!("{MAPS}/kept"), Value::Null).await;
    assert_eq!(kept["metadata"]["name"], "kept");

    let address = cluster.address;
    let busy = barepod_control::run_until(
        config(cluster.directory.path(), address),
        |_| {},
        std::future::ready(()),
    )
    .await;
    let text = format!("{:#}", busy.unwrap_err());
    assert!(
        text.contains(&address.to_string()) && text.contains("another process may use the port"),
        "{text}"
    );
    let free = (Ipv4Addr::LOCALHOST, 0).into();
    let locked =
        barepod_control::run_until(config(cluster.directory.path(), free), |_| {}, std::future::ready(())).await;
    let text = format!("{:#}", locked.unwrap_err());
    assert!(text.contains("is in use by another process"), "{text}");
    let mut broken = config(cluster.directory.path(), free);
    broken.pki.server_key = "/nonexistent/apiserver.key".into();
    let broken = barepod_control::run_until(broken, |_| {}, std::future::ready(())).await;
    let text = format!("{:#}", broken.unwrap_err());
    assert!(text.contains("/nonexistent/apiserver.key"), "{text}");
    cluster.stop().await;
}

#[tokio::test]
async fn requests_are_written_down_as_the_policy_says() {
    let directory = directory();
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
                  - {level: None, resources: [{group: '', resources: [secrets]}]}\n\
                  - {level: RequestResponse, resources: [{group: '', resources: [configmaps]}], omitManagedFields: true}\n\
                  - {level: Metadata}\n";
    std::fs::write(directory.path().join("audit.yaml"), policy).unwrap();
    let cluster = Cluster::start_in(directory.clone()).await;
    cluster
        .admin("POST", MAPS, json!({"metadata": {"name": "seen"}, "data": {"a": "1"}}))
        .await;
    cluster
        .admin("GET", "/api/v1/namespaces/default/secrets", Value::Null)
        .await;
    assert_eq!(
        cluster.call(Some("bob"), "GET", "/api/v1/nodes", Value::Null).await.0,
        403
    );
    // Who may create is allowed to, whatever admission says then; who is not known is not decided about.
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"count/configmaps": "0"}}});
    cluster
        .admin("POST", "/api/v1/namespaces/default/resourcequotas", quota)
        .await;
    let over = json!({"metadata": {"name": "over"}});
    assert_eq!(cluster.call(Some("admin"), "POST", MAPS, over).await.0, 403);
    assert_eq!(cluster.call(None, "GET", "/api/v1/nodes", Value::Null).await.0, 401);
    let list = cluster.admin("GET", MAPS, Value::Null).await;
    let watch = cluster
        .send(Some("admin"), get(&format!("{MAPS}?watch=true&resourceVersion=0")))
        .await;
    let mut body = watch.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    drop(body);
    cluster.stop().await;
    let log = directory.path().join("audit.log");
    let wanted = |text: &str| text.lines().count() >= 8;
    let text = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        loop {
            let text = std::fs::read_to_string(&log).unwrap();
            if wanted(&text) {
                return text;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("everything is written");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let made = &events[0];
    assert_eq!(
        (&made["verb"], &made["stage"], &made["level"]),
        (&json!("create"), &json!("ResponseComplete"), &json!("RequestResponse"))
    );
    assert_eq!(
        (&made["user"]["username"], &made["objectRef"]["resource"]),
        (&json!("admin"), &json!("configmaps"))
    );
    assert_eq!(made["requestObject"]["data"], json!({"a": "1"}));
    assert_eq!(made["responseObject"]["metadata"]["name"], "seen");
    assert!(made["responseObject"]["metadata"]["managedFields"].is_null());
    assert_eq!(
        (&made["responseStatus"]["code"], &made["sourceIPs"]),
        (&json!(201), &json!(["127.0.0.1"]))
    );
    let refused = &events[1];
    assert_eq!(
        (&refused["user"]["username"], &refused["responseStatus"]["code"]),
        (&json!("bob"), &json!(403))
    );
    assert_eq!(refused["annotations"]["authorization.k8s.io/decision"], "forbid");
    let note = |event: &Value, key: &str| event["annotations"][format!("authorization.k8s.io/{key}")].clone();
    assert_eq!(
        (note(made, "decision"), note(made, "reason")),
        (json!("allow"), json!(""))
    );
    assert!(refused["responseObject"].is_null());
    let over = &events[3];
    assert_eq!(
        (&over["responseStatus"]["code"], note(over, "decision")),
        (&json!(403), json!("allow"))
    );
    let unknown = &events[4];
    assert_eq!(
        (&unknown["responseStatus"]["code"], note(unknown, "decision")),
        (&json!(401), Value::Null)
    );
    assert_eq!(
        events[5]["responseObject"]["items"].as_array().map(Vec::len),
        list["items"].as_array().map(Vec::len)
    );
    let stages: Vec<&Value> = events[6..].iter().map(|event| &event["stage"]).collect();
    assert_eq!(stages, ["ResponseStarted", "ResponseComplete"], "of the watch");
    assert!(!text.contains("\"secrets\""), "{text}");
}
