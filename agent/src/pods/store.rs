//! What of a pod survives the agent, in small files of the pod's directory, written before what they describe is used.
//!
//! ```text
//! <pod dir>/pod.json                       the object, as last seen
//! <pod dir>/state.json                     [`Stored`]
//! <pod dir>/etc/{hosts,hostname,resolv.conf}
//! <pod dir>/volumes/<name>/
//! <pod dir>/subpaths/<container>/<mount>   bind mounts of sub-paths
//! <pod dir>/containers/<id>/{upper,work,termination-log,run.json}
//! <pod dir>/logs/<container>/<attempt>.log
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use barepod_client::Read;
use barepod_client::types::Time;
use oci_spec::runtime::Process;
use serde::{Deserialize, Serialize};

use super::observed::{Failure, Observed, Seen, State, Termination};
use super::shape;
use crate::files;
use crate::kinds::Pod;

/// What is remembered of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stored {
    /// The kernel's boot; whatever ran in another one is gone.
    pub boot_id: String,
    /// The pod comes from a manifest on the node.
    pub from_manifest: bool,
    /// When the pod was first seen here.
    pub start_time: Option<Time>,
    /// Its address.
    pub ip: Option<Ipv4Addr>,
    /// Why it failed as a whole.
    pub failure: Option<Failure>,
    /// Its containers.
    pub containers: BTreeMap<String, StoredContainer>,
}

/// What is remembered of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredContainer {
    /// Id of the current attempt.
    pub id: Option<String>,
    /// The current attempt was seen running.
    pub ran: bool,
    /// How often it was started again.
    pub restarts: u32,
    /// The image of the specification it was started from.
    pub spec_image: String,
    /// The image's full name.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// Its hook is done.
    pub hook_done: bool,
    /// Its startup probe succeeded.
    pub started: bool,
    /// It was ready.
    pub ready: bool,
    /// How the current attempt ended.
    pub end: Option<Termination>,
    /// How the attempt before ended.
    pub last: Option<Termination>,
}

/// What is remembered of a running container, for probes, hooks, exec and its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// What runs in it.
    pub process: Arc<Process>,
    /// The image's full name.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// What asks it to end, as the image says.
    pub stop_signal: Option<String>,
}

/// The names and ids of the images that pods of this node have, running or about to run. Needs no agent.
///
/// # Errors
/// A pod's directory cannot be read.
pub fn images_in_use(state_dir: &Path) -> io::Result<Vec<String>> {
    let pods = match std::fs::read_dir(state_dir.join("pods")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        pods => pods?,
    };
    let mut images = BTreeSet::new();
    for dir in pods {
        match Store::new(dir?.path()).read() {
            Ok((pod, stored)) => {
                images.extend(shape::containers(&pod).filter_map(|(_, it)| it.image.clone()));
                images.extend(stored.containers.into_values().map(|it| it.image_id));
            }
            // It is being made, or removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    // Of names that are none there is no image.
    images.retain(|it| it.starts_with("sha256:") || barepod_images::Reference::parse(it).is_ok());
    Ok(images.into_iter().collect())
}

impl Stored {
    /// Of what is observed now.
    pub fn of(seen: &Observed, boot_id: &str, from_manifest: bool) -> Self {
        Self {
            boot_id: boot_id.to_owned(),
            from_manifest,
            start_time: seen.start_time.clone(),
            ip: seen.ip,
            failure: seen.failure.clone(),
            containers: seen
                .containers
                .iter()
                .map(|(name, it)| (name.clone(), StoredContainer::of(it)))
                .collect(),
        }
    }
}

impl StoredContainer {
    fn of(it: &Seen) -> Self {
        Self {
            id: (it.state != State::Absent).then(|| it.id.clone()).flatten(),
            ran: !matches!(it.state, State::Absent | State::Starting),
            restarts: it.restarts,
            spec_image: it.spec_image.clone(),
            image: it.image.clone(),
            image_id: it.image_id.clone(),
            hook_done: it.hook_done,
            started: it.started,
            ready: it.ready,
            end: it.end().cloned(),
            last: it.last.clone(),
        }
    }

    /// What does not depend on whether its process still lives.
    pub fn to_seen(&self) -> Seen {
        Seen {
            restarts: self.restarts,
            spec_image: self.spec_image.clone(),
            image: self.image.clone(),
            image_id: self.image_id.clone(),
            last: self.last.clone(),
            ..Seen::default()
        }
    }
}

/// One pod's directory.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    written: Mutex<Written>,
}

/// What is on disk.
#[derive(Debug, Default)]
struct Written {
    version: u64,
    closed: bool,
}

impl Store {
    /// In that directory, which need not exist.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            written: Mutex::default(),
        }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing is written: the directory is about to go, and a late write would bring it back. Waits for
    /// a write under way. Blocking.
    pub fn close(&self) {
        self.written().closed = true;
    }

    /// Writes the state; an older one that comes late is left out. Blocking.
    pub fn write_state(&self, version: u64, state: &Stored) -> io::Result<()> {
        let text = serde_json::to_vec(state)?;
        let mut written = self.written();
        if written.closed || version <= written.version {
            return Ok(());
        }
        files::write_atomic(&self.dir.join("state.json"), &text, 0o600)?;
        written.version = version;
        Ok(())
    }

    /// Writes the object, making the directory. Blocking.
    pub fn write_pod(&self, pod: &Pod) -> io::Result<()> {
        let written = self.written();
        if written.closed {
            return Ok(());
        }
        files::make_private_dir(&self.dir)?;
        files::write_atomic(&self.dir.join("pod.json"), pod.text.as_str().as_bytes(), 0o600)
    }

    /// Reads both; without a readable state, an empty one. Blocking.
    pub fn read(&self) -> io::Result<(Pod, Stored)> {
        let pod = Pod::read(&std::fs::read_to_string(self.dir.join("pod.json"))?)?;
        let state = std::fs::read(self.dir.join("state.json"))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        Ok((pod, state.unwrap_or_default()))
    }

    /// Writes what runs in a container. Blocking.
    pub fn write_run(&self, id: &str, run: &RunRecord) -> io::Result<()> {
        files::write_atomic(
            &self.container_dir(id).join("run.json"),
            &serde_json::to_vec(run)?,
            0o600,
        )
    }

    /// Reads what runs in a container. Blocking.
    pub fn read_run(&self, id: &str) -> io::Result<RunRecord> {
        Ok(serde_json::from_slice(&std::fs::read(
            self.container_dir(id).join("run.json"),
        )?)?)
    }

    /// Where a container's attempt has its writable files.
    pub fn container_dir(&self, id: &str) -> PathBuf {
        self.dir.join("containers").join(id)
    }

    /// The log of a container's attempt.
    pub fn log(&self, container: &str, attempt: u32) -> PathBuf {
        self.dir.join("logs").join(container).join(format!("{attempt}.log"))
    }

    /// A file every container of the pod sees in `/etc`.
    pub fn etc(&self, name: &str) -> PathBuf {
        self.dir.join("etc").join(name)
    }

    /// Where a container's sub-paths are bound.
    pub fn subpaths(&self, container: &str) -> PathBuf {
        self.dir.join("subpaths").join(container)
    }
}

/// The kernel's boot.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::scratch;

    #[test]
    fn late_writes_do_not_undo_newer_ones() {
        let dir = scratch("store");
        let store = Store::new(dir.path().join("uid"));
        store.write_pod(&Pod::default()).unwrap();
        let state = |boot: &str| Stored {
            boot_id: boot.into(),
            ..Stored::default()
        };
        store.write_state(2, &state("two")).unwrap();
        store.write_state(1, &state("one")).unwrap();
        assert_eq!(store.read().unwrap().1.boot_id, "two");
        store.write_state(3, &state("three")).unwrap();
        assert_eq!(store.read().unwrap().1.boot_id, "three");
    }

    #[test]
    fn closed_store_does_not_bring_its_directory_back() {
        let dir = scratch("store");
        let store = Store::new(dir.path().join("uid"));
        store.close();
        store.write_pod(&Pod::default()).unwrap();
        store.write_state(1, &Stored::default()).unwrap();
        assert!(!store.dir().exists());
    }

    #[test]
    fn unreadable_state_is_an_empty_one() {
        let dir = scratch("store");
        let store = Store::new(dir.path().to_owned());
        assert!(store.read().is_err());
        store.write_pod(&Pod::default()).unwrap();
        std::fs::write(dir.path().join("state.json"), "{half").unwrap();
        assert_eq!(store.read().unwrap().1, Stored::default());
    }
}
