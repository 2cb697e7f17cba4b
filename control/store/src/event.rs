use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::Object;

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// There was no object before.
    Added,
    /// An object was replaced.
    Modified,
    /// The object was removed.
    Deleted,
}

/// One change of one key.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The object after the change; its last state, with the revision of the removal, if it was removed.
    pub object: Arc<Object>,
    /// The object before the change.
    pub previous: Option<Arc<Object>>,
}

impl Event {
    /// The revision of the change.
    pub fn revision(&self) -> u64 {
        self.object.revision()
    }
}

/// An event on its way to watchers. All watchers share it, and the line that most of them send.
#[derive(Debug)]
pub struct Delivery {
    /// The event.
    pub event: Arc<Event>,
    line: OnceLock<Bytes>,
}

impl Delivery {
    pub(crate) fn new(event: Arc<Event>) -> Arc<Self> {
        Arc::new(Delivery {
            event,
            line: OnceLock::new(),
        })
    }

    /// The bytes that `make` gives for this event, made by the first watcher that asks and shared by the others.
    pub fn line(&self, make: impl FnOnce(&Event) -> Bytes) -> &Bytes {
        self.line.get_or_init(|| make(&self.event))
    }
}
