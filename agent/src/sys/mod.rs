//! The agent's only unsafe code: handing descriptors to the event loop, and a setting of the C library.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::inotify::Inotify;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor's owner, which never changes the descriptor it has.
pub trait Owner: AsRawFd {}

impl Owner for OwnedFd {}
impl Owner for File {}
impl Owner for InotifyFd {}

/// Makes an owned descriptor something the event loop can wait for.
pub fn register<T: Owner>(owner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: every `Owner` holds one open descriptor from its making to its end, never another, and gives nobody the
    // means to close it earlier.
    let registered = unsafe { AsyncFd::register(owner) };
    registered.map_err(io::Error::from)
}

/// An inotify instance as a descriptor's owner.
pub struct InotifyFd(Inotify);

impl InotifyFd {
    /// Watches with it.
    pub fn new(inotify: Inotify) -> Self {
        Self(inotify)
    }
}

impl AsRawFd for InotifyFd {
    fn as_raw_fd(&self) -> RawFd {
        use std::os::fd::AsFd;
        self.0.as_fd().as_raw_fd()
    }
}

/// Keeps all threads on one heap: those that come and go for file operations would each leave one behind, which the C
/// library keeps (mallopt(3)).
pub fn one_heap() {
    // SAFETY: the call only sets a number that later allocations read.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Waits for the next change that an inotify instance watches for; several at once count as one.
pub async fn changed(watcher: &AsyncFd<InotifyFd>) {
    let read = watcher
        .async_io(Interest::READABLE, |it| {
            it.0.read_events().map(drop).map_err(io::Error::from)
        })
        .await;
    if let Err(error) = read {
        tracing::warn!(%error, "changes not read");
    }
}
