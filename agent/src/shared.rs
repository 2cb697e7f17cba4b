//! What every task of the agent has in common.

use std::net::Ipv4Addr;
use std::sync::Arc;

use barepod_client::Client;
use barepod_netplugin::Attachment;
use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::drivers::images::Images;
use crate::drivers::monitor::Program;
use crate::drivers::network;
use crate::events::Recorder;
use crate::objects::Cache;
use crate::pods::registry::Registry;
use crate::pods::spares::Spares;
use crate::proxy::{Routes, Services};
use crate::slots::Slots;
use crate::spec::fields::Facts;

/// Handed to every worker.
pub struct Shared {
    /// The agent's configuration.
    pub config: Config,
    /// The API.
    pub client: Client,
    /// Turns of requests to it.
    pub slots: Slots,
    /// The image store.
    pub images: Images,
    /// Changes when an image comes or goes.
    pub image_changes: watch::Receiver<()>,
    /// ConfigMaps and Secrets.
    pub objects: Cache,
    /// Events for users.
    pub events: Recorder,
    /// The pod network, once the node knows its addresses.
    pub network: watch::Receiver<Option<network::Handle>>,
    /// Services, for environment variables.
    pub services: Services,
    /// Which pods the node's proxy sends traffic to.
    pub routes: Routes,
    /// What the node API shows.
    pub registry: Registry,
    /// The program that makes sandboxes.
    pub program: Program,
    /// Sandboxes for pods to come.
    pub spares: Spares,
    /// The machine.
    pub host: Host,
}

/// The machine, as far as pods see it.
#[derive(Debug, Clone)]
pub struct Host {
    /// The node's address.
    pub ip: Ipv4Addr,
    /// CPU for pods, in thousandths.
    pub cpu_milli: i64,
    /// Memory for pods, in bytes.
    pub memory: i64,
    /// Disk for pods, in bytes.
    pub storage: i64,
    /// The least `oom_score_adj` that may be set.
    pub least_oom_score_adj: i32,
    /// The kernel's boot.
    pub boot_id: String,
    /// Which cgroup controllers there are.
    pub controllers: Controllers,
}

/// The cgroup controllers without which what nobody asked for is left out.
#[derive(Debug, Clone, Copy)]
pub struct Controllers {
    /// `cpu`.
    pub cpu: bool,
    /// `pids`.
    pub pids: bool,
}

impl Shared {
    /// What a pod with that address may learn about its place.
    pub fn facts(&self, pod_ip: Option<Ipv4Addr>) -> Facts {
        Facts {
            pod_ip,
            host_ip: Some(self.host.ip),
            node_name: self.config.node_name.clone(),
            allocatable_cpu_milli: self.host.cpu_milli,
            allocatable_memory: self.host.memory,
            allocatable_storage: self.host.storage,
        }
    }

    /// The address of each connected pod, as far as the network is there.
    pub async fn attachments(&self) -> Vec<Attachment> {
        let handle = self.network.borrow().clone();
        match handle {
            Some(handle) => handle.attachments().await.unwrap_or_default(),
            None => Vec::new(),
        }
    }
}

/// Runs file operations off the event loop.
pub async fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (answer, answered) = oneshot::channel();
    let ended = off_loop(Box::new(move || {
        // Nobody may wait for the value any more.
        let _ = answer.send(f());
    }));
    match answered.await {
        Ok(value) => value,
        Err(_) => match ended.await {
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Blocking tasks are cancelled only while the runtime shuts down, when nobody waits for the value.
            _ => std::future::pending().await,
        },
    }
}

// What the runtime has around a task is large, and in the program once for every type of task: there is one of each.

/// Starts a file operation that nobody waits for.
pub fn off_loop(job: Box<dyn FnOnce() + Send>) -> JoinHandle<()> {
    tokio::task::spawn_blocking(job)
}

/// Starts a task.
pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let task: BoxFuture<'static, ()> = Box::pin(task);
    tokio::spawn(task)
}

/// For sharing with tasks.
pub type SharedRef = Arc<Shared>;
