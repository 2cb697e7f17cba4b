use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::disk::Disk;
use crate::history::History;
use crate::state::State;
use crate::watch::{self, Registry, SharedRegistry};
use crate::writer::{Inbox, Job, Writer};
use crate::{BoxFuture, Error, Object, Page, Range, ReadError, Store, Watcher, Write, WriteError};

/// How the embedded store is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of its files.
    pub path: PathBuf,
    /// Key prefixes below which updates of existing objects stay in memory until the next durable write.
    pub volatile: Vec<String>,
    /// At most so many events are kept as history.
    pub history_events: usize,
    /// At most about so many bytes of objects are kept alive by the history.
    pub history_bytes: usize,
}

impl Options {
    /// The defaults for a directory.
    pub fn new(path: &Path) -> Self {
        Options {
            path: path.into(),
            volatile: Vec::new(),
            history_events: 20_000,
            history_bytes: 8 << 20,
        }
    }
}

/// The embedded store: one directory, one process, one writer thread.
#[derive(Debug)]
pub struct Embedded {
    state: Arc<RwLock<State>>,
    registry: SharedRegistry,
    inbox: Arc<Inbox>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Embedded {
    /// Opens the directory, or makes it, and starts the writer.
    pub fn open(options: Options) -> Result<Self, Error> {
        let (disk, objects, reserved) = Disk::open(&options.path)?;
        // Revision 0 means "any" to clients, so the first state is revision 1.
        let revision = reserved.max(1);
        let history = History::new(revision, options.history_events, options.history_bytes);
        let state = Arc::new(RwLock::new(State {
            objects,
            history,
            revision,
        }));
        let registry = SharedRegistry::new(Mutex::new(Registry::at(revision)));
        let inbox = Arc::new(Inbox::default());
        let writer = Writer {
            disk,
            state: state.clone(),
            registry: registry.clone(),
            inbox: inbox.clone(),
            volatile: options.volatile,
            dirty: BTreeSet::new(),
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .map_err(|source| Error::Thread { source })?;
        Ok(Embedded {
            state,
            registry,
            inbox,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Finishes the writes that wait, writes what is in memory only and lets go of the directory. Later writes fail.
    pub fn close(&self) {
        self.inbox.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writer thread of the store had panicked");
        }
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.close();
    }
}

impl Store for Embedded {
    fn revision(&self) -> u64 {
        self.state().revision
    }

    fn current(&self) -> BoxFuture<'_, Result<u64, Arc<Error>>> {
        Box::pin(std::future::ready(Ok(self.revision())))
    }

    fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.state().get(key).cloned()
    }

    fn range(&self, range: &Range<'_>) -> Result<Page, ReadError> {
        self.state().range(range)
    }

    fn count(&self, prefix: &str) -> usize {
        let bounds = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
        self.state()
            .objects
            .range::<str, _>(bounds)
            .take_while(|(key, _)| key.starts_with(prefix))
            .count()
    }

    fn write_all(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<Arc<Object>, WriteError>>> {
        let number = writes.len();
        let (reply, answer) = oneshot::channel();
        let queued = self.inbox.push(Job { writes, reply });
        Box::pin(async move {
            if queued.is_ok()
                && let Ok(results) = answer.await
            {
                return results;
            }
            let closed = Arc::new(Error::Closed);
            (0..number).map(|_| Err(WriteError::Storage(closed.clone()))).collect()
        })
    }

    fn watch(&self, prefix: &str, after: u64) -> Result<Watcher, ReadError> {
        // The writer takes the registry before the state and dispatches under it, so between the two steps here no
        // event can be missed or seen twice.
        let mut registry = watch::lock(&self.registry);
        let state = self.state();
        state.history.check(after, state.revision)?;
        let matches = |key: &str| {
            if prefix.ends_with('/') {
                key.starts_with(prefix)
            } else {
                key == prefix
            }
        };
        let backlog: VecDeque<_> = state
            .history
            .after(after)
            .filter(|event| matches(event.object.key()))
            .cloned()
            .collect();
        drop(state);
        Ok(registry.subscribe(&self.registry, prefix, backlog))
    }

    fn compact(&self, revision: u64) {
        self.state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .history
            .compact(revision);
    }
}
