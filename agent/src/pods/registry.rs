//! What the node API may see of the pods: a snapshot each, replaced by the pod's worker.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use oci_spec::runtime::Process;
use tokio::sync::watch;

use super::shape;
use crate::drivers::monitor::Monitor;
use crate::kinds::{Pod, PodStatus};

/// One pod.
#[derive(Debug, Clone)]
pub struct View {
    /// Its object.
    pub pod: Arc<Pod>,
    /// Its status, as this node sees it.
    pub status: Option<Arc<PodStatus>>,
    /// Its monitor, while the sandbox lives.
    pub monitor: Option<Monitor>,
    /// Its network namespace, unless that is the node's.
    pub netns: Option<Arc<OwnedFd>>,
    /// Its containers by name.
    pub containers: BTreeMap<String, ContainerView>,
}

/// One container.
#[derive(Debug, Clone)]
pub struct ContainerView {
    /// Id of the current attempt.
    pub id: Option<String>,
    /// What runs in it, while it runs.
    pub process: Option<Arc<Process>>,
    /// The current attempt's log; none before the first start.
    pub log: Option<PathBuf>,
    /// The log of the attempt before.
    pub previous_log: Option<PathBuf>,
    /// Becomes true when the current attempt has ended.
    pub finished: watch::Receiver<bool>,
}

/// Every pod of the node.
#[derive(Debug, Clone, Default)]
pub struct Registry(Arc<RwLock<HashMap<String, Arc<View>>>>);

impl Registry {
    /// Replaces a pod's snapshot.
    pub fn set(&self, uid: &str, view: View) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(uid.to_owned(), Arc::new(view));
    }

    /// The pod is gone.
    pub fn remove(&self, uid: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    /// The pod of that name; of several, the one that is not being deleted.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<View>> {
        let views = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let named = views
            .values()
            .filter(|it| shape::namespace(&it.pod) == namespace && shape::name(&it.pod) == name);
        named
            .min_by_key(|it| it.pod.metadata.deletion_timestamp.is_some())
            .cloned()
    }

    /// Every pod.
    pub fn all(&self) -> Vec<Arc<View>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }
}
