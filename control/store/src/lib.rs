//! The store of the control service: every object by key, at a revision, durable once acknowledged.
//!
//! Every backend keeps the current objects in memory in key order, so reads ([`Store::get`], [`Store::range`]) never
//! block and share the stored bytes with lists and watches. Writes are asynchronous compare-and-swap operations.
//! A recent window of events is kept for watches and for reads at an older revision; what is older is compacted.
//!
//! Long-lived tasks: the embedded backend owns one thread, `store-writer`. Its input is a queue of writes, its outputs
//! are the log, the in-memory state, one reply per write and the queues of the watchers. `store-compactor` runs now and
//! then; it writes a new generation of the log from objects it was given and wakes the writer when it is done.
//!
//! Invariants
//! 1. One write is one revision. Revisions never repeat and never go backwards, also across a crash.
//! 2. A write is visible, and acknowledged, only after it is durable. The exception are updates below a volatile
//!    prefix (node heartbeats), which reach the disk with the next durable write and may be lost before it.
//! 3. An object is encoded once. `metadata.resourceVersion` is put in when its revision is known; the bytes are then
//!    shared by reads, lists and watches.
//! 4. A watcher costs a queue. One that does not keep up is cut off and has to list again.

mod backup;
mod disk;
mod embedded;
mod error;
mod etcd;
mod event;
mod history;
mod log;
mod memory;
mod migrate;
mod object;
mod range;
mod state;
mod watch;
mod writer;

pub use backup::{Image, backup, read, restore};
pub use embedded::{Embedded, Options};
pub use error::{Error, ReadError, WriteError};
pub use etcd::{Etcd, EtcdOptions};
pub use event::{Delivery, Event, EventKind};
pub use memory::Past;
pub use migrate::migrate;
pub use object::{Cached, Encoded, Object};
pub use range::{Page, Range};
pub use watch::Watcher;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A boxed future, as the store's asynchronous operations return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What must be true of the key for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing is stored under the key.
    Absent,
    /// The stored object was last written at exactly this revision.
    Revision(u64),
}

/// What a write does to the key.
#[derive(Debug)]
pub enum Change {
    /// Store this object.
    Put(Encoded),
    /// Remove the object. `last` is the final state that watchers see; without it they see the stored one. Either
    /// carries the revision of the removal.
    Delete {
        /// The final state shown to watchers, if it differs from what is stored.
        last: Option<Encoded>,
    },
}

/// One compare-and-swap operation.
#[derive(Debug)]
pub struct Write {
    /// The key, `/group/resource/namespace/name` or alike.
    pub key: String,
    /// The condition.
    pub expect: Expect,
    /// The effect.
    pub change: Change,
    /// Another condition, for what must be unique among several objects.
    pub guard: Option<Guard>,
}

impl Write {
    /// A write without a guard.
    pub fn new(key: String, expect: Expect, change: Change) -> Self {
        Write {
            key,
            expect,
            change,
            guard: None,
        }
    }
}

/// The condition that nothing below a prefix was added or changed after a revision; removals do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The prefix, which ends in `/`.
    pub prefix: String,
    /// The revision that the writer has seen.
    pub revision: u64,
}

/// The interface that the API engine needs of a store.
///
/// Reads are answered from memory. A backend over a remote store keeps that memory up to date by watching the remote
/// one, and makes [`Store::current`] wait until the memory has caught up with the revision the remote one reports.
pub trait Store: Send + Sync + 'static {
    /// The revision of the in-memory state.
    fn revision(&self) -> u64;

    /// Waits until reads reflect every write acknowledged before the call by any replica; returns that revision.
    fn current(&self) -> BoxFuture<'_, Result<u64, Arc<Error>>>;

    /// Whether other processes write to the same store, so that the memory may be behind it.
    fn is_shared(&self) -> bool;

    /// The object stored under a key.
    fn get(&self, key: &str) -> Option<Arc<Object>>;

    /// Objects in key order, now or at an older revision that is not compacted yet.
    fn range(&self, range: &Range<'_>) -> Result<Page, ReadError>;

    /// The number of objects whose key starts with the prefix.
    fn count(&self, prefix: &str) -> usize;

    /// How many bytes it takes on its disk; `None` if that cannot be told.
    fn size_bytes(&self) -> BoxFuture<'_, Option<u64>>;

    /// Performs writes. Each succeeds or fails on its own; the results are in the order of the writes.
    fn write_all(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<Arc<Object>, WriteError>>>;

    /// Performs one write; returns the object as stored, or as last seen when it is removed.
    fn write(&self, write: Write) -> BoxFuture<'_, Result<Arc<Object>, WriteError>> {
        Box::pin(async move {
            let mut results = self.write_all(vec![write]).await;
            results
                .pop()
                .unwrap_or_else(|| Err(WriteError::Storage(Arc::new(Error::Closed))))
        })
    }

    /// Follows all events after a revision below a key prefix (which ends in `/`) or of exactly one key.
    fn watch(&self, prefix: &str, after: u64) -> Result<Watcher, ReadError>;

    /// Forgets the events up to and including a revision.
    fn compact(&self, revision: u64);

    /// Finishes the writes that wait, makes everything durable and ends every watch. Later writes fail.
    fn close(&self);
}
