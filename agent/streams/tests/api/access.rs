use super::Server;
use super::client::{admin, connect, get, request};

#[tokio::test]
async fn certificates_decide() {
    let server = Server::start().await;
    assert_eq!(
        get(&server, admin(&server), "/healthz").await.unwrap(),
        (200, "ok\n".to_owned())
    );
    let api_server = server.authority.client_config("kube-apiserver-kubelet-client", "");
    assert_eq!(get(&server, api_server, "/pods").await.unwrap().0, 200);
    let stranger = server.authority.client_config("system:node:other", "system:nodes");
    let (status, body) = get(&server, stranger, "/pods").await.unwrap();
    assert_eq!((status, body.contains("system:node:other")), (403, true));
    // Another authority's certificate, and none at all, fail in the handshake.
    assert!(
        get(&server, server.authority.anonymous_config(), "/healthz")
            .await
            .is_err()
    );
    let other = super::certificates::Authority::new();
    let foreign = other.client_config("kubernetes-admin", "system:masters");
    assert!(get(&server, foreign, "/healthz").await.is_err());
}

#[tokio::test]
async fn requests_that_make_no_sense() {
    let server = Server::start().await;
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/metrics", 404),
        ("DELETE", "/pods", 405),
        ("POST", "/containerLogs/a/b/main", 405),
        ("GET", "/exec/a/b/main?command=true&output=1", 400),
        ("POST", "/exec/a/b/main?command=true&output=1", 400),
        ("GET", "/attach/a/b/main", 400),
        ("GET", "/portForward/a/b?port=99999", 400),
        ("GET", "/containerLogs/a/b/main?tailLines=-1", 400),
        ("GET", "/containerLogs/a/b/main?previous=true", 400),
        ("GET", "/containerLogs/a/b/other", 404),
    ] {
        let (found, body) = request(&server, admin(&server), method, path, "").await.unwrap();
        assert_eq!(found, status, "{method} {path}: {body}");
    }
    // What kubectl falls back to when WebSockets are refused.
    let spdy = "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n";
    let (status, body) = request(
        &server,
        admin(&server),
        "POST",
        "/exec/a/b/main?command=x&output=1",
        spdy,
    )
    .await
    .unwrap();
    assert_eq!((status, body.contains("WebSocket")), (400, true));
}

#[tokio::test]
async fn an_idle_client_does_not_keep_others_out() {
    let server = Server::start().await;
    let mut idle = Vec::new();
    for _ in 0..50 {
        idle.push(tokio::net::TcpStream::connect(server.address).await.unwrap());
        idle.push(connect(&server, admin(&server)).await.unwrap().into_inner().0);
    }
    assert_eq!(get(&server, admin(&server), "/healthz").await.unwrap().0, 200);
}
