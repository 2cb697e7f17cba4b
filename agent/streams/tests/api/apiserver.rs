//! Just enough of an API server for kube and kubectl: one pod, and its subresources passed through to the node byte by
//! byte.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Server;
use super::client;

/// Starts it and returns its address. It ends with the test's runtime.
pub async fn start(server: Arc<Server>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(server.authority.server_config(false));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (server, acceptor) = (server.clone(), acceptor.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(&server, stream).await;
                }
            });
        }
    });
    address
}

async fn serve(server: &Server, mut stream: TlsStream<TcpStream>) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let uri = head.split(' ').nth(1).unwrap();
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        if let Some(target) = target(path, query) {
            let config = server.authority.client_config("kube-apiserver-kubelet-client", "");
            let upgrade = head.lines().find_map(|line| line.strip_prefix("Upgrade: "));
            *server.node.upgrade.lock().unwrap() = upgrade.map(str::to_owned);
            let mut node = client::connect(server, config).await.unwrap();
            node.write_all(head.replacen(uri, &target, 1).as_bytes()).await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut node).await;
            return;
        }
        let (status, body) = match document(path) {
            Some(body) => ("200 OK", body),
            None => (
                "404 Not Found",
                json!({ "kind": "Status", "apiVersion": "v1", "code": 404, "status": "Failure" }),
            ),
        };
        let body = body.to_string();
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
        if stream.write_all((head + &body).as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Where a pod's subresource is on the node.
fn target(path: &str, query: &str) -> Option<String> {
    let (place, subresource) = path.strip_prefix("/api/v1/namespaces/")?.rsplit_once('/')?;
    let (namespace, pod) = place.split_once("/pods/")?;
    match subresource {
        "exec" | "attach" => Some(format!("/{subresource}/{namespace}/{pod}/main?{query}")),
        "log" => Some(format!("/containerLogs/{namespace}/{pod}/main?{query}")),
        "portforward" => Some(format!("/portForward/{namespace}/{pod}?{query}")),
        _ => None,
    }
}

fn document(path: &str) -> Option<Value> {
    Some(match path {
        "/api" => json!({ "kind": "APIVersions", "versions": ["v1"] }),
        "/apis" => json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [] }),
        "/api/v1" => json!({
            "kind": "APIResourceList",
            "groupVersion": "v1",
            "resources": [{ "name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": ["get", "list"] }],
        }),
        "/api/v1/namespaces/default/pods/pod" => json!({
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": { "name": "pod", "namespace": "default", "uid": "1" },
            "spec": { "nodeName": "node", "containers": [{ "name": "main", "image": "x", "stdin": true }] },
            "status": { "phase": "Running", "containerStatuses": [
                { "name": "main", "ready": true, "restartCount": 0, "image": "x", "imageID": "x", "state": { "running": {} } },
            ] },
        }),
        _ => return None,
    })
}

/// A kubeconfig for it.
pub fn kubeconfig(server: &Server, address: SocketAddr) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "test", "cluster": {
            "server": format!("https://{address}"),
            "certificate-authority-data": base64(server.authority.pem().as_bytes()),
        } }],
        "users": [{ "name": "test", "user": { "token": "any" } }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        "current-context": "test",
    })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .chain([&0, &0])
            .take(3)
            .fold(0_usize, |group, &byte| group << 8 | usize::from(byte));
        for n in 0..4 {
            out.push(if n <= chunk.len() {
                char::from(DIGITS[group >> (18 - 6 * n) & 63])
            } else {
                '='
            });
        }
    }
    out
}
