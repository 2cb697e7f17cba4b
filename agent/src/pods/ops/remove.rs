//! Removes what a pod has on the node. Every step runs whatever fails, and may be run again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::drivers::monitor::Monitor;
use crate::drivers::network::chain;
use crate::fault;
use crate::files;
use crate::laps::Laps;
use crate::pods::backoff::Retry;
use crate::pods::store::Store;
use crate::shared::{SharedRef, blocking, off_loop};

/// How often removal is tried before the pod is let go; what is left then is looked for when the agent starts.
const TRIES: u32 = 5;
/// How long a monitor may take to end everything.
const STOP: Duration = Duration::from_secs(30);

/// What is to be removed.
pub struct Job {
    /// The agent's own.
    pub shared: SharedRef,
    /// The pod's UID.
    pub uid: String,
    /// The pod's directory.
    pub store: Arc<Store>,
    /// Its monitor, if it lives.
    pub monitor: Option<Monitor>,
    /// It has no network of its own.
    pub host_network: bool,
    /// Its logs are wanted no more.
    pub all: bool,
}

/// Removes sandbox, network, volumes and the pod's files. Ends in any case.
pub async fn remove(job: Job) {
    let mut retry = Retry::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut monitor = job.monitor.clone();
    for _ in 0..TRIES {
        let laps = Laps::begin(&job.uid);
        let mut errors = kernel(&job.shared, &job.uid, monitor.take(), job.host_network).await;
        laps.done("kernel removed");
        errors.extend(disk(&job).await.err());
        laps.done("files removed");
        if errors.is_empty() {
            fault::point("agent.pod-removed");
            return;
        }
        tracing::warn!(pod = job.uid, errors = errors.join("; "), "pod not removed yet");
        tokio::time::sleep(retry.step()).await;
    }
    tracing::error!(
        pod = job.uid,
        "pod not wholly removed; the rest is tried again when the agent starts"
    );
}

/// Ends processes and removes cgroups, records and network.
pub async fn kernel(shared: &SharedRef, uid: &str, monitor: Option<Monitor>, host_network: bool) -> Vec<String> {
    let network = shared.network.borrow().clone().filter(|_| !host_network);
    let disconnect = async {
        match network {
            Some(network) => network
                .remove(uid)
                .await
                .map_err(|error| format!("remove from the network: {error}")),
            None => Ok(()),
        }
    };
    let (mut errors, disconnected) = tokio::join!(sandbox(shared, uid, monitor), disconnect);
    errors.extend(disconnected.err());
    errors
}

async fn sandbox(shared: &SharedRef, uid: &str, monitor: Option<Monitor>) -> Vec<String> {
    if let Some(monitor) = monitor {
        match tokio::time::timeout(STOP, monitor.stop()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(pod = uid, error = chain(&error), "monitor did not stop the sandbox"),
            Err(_) => tracing::warn!(pod = uid, "monitor takes too long to stop the sandbox"),
        }
    }
    let dir = shared.config.sandbox_dir(uid);
    blocking(move || {
        let mut errors: Vec<String> = match barepod_runtime::records::load(&dir) {
            Ok(record) => barepod_runtime::records::cleanup(&record)
                .iter()
                .map(|error| chain(error))
                .collect(),
            // Without a record nothing was made.
            Err(_) => Vec::new(),
        };
        if errors.is_empty()
            && let Err(error) = files::remove_tree(&dir)
        {
            errors.push(format!("remove {}: {error}", dir.display()));
        }
        errors
    })
    .await
}

/// Takes the pod's files out of the way. Removing them one by one is done afterwards: nobody waits for that.
async fn disk(job: &Job) -> Result<(), String> {
    let (store, all, trash) = (Arc::clone(&job.store), job.all, job.shared.config.trash());
    let moved = blocking(move || {
        let dir = store.dir();
        if all {
            store.close();
        }
        let places = if all {
            vec![dir.to_owned()]
        } else {
            ["volumes", "subpaths", "containers"].map(|it| dir.join(it)).to_vec()
        };
        let mut moved = Vec::new();
        for place in places {
            let result = files::move_away(&place, &trash);
            moved.extend(result.map_err(|error| format!("remove {}: {error}", place.display()))?);
        }
        Ok::<_, String>(moved)
    })
    .await?;
    if !moved.is_empty() {
        off_loop(Box::new(move || moved.iter().for_each(|it| empty(it))));
    }
    Ok(())
}

/// Removes what was moved away; what cannot be removed is tried again when the agent starts. Blocking.
pub fn empty(trash: &Path) {
    if let Err(error) = files::remove_tree(trash) {
        tracing::warn!(dir = %trash.display(), %error, "files of a former pod not removed");
    }
}
