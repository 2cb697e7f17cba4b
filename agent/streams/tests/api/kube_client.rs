use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, LogParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Server, apiserver, portforward};

async fn pods() -> (Arc<Server>, Api<Pod>) {
    let server = Arc::new(Server::start().await);
    let address = apiserver::start(server.clone()).await;
    let kubeconfig: Kubeconfig = serde_json::from_value(apiserver::kubeconfig(&server, address)).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    let pods = Api::default_namespaced(Client::try_from(config).unwrap());
    (server, pods)
}

#[tokio::test]
async fn exec() {
    let (_server, pods) = pods().await;
    let params = AttachParams::default().stdin(true).stderr(true);
    let mut process = pods
        .exec("pod", ["sh", "-c", "cat; echo err >&2; exit 7"], &params)
        .await
        .unwrap();
    let status = process.take_status().unwrap();
    let mut stdin = process.stdin().unwrap();
    stdin.write_all(b"through kube").await.unwrap();
    stdin.shutdown().await.unwrap();
    drop(stdin);
    let (mut out, mut err) = (String::new(), String::new());
    process.stdout().unwrap().read_to_string(&mut out).await.unwrap();
    process.stderr().unwrap().read_to_string(&mut err).await.unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("through kube", "err\n"));
    let status = status.await.unwrap();
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
    assert_eq!(status.details.unwrap().causes.unwrap()[0].message.as_deref(), Some("7"));
    process.join().await.unwrap();
}

#[tokio::test]
async fn port_forward() {
    let (_server, pods) = pods().await;
    let port = portforward::service().await.port();
    let mut forwarder = pods.portforward("pod", &[port]).await.unwrap();
    let mut stream = forwarder.take_stream(port).unwrap();
    stream.write_all(b"kube").await.unwrap();
    let mut seen = [0; 10];
    stream.read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen, b"hello kube");
    drop(stream);
    forwarder.join().await.unwrap();
    let port = portforward::closed_port().await;
    let mut forwarder = pods.portforward("pod", &[port]).await.unwrap();
    let error = forwarder.take_error(port).unwrap().await.unwrap();
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test]
async fn logs() {
    let (server, pods) = pods().await;
    std::fs::write(
        server.node.log(),
        "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stdout F two\n",
    )
    .unwrap();
    let params = LogParams {
        tail_lines: Some(1),
        ..LogParams::default()
    };
    assert_eq!(pods.logs("pod", &params).await.unwrap(), "two\n");
}
