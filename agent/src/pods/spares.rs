//! Sandboxes made before there is a pod for them: what the kernel takes longest for, the namespaces, is there already. Each
//! costs the memory of an idle pod, so there are none unless the node is told to keep some. One that an agent before this
//! one left is the sandbox of an unknown pod, and removed.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use barepod_runtime::protocol::{Event, NamespaceMode, SandboxConfig};
use tokio::sync::mpsc;

use super::ops::{remove, sandbox};
use crate::drivers::monitor::Monitor;
use crate::drivers::network::chain;
use crate::files;
use crate::shared::{SharedRef, blocking, spawn};

/// Pods that come together are not kept waiting by the making of the next ones' sandboxes.
const REST: Duration = Duration::from_secs(1);

/// The spare sandboxes of a node.
#[derive(Debug, Default)]
pub struct Spares {
    kept: Mutex<VecDeque<Spare>>,
    filling: AtomicBool,
}

/// A sandbox for whatever pod comes.
#[derive(Debug)]
pub struct Spare {
    uid: String,
    monitor: Monitor,
    events: mpsc::Receiver<Event>,
    /// The network namespace.
    pub netns: Arc<OwnedFd>,
}

impl Spares {
    fn kept(&self) -> MutexGuard<'_, VecDeque<Spare>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one that fits, if there is any, and has another one made.
    pub fn take(&self, shared: &SharedRef, config: &SandboxConfig) -> Option<Spare> {
        if !fits(config) {
            return None;
        }
        loop {
            fill(shared);
            let spare = self.kept().pop_front()?;
            if !spare.events.is_closed() {
                return Some(spare);
            }
            spawn(spare.remove(Arc::clone(shared)));
        }
    }
}

/// Makes as many as the node is to keep, one after the other.
pub fn fill(shared: &SharedRef) {
    let spares = &shared.spares;
    if shared.config.spare_sandboxes == 0 || spares.filling.swap(true, Ordering::Relaxed) {
        return;
    }
    let shared = Arc::clone(shared);
    spawn(async move {
        let spares = &shared.spares;
        tokio::time::sleep(REST).await;
        let missing = || spares.kept().len() < shared.config.spare_sandboxes;
        while missing() {
            match make(&shared).await {
                Ok(spare) => spares.kept().push_back(spare),
                Err(error) => {
                    tracing::warn!(error, "no spare sandbox");
                    // The next pod has it tried again.
                    spares.filling.store(false, Ordering::Relaxed);
                    return;
                }
            }
        }
        spares.filling.store(false, Ordering::Relaxed);
        if missing() {
            fill(&shared);
        }
    });
}

async fn make(shared: &SharedRef) -> Result<Spare, String> {
    let uid = format!("spare-{}", files::random_id());
    let config = SandboxConfig {
        id: uid.clone(),
        name: format!("-/{uid}"),
        dir: shared.config.sandbox_dir(&uid),
        cgroup: shared.config.pod_cgroup(&uid),
        spare: true,
        ..SandboxConfig::default()
    };
    let made = async {
        let dir = config.dir.clone();
        let prepared = blocking(move || files::make_private_dir(&dir)).await;
        prepared.map_err(|error| format!("make its directory: {error}"))?;
        let beginning = shared.program.spawn(&config).await.map_err(|error| chain(&error))?;
        beginning.ready().await.map_err(|error| chain(&error))?;
        sandbox::connect(&config.dir).await
    };
    match made.await {
        Ok((monitor, events, Some(netns))) => Ok(Spare {
            uid,
            monitor,
            events,
            netns,
        }),
        other => {
            remove::kernel(shared, &uid, None, true).await;
            Err(other.err().unwrap_or_else(|| "it has no network namespace".to_owned()))
        }
    }
}

/// Whether the pod's namespaces are those that spare sandboxes have.
fn fits(config: &SandboxConfig) -> bool {
    let modes = [config.network, config.pid, config.ipc, config.uts];
    modes.iter().all(|mode| *mode == NamespaceMode::Pod) && config.sysctls.is_empty()
}

impl Spare {
    /// Makes it the sandbox of a pod; what cannot be made that is removed.
    pub async fn claim(
        self,
        shared: &SharedRef,
        config: &SandboxConfig,
    ) -> Result<(Monitor, mpsc::Receiver<Event>), String> {
        match self.monitor.claim(config.clone()).await {
            Ok(()) => Ok((self.monitor, self.events)),
            Err(error) => {
                let error = chain(&error);
                self.remove(Arc::clone(shared)).await;
                Err(error)
            }
        }
    }

    async fn remove(self, shared: SharedRef) {
        for error in remove::kernel(&shared, &self.uid, Some(self.monitor), true).await {
            tracing::warn!(sandbox = self.uid, error, "spare sandbox not removed");
        }
    }
}
