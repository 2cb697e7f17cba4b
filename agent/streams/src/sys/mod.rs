//! The one thing the compiler cannot check: that a descriptor stays open while the event loop watches it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::sys::inotify::Inotify;
use tokio::io::unix::AsyncFd;

/// An inotify instance whose descriptor can be watched.
pub(crate) struct Notifier(Inotify);

impl Notifier {
    /// The instance.
    pub(crate) fn inotify(&self) -> &Inotify {
        &self.0
    }
}

impl AsRawFd for Notifier {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Registers an inotify instance with the event loop.
pub(crate) fn watch(inotify: Inotify) -> io::Result<AsyncFd<Notifier>> {
    // SAFETY: `Inotify` owns its descriptor, closes it only when dropped, and always returns the same one.
    Ok(unsafe { AsyncFd::register(Notifier(inotify)) }?)
}
