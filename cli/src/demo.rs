//! The demo application: a Deployment of two pods, each a web server and a sidecar that writes its page, and a Service.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::output::columns;
use crate::paths::Paths;
use crate::progress::Progress;

/// The static program that build.rs made of `demo/main.rs`.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/demo"));
const IMAGE: &str = "barepod.local/demo:1";
const NAME: &str = "demo";
const REPLICAS: usize = 2;
const NODE_PORT: u16 = 30080;

/// What runs, for the summary.
pub struct Demo {
    /// A table of the pods and the Service.
    pub table: String,
    /// Address and port of the Service.
    pub cluster_address: SocketAddr,
    /// Address and port of the Service on the node.
    pub node_address: SocketAddr,
}

/// Imports the image, applies the manifests and waits until the application answers.
pub async fn run(
    paths: &Paths,
    client: Client,
    progress: &Progress,
    limit: Duration,
    node_ip: Ipv4Addr,
) -> Result<Demo> {
    progress.begin("demo image is imported");
    import(paths)?;
    progress.done(&format!("demo image {IMAGE} is imported"));
    let apply = PatchParams::apply("barepod-up").force();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    deployments
        .patch(NAME, &apply, &Patch::Apply(deployment()))
        .await
        .context("apply the demo's Deployment")?;
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    let service = services
        .patch(NAME, &apply, &Patch::Apply(service()))
        .await
        .context("apply the demo's Service")?;
    progress.done("demo Deployment and Service are applied");
    tokio::time::timeout(limit, pods_ready(client.clone(), progress))
        .await
        .with_context(|| {
            format!(
                "the demo's pods are not ready after {} s; try: kubectl describe pods -l app={NAME}",
                limit.as_secs()
            )
        })??;
    let ip = service
        .spec
        .and_then(|s| s.cluster_ip)
        .context("the Service has no cluster IP")?;
    let cluster_address = SocketAddr::new(ip.parse().context("the Service's cluster IP")?, 80);
    progress.begin("demo answers");
    let page = tokio::time::timeout(limit, answers(cluster_address))
        .await
        .context("the demo does not answer")?;
    if !page.contains("Hello from barepod") {
        bail!("the demo answers something else: {page}");
    }
    progress.done("demo answers through its Service");
    let node_address = SocketAddr::new(node_ip.into(), NODE_PORT);
    Ok(Demo {
        table: table(client, cluster_address, node_address).await?,
        cluster_address,
        node_address,
    })
}

fn import(paths: &Paths) -> Result<()> {
    use barepod_images::build::{ImageBuilder, Layer};
    let store = barepod_images::ImageStore::open(&paths.images())?;
    ImageBuilder::new(IMAGE)?
        .layer(&Layer::new().file("demo", 0o755, PROGRAM))
        .entrypoint(&["/demo"])
        .user("65534:65534")
        .import(&store)?;
    Ok(())
}

fn deployment() -> Value {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let mount = json!([{"name": "www", "mountPath": "/www"}]);
    let resources = json!({"requests": {"cpu": "10m", "memory": "8Mi"}, "limits": {"memory": "64Mi"}});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": NAME, "labels": {"app": NAME}},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": NAME}},
            "template": {
                "metadata": {"labels": {"app": NAME}},
                "spec": {
                    "terminationGracePeriodSeconds": 5,
                    "containers": [
                        {
                            "name": "web", "image": IMAGE, "args": ["web", "/www", "8080"],
                            "ports": [{"name": "http", "containerPort": 8080}],
                            "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
                            "volumeMounts": mount, "resources": resources,
                        },
                        {
                            "name": "writer", "image": IMAGE, "args": ["write", "/www"],
                            "env": [field("POD_NAME", "metadata.name"), field("POD_IP", "status.podIP")],
                            "volumeMounts": mount, "resources": resources,
                        },
                    ],
                    "volumes": [{"name": "www", "emptyDir": {}}],
                },
            },
        },
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": NAME, "labels": {"app": NAME}},
        "spec": {
            "type": "NodePort",
            "selector": {"app": NAME},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "nodePort": NODE_PORT}],
        },
    })
}

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

async fn pods_ready(client: Client, progress: &Progress) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let config = watcher::Config::default().labels(&format!("app={NAME}"));
    let mut stream = std::pin::pin!(watcher(pods, config).default_backoff().touched_objects());
    let mut seen = std::collections::BTreeMap::new();
    progress.begin(&format!("pods ready: 0 of {REPLICAS}"));
    while let Some(pod) = stream.next().await {
        let Ok(pod) = pod else { continue };
        let name = pod.metadata.name.clone().unwrap_or_default();
        let is_ready = ready(&pod);
        if seen.insert(name.clone(), is_ready) != Some(true) && is_ready {
            progress.done(&format!("pod {name} is ready"));
        }
        let count = seen.values().filter(|ready| **ready).count();
        if count >= REPLICAS {
            return Ok(());
        }
        progress.begin(&format!("pods ready: {count} of {REPLICAS}"));
    }
    bail!("the watch of the demo's pods ended")
}

/// The page, as soon as somebody serves it: the proxy's rules follow the pods' readiness within milliseconds.
async fn answers(address: SocketAddr) -> String {
    loop {
        match get(address).await {
            Ok(page) if page.contains(" 200 ") => return page,
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn get(address: SocketAddr) -> std::io::Result<String> {
    let attempt = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await?;
        Ok(page)
    };
    tokio::time::timeout(Duration::from_secs(1), attempt).await?
}

async fn table(client: Client, cluster: SocketAddr, node: SocketAddr) -> Result<String> {
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let mut rows = vec![
        ["POD", "READY", "STATUS", "IP", "CONTAINERS"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for pod in pods.list(&ListParams::default().labels(&format!("app={NAME}"))).await? {
        let containers: Vec<String> = pod
            .spec
            .iter()
            .flat_map(|s| &s.containers)
            .map(|c| c.name.clone())
            .collect();
        let status = pod.status.unwrap_or_default();
        let statuses = status.container_statuses.unwrap_or_default();
        rows.push(vec![
            pod.metadata.name.unwrap_or_default(),
            format!("{}/{}", statuses.iter().filter(|c| c.ready).count(), containers.len()),
            status.phase.unwrap_or_default(),
            status.pod_ip.unwrap_or_default(),
            containers.join(", "),
        ]);
    }
    let mut text = columns(&rows);
    text.push('\n');
    text.push_str(&columns(&[
        ["SERVICE", "CLUSTER ADDRESS", "NODE ADDRESS"]
            .map(str::to_owned)
            .to_vec(),
        vec![NAME.to_owned(), cluster.to_string(), node.to_string()],
    ]));
    Ok(text)
}
