use std::path::PathBuf;
use std::sync::Arc;

use crate::Object;

/// What can go wrong with the storage itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the file open.
    #[error("the store {path} is in use by another process: stop the other control service first")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The directory could not be made or taken.
    #[error("create the directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The log could not be read back.
    #[error("open the store {path}")]
    Open {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A commit failed; nothing of it was applied.
    #[error("write the store {path}")]
    Commit {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No space is left for the file.
    #[error("no space left on the disk of the store {path}: free some space, then try again")]
    Full {
        /// The directory.
        path: PathBuf,
    },
    /// The writer thread could not be started.
    #[error("start the writer thread of the store")]
    Thread {
        /// The cause.
        source: std::io::Error,
    },
    /// An endpoint of etcd is not written as it must be.
    #[error("the etcd endpoint {text:?} must be http://HOST:PORT or https://HOST:PORT")]
    Endpoint {
        /// What was given.
        text: String,
    },
    /// There are objects where there may be none.
    #[error("there are objects below {prefix} in etcd already: choose another prefix or remove them")]
    NotEmpty {
        /// What all keys begin with.
        prefix: String,
    },
    /// etcd cannot be reached, or refuses.
    #[error("use etcd")]
    Remote {
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a read or a watch is not possible at the revision asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The revision is older than the kept history.
    #[error("revision {requested} is compacted, the oldest one is {oldest}")]
    Compacted {
        /// The revision asked for.
        requested: u64,
        /// The oldest revision that can be read.
        oldest: u64,
    },
    /// The revision does not exist yet.
    #[error("revision {requested} is in the future, the current one is {current}")]
    Future {
        /// The revision asked for.
        requested: u64,
        /// The current revision.
        current: u64,
    },
}

/// Why a write did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The condition did not hold.
    #[error("the stored object is not the expected one")]
    Conflict {
        /// What is stored instead, if anything.
        current: Option<Arc<Object>>,
    },
    /// The condition on the key held, but the guard did not.
    #[error("something below the guarded prefix was changed meanwhile")]
    Guard,
    /// The storage failed.
    #[error(transparent)]
    Storage(Arc<Error>),
}
