use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::disk::Disk;
use crate::memory::{Memory, Past};
use crate::writer::{Inbox, Job, Writer};
use crate::{BoxFuture, Error, Object, Page, Range, ReadError, Store, Watcher, Write, WriteError};

/// How the embedded store is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of its files.
    pub path: PathBuf,
    /// Key prefixes below which updates of existing objects stay in memory until the next durable write.
    pub volatile: Vec<String>,
    /// How much of the past is kept.
    pub past: Past,
}

impl Options {
    /// The defaults for a directory.
    pub fn new(path: &Path) -> Self {
        Options {
            path: path.into(),
            volatile: Vec::new(),
            past: Past::default(),
        }
    }
}

/// The embedded store: one directory, one process, one writer thread.
#[derive(Debug)]
pub struct Embedded {
    path: PathBuf,
    memory: Arc<Memory>,
    inbox: Arc<Inbox>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Embedded {
    /// Opens the directory, or makes it, and starts the writer.
    pub fn open(options: Options) -> Result<Self, Error> {
        let (disk, objects, reserved) = Disk::open(&options.path)?;
        // Revision 0 means "any" to clients, so the first state is revision 1.
        let memory = Arc::new(Memory::new(objects, reserved.max(1), options.past));
        let inbox = Arc::new(Inbox::default());
        let writer = Writer {
            disk,
            memory: memory.clone(),
            inbox: inbox.clone(),
            volatile: options.volatile,
            dirty: BTreeSet::new(),
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .map_err(|source| Error::Thread { source })?;
        Ok(Embedded {
            path: options.path,
            memory,
            inbox,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// As [`Store::close`].
    pub fn close(&self) {
        self.inbox.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writer thread of the store had panicked");
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.close();
    }
}

impl Store for Embedded {
    fn revision(&self) -> u64 {
        self.memory.revision()
    }

    fn current(&self) -> BoxFuture<'_, Result<u64, Arc<Error>>> {
        Box::pin(std::future::ready(Ok(self.revision())))
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.memory.get(key)
    }

    fn range(&self, range: &Range<'_>) -> Result<Page, ReadError> {
        self.memory.range(range)
    }

    fn count(&self, prefix: &str) -> usize {
        self.memory.count(prefix)
    }

    fn size_bytes(&self) -> BoxFuture<'_, Option<u64>> {
        let files = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        let size = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
        Box::pin(std::future::ready(Some(size)))
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
        self.memory.watch(prefix, after)
    }

    fn compact(&self, revision: u64) {
        self.memory.compact(revision);
    }

    fn close(&self) {
        Embedded::close(self);
    }
}
