//! Doing something in another network namespace.

use crate::{Error, Result};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// The network namespace of the calling thread.
pub(crate) fn current() -> Result<File> {
    let path = Path::new("/proc/thread-self/ns/net");
    File::open(path).map_err(Error::file("open", path))
}

/// Runs `action` in `target` and brings the thread back to `home`, whatever the action returns.
///
/// The namespace belongs to the thread, so other threads are not affected, and sockets opened inside stay there.
pub(crate) fn within<T>(target: BorrowedFd<'_>, home: &File, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let enter = |fd: BorrowedFd<'_>| setns(fd, CloneFlags::CLONE_NEWNET);
    enter(target).map_err(|errno| Error::socket("enter a pod's network namespace")(errno.into()))?;
    let result = action();
    enter(home.as_fd()).expect("a thread can go back to the network namespace it came from");
    result
}
