//! What a hostile or broken client can do: a Status, bounded memory, nobody else affected.

#[path = "support/server.rs"]
mod server;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use server::Cluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Code and Status of a request with a body of any kind.
async fn send(cluster: &Cluster, method: &str, path: &str, media: &str, body: Vec<u8>) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).header("host", "x");
    let request = request.header("content-type", media).body(Full::new(Bytes::from(body)));
    let response = cluster.send(Some("admin"), request.unwrap()).await;
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).expect("the answer is JSON"))
}

/// Others are served.
async fn serves(cluster: &Cluster) {
    let answer = cluster.admin("GET", "/api/v1/namespaces/default", Value::Null).await;
    assert_eq!(answer["metadata"]["name"], "default");
}

/// A list in a list in a list.
fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

/// An object whose data is so deep.
fn revision(depth: usize) -> Value {
    let data = (1..depth).fold(json!({"a": 1}), |inner, _| json!({"a": inner}));
    json!({"metadata": {"name": format!("deep-{depth}")}, "revision": 1, "data": data})
}

#[tokio::test]
async fn bodies_that_are_too_much_or_nothing() {
    let cluster = Cluster::start().await;
    let map = |data: &str| format!("{{\"metadata\":{{\"name\":\"a\"}},\"data\":{data}}}").into_bytes();
    let bomb = {
        let lines = (1..30).map(|n| format!("a{n}: &a{n} [{0}, {0}]\n", format_args!("*a{}", n - 1)));
        format!("metadata: {{name: a}}\na0: &a0 [x, x]\n{}", lines.collect::<String>())
    };
    // An envelope in an envelope, and so on.
    let mut matryoshka = Vec::new();
    for _ in 0..2000 {
        let mut raw = b"\x1a".to_vec();
        length(&mut raw, matryoshka.len());
        raw.append(&mut matryoshka);
        matryoshka = b"k8s\0\x0a\x0b\x0a\x02v1\x12\x05Event\x12".to_vec();
        length(&mut matryoshka, raw.len());
        matryoshka.append(&mut raw);
    }
    let (json, yaml, protobuf) = (
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
    );
    for (what, media, body, code) in [
        ("deep JSON", json, map(&nested(1_000_000)), 400),
        ("deep flow YAML", yaml, map(&nested(1_000_000)), 400),
        (
            "deep block YAML",
            yaml,
            (0..1000)
                .flat_map(|n| format!("{}a:\n", " ".repeat(n)).into_bytes())
                .collect(),
            400,
        ),
        ("a billion laughs", yaml, bomb.into_bytes(), 400),
        (
            "Latin-1 JSON",
            json,
            b"{\"metadata\":{\"name\":\"\xe9\"}}".to_vec(),
            400,
        ),
        ("Latin-1 YAML", yaml, b"metadata: {name: \xe9}".to_vec(), 400),
        ("half a character", json, map("{\"a\":\"\\ud800\"}"), 400),
        ("no protobuf", protobuf, b"{}".to_vec(), 400),
        ("protobuf in protobuf", protobuf, matryoshka, 400),
        ("nothing", json, Vec::new(), 400),
        ("a NUL", json, vec![0], 400),
        ("something else", "application/cbor", vec![0xd9, 0xd9, 0xf7, 0xa0], 415),
        (
            "four MiB",
            json,
            map(&format!("{{\"a\":\"{}\"}}", "x".repeat(4 << 20))),
            413,
        ),
        ("a number too large", json, map("{\"a\":1e999999}"), 400),
    ] {
        let began = Instant::now();
        let (given, status) = send(&cluster, "POST", MAPS, media, body).await;
        assert_eq!(
            (given, &status["kind"], &status["code"]),
            (code, &json!("Status"), &json!(code)),
            "{what}: {status}"
        );
        assert!(
            status["message"].as_str().is_some_and(|text| !text.is_empty()),
            "{what}: {status}"
        );
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{what}: {:?}",
            began.elapsed()
        );
        serves(&cluster).await;
    }
    assert_eq!(cluster.admin("GET", MAPS, Value::Null).await["items"], json!([]));
}

/// A length as protobuf has it.
fn length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap());
}

#[tokio::test]
async fn keys_given_twice() {
    let cluster = Cluster::start().await;
    let twice = br#"{"metadata":{"name":"twice"},"data":{"a":"1","a":"2"},"data":{"b":"1","b":"2"}}"#.to_vec();
    let (code, status) = send(
        &cluster,
        "POST",
        &format!("{MAPS}?fieldValidation=Strict"),
        "application/json",
        twice.clone(),
    )
    .await;
    let message = status["message"].as_str().unwrap_or("");
    assert!(
        code == 400 && message.contains("duplicate field \"data.b\"") && message.contains("duplicate field \"data\""),
        "{status}"
    );
    let (code, object) = send(&cluster, "POST", MAPS, "application/json", twice).await;
    assert_eq!((code, &object["data"]), (201, &json!({"b": "2"})));
    // As many as fit: each is looked for among those before it, unless they are too many to be told.
    let fields: String = (0..100_000).map(|n| format!("\"a{n}\":1,\"a{n}\":2,")).collect();
    let body = format!("{{{fields}\"metadata\":{{\"name\":\"many\"}}}}").into_bytes();
    let began = Instant::now();
    let (code, status) = send(
        &cluster,
        "POST",
        &format!("{MAPS}?fieldValidation=Strict"),
        "application/json",
        body,
    )
    .await;
    assert!(
        code == 400 && began.elapsed() < Duration::from_secs(20),
        "{code} {:?} {}",
        began.elapsed(),
        status["message"]
    );
}

#[tokio::test]
async fn what_is_as_deep_as_may_be_can_be_read_again() {
    let cluster = Cluster::start().await;
    let path = "/apis/apps/v1/namespaces/default/controllerrevisions";
    let mut refused = 0;
    for depth in 110..130 {
        let body = revision(depth).to_string().into();
        let (code, answer) = send(&cluster, "POST", path, "application/json", body).await;
        if code == 400 {
            refused += 1;
            continue;
        }
        assert_eq!((code, refused), (201, 0), "{depth}: {answer}");
        let object = format!("{path}/deep-{depth}");
        // With the ownership of its fields, which is deeper than they are.
        let patch = json!({"metadata": {"labels": {"a": "b"}}}).to_string().into();
        let (code, patched) = send(&cluster, "PATCH", &object, "application/merge-patch+json", patch).await;
        assert_eq!((code, &patched["data"]), (200, &answer["data"]), "{depth}");
        let read = cluster.admin("GET", &object, Value::Null).await;
        assert_eq!(
            (&read["data"], &read["metadata"]["labels"]["a"]),
            (&answer["data"], &json!("b")),
            "{depth}"
        );
    }
    assert!(refused > 0, "somewhere is the end");
}

#[tokio::test]
async fn patches_that_grow() {
    let cluster = Cluster::start().await;
    cluster
        .admin(
            "POST",
            MAPS,
            json!({"metadata": {"name": "a"}, "data": {"a": "x".repeat(1000)}}),
        )
        .await;
    let copies: Vec<Value> = (0..40)
        .map(|n| json!({"op": "copy", "from": "/data", "path": format!("/data/{n}")}))
        .collect();
    let tests = vec![json!({"op": "test", "path": "/data/b", "value": "x"}); 10_001];
    let path = format!("{MAPS}/a");
    for (what, patch, code) in [("doubling", copies, 422), ("many", tests, 413)] {
        let (given, status) = send(
            &cluster,
            "PATCH",
            &path,
            "application/json-patch+json",
            Value::Array(patch).to_string().into(),
        )
        .await;
        assert_eq!((given, &status["kind"]), (code, &json!("Status")), "{what}: {status}");
    }
    serves(&cluster).await;
}

#[tokio::test]
async fn heads_that_are_too_much() {
    let cluster = Cluster::start().await;
    let many: String = (0..5000).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(1 << 20));
    for head in [many, long] {
        let mut stream = cluster.connect(Some("admin"), &["http/1.1"]).await;
        let request = format!("GET {MAPS} HTTP/1.1\r\nhost: x\r\n{head}\r\n");
        // The server may have hung up before all of it is sent.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = vec![0; 12];
        if stream.read_exact(&mut answer).await.is_ok() {
            assert!(
                answer.starts_with(b"HTTP/1.1 431") || answer.starts_with(b"HTTP/1.1 400"),
                "{}",
                String::from_utf8_lossy(&answer)
            );
        }
        serves(&cluster).await;
    }
    let path = format!("{MAPS}?labelSelector={}", "a,".repeat(200_000));
    let mut stream = cluster.connect(Some("admin"), &["http/1.1"]).await;
    let _ = stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
        .await;
    serves(&cluster).await;
}

/// A server that has no patience.
async fn impatient() -> Cluster {
    let limit = Duration::from_millis(500);
    let limits = barepod_control::http::Limits {
        handshake: limit,
        head: limit,
        body: limit,
    };
    Cluster::start_limited(limits).await
}

/// Reads until the other end hangs up; what came.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    // Whether it ends with a goodbye of TLS does not matter.
    let ended = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut all)).await;
    assert!(ended.is_ok(), "the server does not hang up");
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn slow_clients_are_hung_up_on() {
    let cluster = impatient().await;
    // Nothing at all; half a handshake; half a head; half a body.
    let mut silent = TcpStream::connect(cluster.address).await.unwrap();
    let mut greeting = TcpStream::connect(cluster.address).await.unwrap();
    greeting.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    let mut head = cluster.connect(Some("admin"), &["http/1.1"]).await;
    head.write_all(b"GET /api HTTP/1.1\r\nhost:").await.unwrap();
    let mut body = cluster.connect(Some("admin"), &["http/1.1"]).await;
    let request = format!("POST {MAPS} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{{");
    body.write_all(request.as_bytes()).await.unwrap();
    serves(&cluster).await;
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(rest(&mut greeting).await, "");
    let told = rest(&mut head).await;
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 408"), "{told}");
    let told = rest(&mut body).await;
    assert!(
        told.starts_with("HTTP/1.1 408") && told.contains("\"reason\":\"Timeout\""),
        "{told}"
    );
    serves(&cluster).await;
}

#[tokio::test]
async fn who_is_nobody_cannot_send_much() {
    let cluster = Cluster::start().await;
    for (user, length, code) in [
        (None, 100 << 10, 413),
        (None, 1 << 10, 401),
        (Some("admin"), 4 << 20, 413),
    ] {
        // No byte of it is waited for when it is too much.
        let mut stream = cluster.connect(user, &["http/1.1"]).await;
        let request =
            format!("POST {MAPS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        if code == 401 {
            stream.write_all(&vec![b' '; length]).await.unwrap();
        }
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {code}"));
    }
    // Without a length it is found out on the way.
    let mut stream = cluster.connect(Some("admin"), &["http/1.1"]).await;
    let request = format!("POST {MAPS} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    for _ in 0..4 {
        // It may have hung up before the last one.
        let _ = stream.write_all(chunk.as_bytes()).await;
    }
    let mut answer = vec![0; 12];
    if stream.read_exact(&mut answer).await.is_ok() {
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 413");
    }
    serves(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_do_not_take_all_memory() {
    let cluster = Cluster::start().await;
    // Bodies of almost 3 MiB whose last byte does not come: together more than there is room for.
    let part = vec![b' '; (3 << 20) - 1024];
    let mut halves = Vec::new();
    let mut refused = 0;
    for _ in 0..60 {
        let mut stream = cluster.connect(Some("admin"), &["http/1.1"]).await;
        let request = format!("POST {MAPS} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", 3 << 20);
        stream.write_all(request.as_bytes()).await.unwrap();
        if stream.write_all(&part).await.is_err() {
            refused += 1;
            continue;
        }
        halves.push(stream);
    }
    // Small ones are taken all the same.
    cluster
        .admin("POST", MAPS, json!({"metadata": {"name": "small"}}))
        .await;
    for stream in &mut halves {
        let mut head = vec![0; 12];
        let read = tokio::time::timeout(Duration::from_millis(50), stream.read_exact(&mut head)).await;
        if let Ok(read) = read {
            assert!(
                read.is_err() || head == b"HTTP/1.1 429",
                "{}",
                String::from_utf8_lossy(&head)
            );
            refused += 1;
        }
    }
    assert!((5..40).contains(&refused), "{refused}");
    drop(halves);
    // And large ones when there is room again.
    let large = json!({"metadata": {"name": "large"}, "data": {"a": "x".repeat(900_000)}});
    let until = Instant::now() + Duration::from_secs(60);
    while cluster.call(Some("admin"), "POST", MAPS, large.clone()).await.0 != 201 {
        assert!(Instant::now() < until, "there is never room again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
