//! Brings the agent up: listener, drivers, tasks; and down again.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use barepod_client::{Client, Kubeconfig};
use barepod_images::ImageStore;
use barepod_netplugin::Ipv4Net;
use futures_util::future::{BoxFuture, LocalBoxFuture};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::api::NodeApi;
use crate::config::Config;
use crate::drivers::images::Images;
use crate::drivers::monitor::Program;
use crate::drivers::network;
use crate::events::Recorder;
use crate::objects::Cache;
use crate::pods::backoff::Retry;
use crate::pods::manager;
use crate::pods::registry::Registry;
use crate::pods::spares::Spares;
use crate::shared::{Shared, blocking};
use crate::slots::Slots;
use crate::{api, files, image_watch, node, proxy, static_pods, sys};

/// File below the state directory that remembers the node's pod CIDR, so that pods can start without the API.
const POD_CIDR: &str = "pod-cidr";
/// Why the node takes no pods yet.
const NO_NETWORK: &str = "the pod network is not ready: no pod CIDR has been assigned to the node yet";
/// Directory below the run directory with the records of the pod network, none of which means anything after a reboot.
const NETWORK_DIR: &str = "network";
/// How long the locks of an agent that was killed may outlive its process id's.
const LAST_MOMENTS: Duration = Duration::from_millis(500);
/// How long tasks may take to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// The runtime the agent is made for: one thread, because it waits more than it works and each further one costs
/// memory; file operations and image look-ups go to threads that come and go.
///
/// # Errors
/// The kernel gives no event queue.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    sys::one_heap();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(64)
        .thread_keep_alive(Duration::from_secs(2))
        .build()
}

/// Runs the agent until `shutdown` resolves. The caller sees to it that it is the only one with this run
/// directory. The pods go on without it. `ready` is called once, when nothing can keep it from starting any more.
///
/// # Errors
/// What keeps it from starting: another agent that has the node's network or state directory, a busy port, directories, certificates or credentials that cannot be
/// used. Once it runs, nothing ends it but `shutdown`.
pub fn run<'a>(
    config: Config,
    ready: Box<dyn FnOnce() + 'a>,
    shutdown: LocalBoxFuture<'a, ()>,
) -> LocalBoxFuture<'a, Result<()>> {
    // Boxed here, so that the whole agent is compiled with this crate and not with the program.
    Box::pin(run_all(config, ready, shutdown))
}

async fn run_all(config: Config, ready: Box<dyn FnOnce() + '_>, mut shutdown: LocalBoxFuture<'_, ()>) -> Result<()> {
    for dir in [
        config.state_dir.join("pods"),
        config.run_dir.join("pods"),
        config.state_dir.join("images"),
    ] {
        files::make_private_dir(&dir).with_context(|| format!("make directory {}", dir.display()))?;
    }
    let _owned = alone(&config).await?;
    let listener = listen(config.listen).await?;
    let tls = Arc::new(api::server_config(&config.tls)?);
    let program = Program::open(&config.runtime).context("open the container runtime")?;
    let image_dir = config.state_dir.join("images");
    let store = {
        let dir = image_dir.clone();
        blocking(move || ImageStore::open(&dir))
            .await
            .with_context(|| format!("open image store {}", image_dir.display()))?
    };
    let images = Images::new(store);
    let client = Kubeconfig::read(&config.kubeconfig).and_then(|it| Client::of(&it))?;
    let machine = {
        let config = config.clone();
        blocking(move || node::Machine::detect(&config)).await
    };
    tracing::info!(node = config.node_name, address = %machine.host.ip, listen = %config.listen, "agent starts");
    ready();

    let (stop, stopped) = watch::channel(false);
    let (network_opened, network) = watch::channel(None);
    let (image_changed, image_changes) = watch::channel(());
    let (cidr_assigned, pod_cidr) = watch::channel(None);
    let (told, not_ready) = watch::channel(Some(NO_NETWORK.to_owned()));
    let (node_registered, registered) = watch::channel(None);
    let (manifests_read, manifests) = mpsc::channel(4);
    let (known, pods_known) = oneshot::channel();
    let (proxy, services, routes) = proxy::channel();
    let slots = Slots::default();
    let config = Arc::new(config);
    let shared = Arc::new(Shared {
        config: (*config).clone(),
        images: images.clone(),
        image_changes: image_changes.clone(),
        objects: Cache::new(client.clone(), slots.clone()),
        slots,
        events: Recorder::start(client.clone(), &config.node_name),
        network: network.clone(),
        services,
        routes,
        registry: Registry::default(),
        program,
        spares: Spares::default(),
        host: machine.host.clone(),
        client: client.clone(),
    });

    // What ran before is taken over with its network, before anything new begins.
    let mut opener = Opener {
        config: Arc::clone(&config),
        opened: network_opened,
        told,
    };
    let remembered = remembered_cidr(&config).await;
    if let Some(cidr) = remembered {
        opener.open(cidr).await;
    }
    let mut tasks = JoinSet::new();
    let reporter = node::Reporter {
        config: Arc::clone(&config),
        client: client.clone(),
        machine,
        images,
        image_changes,
        not_ready,
        registered: node_registered,
        pod_cidr: cidr_assigned,
    };
    let node_api: Arc<dyn barepod_streams::Node> = Arc::new(NodeApi {
        registry: shared.registry.clone(),
        run_dir: config.run_dir.clone(),
    });
    let (node_name, manifests_dir) = (config.node_name.clone(), config.static_pods.clone());
    let all: [BoxFuture<'static, ()>; 7] = [
        Box::pin(opener.run(pod_cidr, remembered, stopped.clone())),
        Box::pin(node::run(reporter, stopped.clone())),
        Box::pin(image_watch::run(image_dir, image_changed, stopped.clone())),
        Box::pin(static_pods::run(
            manifests_dir,
            node_name.clone(),
            manifests_read,
            stopped.clone(),
        )),
        Box::pin(proxy::run(proxy, client, node_name, network, stopped.clone())),
        Box::pin(serve(listener, tls, node_api, pods_known, stopped.clone())),
        Box::pin(manager::run(shared, manifests, registered, known, stopped)),
    ];
    all.into_iter().for_each(|task| drop(tasks.spawn(task)));

    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = tasks.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a task of the agent failed");
                bail!("a task of the agent failed: {error}");
            },
        }
    }
    tracing::info!("agent ends; pods go on");
    stop.send_replace(true);
    let _ = tokio::time::timeout(FAREWELL, async { while tasks.join_next().await.is_some() {} }).await;
    Ok(())
}

/// Two agents would take each other's pods for rests of former ones. What is returned holds the state directory.
async fn alone(config: &Config) -> Result<Flock<File>> {
    let network = config.run_dir.join(NETWORK_DIR);
    let pods = config.state_dir.join("pods");
    // An agent that was killed a moment ago may still have its locks.
    let asked = tokio::time::Instant::now();
    loop {
        let (bridge, network, pods) = (config.bridge.clone(), network.clone(), pods.clone());
        match blocking(move || take(&bridge, &network, &pods)).await? {
            Ok(owned) => return Ok(owned),
            Err(_) if asked.elapsed() < LAST_MOMENTS => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(theirs) => bail!(
                "another agent already has {}: stop it first, or give this one directories and a network namespace of its own",
                theirs.display()
            ),
        }
    }
}

/// Takes the state directory's pods; `Err` is what another agent has.
fn take(bridge: &str, network: &Path, pods: &Path) -> Result<Result<Flock<File>, PathBuf>> {
    match barepod_netplugin::unowned(bridge, network) {
        Err(barepod_netplugin::Error::Locked(theirs)) => return Ok(Err(theirs)),
        other => other.context("look for another agent")?,
    }
    let lock = |dir| Flock::lock(dir, FlockArg::LockExclusiveNonblock);
    match File::open(pods).map(lock) {
        Ok(Ok(owned)) => Ok(Ok(owned)),
        Ok(Err((_, Errno::EWOULDBLOCK))) => Ok(Err(pods.to_owned())),
        Ok(Err((_, errno))) => Err(errno).with_context(|| format!("lock {}", pods.display())),
        Err(error) => Err(error).with_context(|| format!("open {}", pods.display())),
    }
}

async fn listen(at: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(at).await.with_context(|| {
        format!("listen on {at} for the node API; if another program has the port, stop it or choose another one")
    })
}

async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    node: Arc<dyn barepod_streams::Node>,
    pods_known: oneshot::Receiver<()>,
    mut stopped: watch::Receiver<bool>,
) {
    // Until then connections wait: nobody is told that there is no such pod while it is being taken over.
    tokio::select! {
        () = until(&mut stopped) => return,
        Ok(()) = pods_known => {}
    }
    let shutdown = async move {
        let _ = stopped.wait_for(|it| *it).await;
    };
    if let Err(error) = barepod_streams::serve(listener, tls, node, shutdown).await {
        tracing::error!(
            error = network::chain(&error),
            "the node API is not served any more; start the agent again"
        );
    }
}

/// Waits for the signal, holding nothing of it.
async fn until(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|it| *it).await;
}

async fn remembered_cidr(config: &Config) -> Option<Ipv4Net> {
    let path = config.state_dir.join(POD_CIDR);
    blocking(move || std::fs::read_to_string(path))
        .await
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Opens the network as soon as the node's share of the pod addresses is known.
struct Opener {
    config: Arc<Config>,
    opened: watch::Sender<Option<network::Handle>>,
    told: watch::Sender<Option<String>>,
}

impl Opener {
    async fn open(&mut self, pod_cidr: Ipv4Net) -> bool {
        let network = barepod_netplugin::Config {
            bridge: self.config.bridge.clone(),
            pod_cidr,
            cluster_cidr: self.config.cluster_cidr,
            service_cidr: self.config.service_cidr,
            state_dir: self.config.run_dir.join(NETWORK_DIR),
            mtu: None,
        };
        match network::open(network).await {
            Ok(handle) => {
                tracing::info!(%pod_cidr, "pod network ready");
                self.opened.send_replace(Some(handle));
                self.told.send_replace(None);
                true
            }
            Err(error) => {
                tracing::error!(%pod_cidr, %error, "pod network not made; it is tried again");
                self.told
                    .send_replace(Some(format!("the pod network is not ready: {error}")));
                false
            }
        }
    }

    async fn run(
        mut self,
        mut assigned: watch::Receiver<Option<String>>,
        remembered: Option<Ipv4Net>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut retry = Retry::new(Duration::from_millis(500), Duration::from_secs(30));
        let mut wanted = remembered;
        loop {
            let missing = self.opened.borrow().is_none();
            let delay = async {
                match wanted.filter(|_| missing) {
                    Some(_) => tokio::time::sleep(retry.step()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = until(&mut stopped) => return,
                Ok(()) = assigned.changed() => {
                    let text = assigned.borrow_and_update().clone().unwrap_or_default();
                    let cidr = match text.parse::<Ipv4Net>() {
                        Ok(cidr) => cidr,
                        Err(error) => {
                            tracing::error!(cidr = text, %error, "the node's pod CIDR cannot be used");
                            self.told.send_replace(Some(format!("the node's pod CIDR {text:?} cannot be used: {error}")));
                            continue;
                        }
                    };
                    if remembered.is_some_and(|it| it != cidr) && self.opened.borrow().is_some() {
                        tracing::error!(%cidr, ?remembered, "the node has another pod CIDR now; reset the node to use it");
                        continue;
                    }
                    self.remember(cidr).await;
                    wanted = Some(cidr);
                    if self.opened.borrow().is_none() {
                        self.open(cidr).await;
                    }
                }
                () = delay => if let Some(cidr) = wanted {
                    self.open(cidr).await;
                }
            }
        }
    }

    async fn remember(&self, cidr: Ipv4Net) {
        let path = self.config.state_dir.join(POD_CIDR);
        if let Err(error) = blocking(move || files::write_atomic(&path, cidr.to_string().as_bytes(), 0o644)).await {
            tracing::warn!(%error, "pod CIDR not remembered; without the API pods cannot start");
        }
    }
}
