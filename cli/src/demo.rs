//! The demo application: a Deployment of two pods, each a web server and a sidecar that writes its page, and a Service.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use barepod_client::types::{ObjectMeta, PodCondition, Service};
use barepod_client::{Client, Event, Object, Patch, Request, Resource, Selection, api_struct, object, watch};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::install::inflate;
use crate::output::columns;
use crate::paths::Paths;
use crate::progress::Progress;

/// The static program that build.rs made of `demo/main.rs`.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/demo.z"));
const IMAGE: &str = "barepod.local/demo:1";
const NAME: &str = "demo";
const REPLICAS: usize = 2;
const NODE_PORT: u16 = 30080;

const DEPLOYMENTS: Resource<'static> = Resource {
    group: "apps",
    version: "v1",
    plural: "deployments",
    kind: "Deployment",
};

api_struct! {
    /// What the summary shows of a pod.
    #[derive(Deserialize)]
    struct Pod {
        metadata: ObjectMeta,
        spec: PodSpec,
        status: PodStatus,
    }
}

object!(Pod, "", "v1", "pods");

api_struct! {
    #[derive(Deserialize)]
    struct PodSpec {
        containers: Vec<Container>,
    }
}

api_struct! {
    #[derive(Deserialize)]
    struct Container {
        name: String,
    }
}

api_struct! {
    #[derive(Deserialize)]
    struct PodStatus {
        phase: String,
        #[serde(rename = "podIP")]
        pod_ip: String,
        conditions: Vec<PodCondition>,
        container_statuses: Vec<ContainerStatus>,
    }
}

api_struct! {
    #[derive(Deserialize)]
    struct ContainerStatus {
        ready: bool,
    }
}

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
    client
        .send(apply(DEPLOYMENTS, &deployment()))
        .await
        .context("apply the demo's Deployment")?;
    let service: Service = client
        .object(apply(Service::RESOURCE, &service()))
        .await
        .context("apply the demo's Service")?;
    progress.done("demo Deployment and Service are applied");
    let pods = tokio::time::timeout(limit, pods_ready(client, progress))
        .await
        .with_context(|| {
            format!(
                "the demo's pods are not ready after {} s; try: kubectl describe pods -l app={NAME}",
                limit.as_secs()
            )
        })??;
    let ip = service.spec.cluster_ip.context("the Service has no cluster IP")?;
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
        table: table(&pods, cluster_address, node_address),
        cluster_address,
        node_address,
    })
}

fn apply(resource: Resource<'_>, object: &Value) -> Request {
    Request::patch(resource.path("default", NAME), Patch::Apply, object)
        .manager("barepod-up")
        .query("force", "true")
}

fn import(paths: &Paths) -> Result<()> {
    use barepod_images::build::{ImageBuilder, Layer};
    let program = inflate(PROGRAM).context("read the demo program inside this file")?;
    let store = barepod_images::ImageStore::open(&paths.images())?;
    ImageBuilder::new(IMAGE)?
        .layer(&Layer::new().file("demo", 0o755, &program))
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
    let conditions = &pod.status.conditions;
    pod.metadata.deletion_timestamp.is_none() && conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Waits until enough pods are ready; the result are all there are.
async fn pods_ready(client: Client, progress: &Progress) -> Result<Vec<Pod>> {
    let selection = Selection::within(Pod::RESOURCE, "default").labels(format!("app={NAME}"));
    let mut events = watch::<Pod>(client, selection);
    let mut seen: BTreeMap<String, Pod> = BTreeMap::new();
    progress.begin(&format!("pods ready: 0 of {REPLICAS}"));
    while let Some(event) = events.next().await {
        match event {
            Event::Apply(pod) | Event::InitApply(pod) => {
                let (name, is_ready) = (pod.metadata.name().to_owned(), ready(&pod));
                let before = seen.insert(name.clone(), pod);
                if is_ready && !before.is_some_and(|pod| ready(&pod)) {
                    progress.done(&format!("pod {name} is ready"));
                }
            }
            Event::Delete(pod) => drop(seen.remove(pod.metadata.name())),
            Event::Init => seen.clear(),
            Event::InitDone => {}
        }
        let count = seen.values().filter(|pod| ready(pod)).count();
        if count >= REPLICAS {
            return Ok(seen.into_values().collect());
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

fn table(pods: &[Pod], cluster: SocketAddr, node: SocketAddr) -> String {
    let mut rows = vec![
        ["POD", "READY", "STATUS", "IP", "CONTAINERS"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for pod in pods {
        let containers: Vec<&str> = pod.spec.containers.iter().map(|c| c.name.as_str()).collect();
        let ready = pod.status.container_statuses.iter().filter(|c| c.ready).count();
        rows.push(vec![
            pod.metadata.name().to_owned(),
            format!("{ready}/{}", containers.len()),
            pod.status.phase.clone(),
            pod.status.pod_ip.clone(),
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
    text
}
