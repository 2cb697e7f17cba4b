//! What the work queues count, for whoever wants to show it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::sync::lock;

/// The work queues by the names of their controllers.
#[derive(Clone, Debug, Default)]
pub struct Queues(Arc<Mutex<BTreeMap<&'static str, Arc<QueueNumbers>>>>);

impl Queues {
    /// The numbers of a controller's queue. Queues of the same name are counted together.
    pub(crate) fn named(&self, name: &'static str) -> Arc<QueueNumbers> {
        lock(&self.0).entry(name).or_default().clone()
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, Arc<QueueNumbers>)> {
        lock(&self.0).clone().into_iter()
    }
}

/// What a work queue counts.
#[derive(Debug, Default)]
pub struct QueueNumbers {
    pub(crate) adds: AtomicU64,
    pub(crate) depth: AtomicU64,
    pub(crate) retries: AtomicU64,
}

impl QueueNumbers {
    /// Keys that were put in.
    pub fn adds(&self) -> u64 {
        self.adds.load(Ordering::Relaxed)
    }

    /// Keys that wait.
    pub fn depth(&self) -> u64 {
        self.depth.load(Ordering::Relaxed)
    }

    /// Keys that were put back because the work failed.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }
}
