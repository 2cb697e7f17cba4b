//! A cluster for a test: engine, store in a temporary directory, controllers, and hollow nodes.

use barepod_client::types::ObjectMeta;
use barepod_client::{Client, DeleteOptions, Event, Patch, Read, Request, Resource, Selection, watch};
use barepod_control::access::Tokens;
use barepod_control::engine::Engine;
use barepod_control::inprocess::InProcess;
use barepod_controllers::Options;
use barepod_kinds::Settings;
use barepod_store::Embedded;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

const DEADLINE: Duration = Duration::from_secs(20);

pub struct Cluster {
    pub client: Client,
    engine: Arc<Engine>,
    options: Options,
    controllers: Controllers,
    tasks: JoinSet<()>,
    store: Arc<Embedded>,
    directory: PathBuf,
}

/// The objects of one kind by `NAMESPACE/NAME`.
pub type Objects = BTreeMap<String, Value>;

impl Cluster {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Options)) -> Self {
        // Shown with RUST_LOG when a test fails.
        let level = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok());
        let level: tracing::Level = level.unwrap_or(tracing::Level::ERROR);
        let _ = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_test_writer()
            .try_init();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("barepodtest-controllers-{}-{number}", std::process::id()));
        let store = Embedded::open(barepod_store::Options::new(&directory.join("store.redb"))).unwrap();
        let store = Arc::new(store);
        let engine = Arc::new(Engine::new(
            store.clone(),
            Settings::default(),
            Tokens::ephemeral().unwrap(),
        ));
        let mut options = Options::new("10.244.0.0/16".parse().unwrap());
        options.root_ca_pem = Some("PEM".to_owned());
        change(&mut options);
        let controllers = Controllers::start(&engine, &options);
        let cluster = Self {
            client: InProcess::new(engine.clone(), "admin").client(),
            engine,
            options,
            controllers,
            tasks: JoinSet::new(),
            store,
            directory,
        };
        for name in ["default", "kube-node-lease"] {
            cluster
                .post("/api/v1/namespaces", json!({"metadata": {"name": name}}))
                .await;
        }
        let accounts = |all: &Objects| all.contains_key("default/default");
        cluster
            .until("v1/ServiceAccount", "accounts of the namespaces", accounts)
            .await;
        cluster
    }

    /// Ends the controllers at once and starts new ones, which know nothing.
    pub async fn restart_controllers(&mut self) {
        self.controllers.end().await;
        // What they had handed to the store is written before this, and so is in what the new ones list.
        let mark = json!({"metadata": {"generateName": "after-"}});
        self.post("/api/v1/namespaces/default/configmaps", mark).await;
        self.controllers = Controllers::start(&self.engine, &self.options);
    }

    async fn send(&self, request: Request) -> Value {
        let shown = format!("{request:?}");
        let sent = self.client.read(request).await;
        sent.unwrap_or_else(|e| panic!("{shown}: {}", e.chain()))
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.send(Request::create(path, body.to_string().into_bytes())).await
    }

    pub async fn get(&self, path: &str) -> Value {
        self.send(Request::get(path)).await
    }

    pub async fn merge(&self, path: &str, body: Value) -> Value {
        self.send(Request::patch(path, Patch::Merge, &body)).await
    }

    pub async fn strategic(&self, path: &str, body: Value) -> Value {
        self.send(Request::patch(path, Patch::Strategic, &body)).await
    }

    pub async fn delete(&self, path: &str, options: DeleteOptions) -> Value {
        self.send(Request::delete(path, &options)).await
    }

    /// Waits by a watch until all objects of a kind, such as `apps/v1/ReplicaSet`, are as wanted.
    pub async fn until(&self, kind: &str, what: &str, wanted: impl Fn(&Objects) -> bool) -> Objects {
        let mut objects = Objects::new();
        let mut events = watch::<Whole>(self.client.clone(), Selection::all(resource(kind)));
        let mut listed = false;
        let wait = async {
            loop {
                match events.next().await.unwrap() {
                    Event::Init => objects.clear(),
                    Event::InitApply(object) | Event::Apply(object) => {
                        drop(objects.insert(name(&object), object.value))
                    }
                    Event::Delete(object) => drop(objects.remove(&name(&object))),
                    Event::InitDone => listed = true,
                }
                if listed && wanted(&objects) {
                    return;
                }
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, wait).await.is_ok();
        assert!(
            in_time,
            "{what}: not in time; there is {}",
            serde_json::to_string_pretty(&objects).unwrap()
        );
        objects
    }

    /// Adds a node that is ready and runs every pod it is given at once.
    pub async fn hollow_node(&mut self, name: &'static str, subnet: u8) {
        self.node(name).await;
        let client = self.client.clone();
        self.tasks.spawn(hollow_agent(client, name, subnet));
    }

    /// Adds a node that is ready but does nothing.
    pub async fn node(&self, name: &str) {
        self.post(
            "/api/v1/nodes",
            json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}}),
        )
        .await;
        self.report(name, "True").await;
        self.renew(name).await;
    }

    /// Posts the status of a node as its agent does.
    pub async fn report(&self, name: &str, ready: &str) {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let status = json!({"status": {
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "300"},
            "capacity": {"cpu": "4", "memory": "8Gi", "pods": "300"},
            "conditions": [{"type": "Ready", "status": ready, "reason": "KubeletReady", "message": "ready",
                "lastHeartbeatTime": now, "lastTransitionTime": now}],
        }});
        self.strategic(&format!("/api/v1/nodes/{name}/status"), status).await;
    }

    /// Writes the first Lease of a node.
    async fn renew(&self, name: &str) {
        let lease = json!({
            "metadata": {"name": name},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": "2026-01-01T00:00:00.000000Z"},
        });
        self.post("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", lease)
            .await;
    }

    /// Makes a Deployment with the given spec on top of the usual one.
    pub async fn deploy(&self, name: &str, replicas: i32, spec: Value) -> Value {
        let mut whole = json!({
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, "web:1"),
        });
        whole
            .as_object_mut()
            .unwrap()
            .extend(spec.as_object().cloned().unwrap_or_default());
        let body = json!({"metadata": {"name": name}, "spec": whole});
        self.post("/apis/apps/v1/namespaces/default/deployments", body).await
    }

    /// Waits until a Deployment is complete.
    pub async fn rolled_out(&self, name: &str, replicas: i64) -> Value {
        let key = format!("default/{name}");
        let complete = |all: &Objects| {
            let Some(d) = all.get(&key) else { return false };
            let number = |field: &str| d["status"][field].as_i64().unwrap_or(0);
            number("observedGeneration") == d["metadata"]["generation"].as_i64().unwrap_or(0)
                && ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"]
                    .iter()
                    .all(|field| number(field) == replicas)
        };
        self.until("apps/v1/Deployment", &format!("rollout of {name}"), complete)
            .await[&key]
            .clone()
    }

    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.controllers.end().await;
        self.store.close();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Also when a test failed.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Controllers at work.
struct Controllers {
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<()>,
}

impl Controllers {
    fn start(engine: &Arc<Engine>, options: &Options) -> Self {
        let client = InProcess::new(engine.clone(), "system:kube-controller-manager").client();
        let options = options.clone();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(async move {
            let stopped = async { stopped.await.unwrap_or(()) };
            barepod_controllers::run(client, options, stopped).await.unwrap();
        });
        let stop = Some(stop);
        Self { stop, ended }
    }

    /// Ends them in the middle of whatever they do, and waits until none of them does anything.
    async fn end(&mut self) {
        drop(self.stop.take());
        (&mut self.ended).await.unwrap();
    }
}

/// A pod template with one container.
pub fn template(app: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "web", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}]},
    })
}

/// Whether the condition of the type is True.
pub fn is(object: &Value, condition: &str, status: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|list| list.iter().any(|c| c["type"] == condition && c["status"] == status))
}

/// An object with everything in it.
struct Whole {
    metadata: ObjectMeta,
    value: Value,
}

impl Read for Whole {
    fn read(json: &str) -> serde_json::Result<Self> {
        let value: Value = serde_json::from_str(json)?;
        let metadata = serde_json::from_value(value["metadata"].clone())?;
        Ok(Self { metadata, value })
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

fn name(object: &Whole) -> String {
    format!("{}/{}", object.metadata.namespace(), object.metadata.name())
}

/// Of a kind such as `apps/v1/ReplicaSet`.
fn resource(kind: &str) -> Resource<'_> {
    let (api_version, kind) = kind.rsplit_once('/').unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let known = barepod_schema::resources()
        .iter()
        .find(|it| it.group == group && it.kind == kind);
    Resource {
        group,
        version,
        plural: &known.unwrap().plural,
        kind,
    }
}

/// Runs and ends pods at once, as far as the API can tell.
async fn hollow_agent(client: Client, node: &'static str, subnet: u8) {
    let selection = Selection::all(resource("v1/Pod")).fields(format!("spec.nodeName={node}"));
    let mut events = watch::<Whole>(client.clone(), selection);
    let mut next = 1;
    let mut work = JoinSet::new();
    while let Some(event) = events.next().await {
        while work.try_join_next().is_some() {}
        let (Event::InitApply(pod) | Event::Apply(pod)) = event else {
            continue;
        };
        let path = resource("v1/Pod").path(pod.metadata.namespace(), pod.metadata.name());
        let request = if pod.metadata.deletion_timestamp.is_some() {
            Request::delete(path, &DeleteOptions::default().grace_period(0))
        } else if pod.value["status"]["phase"] != "Running" {
            let ip = format!("10.244.{subnet}.{next}");
            next += 1;
            let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let status = json!({"status": {
                "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
            }});
            Request::patch(format!("{path}/status"), Patch::Strategic, &status)
        } else {
            continue;
        };
        let client = client.clone();
        work.spawn(async move {
            // The pod may be gone by now.
            let _ = client.send(request).await;
        });
    }
}
