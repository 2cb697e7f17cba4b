//! Cloning into a user namespace that is there already: a process can only go there itself, and loses its rights over
//! everything else by that. So one goes ahead, clones the container's process there as its own sibling, and ends.
//!
//! ```text
//! maker ── clone ──► scout: joins, makes the other namespaces ── clone (CLONE_PARENT) ──► the container's process
//!   ▲                   │ its pidfd
//!   └───────────────────┘
//! ```

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::wait::{Id, WaitPidFlag, waitid};

use super::namespaces::Namespaces;
use crate::error::{During, Error, Result, chain};
use crate::sys::clone::{Side, SingleThread, clone_sibling, clone3};
use crate::sys::process::exit_now;
use crate::sys::socket::{receive, send};

/// Clones the container's process into `user`, with the other namespaces joined or made. The child is in the cgroup that
/// is given, as with any clone.
///
/// # Errors
/// A namespace cannot be joined or made.
pub fn clone(
    single: SingleThread,
    namespaces: &Namespaces,
    user: &OwnedFd,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Side> {
    let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
    let (here, there) = pair.during("make", "a socket pair")?;
    let side = clone3(single, 0, cgroup).during("clone", "a process that goes ahead")?;
    let Side::Parent { pidfd: scout, .. } = side else {
        drop(here);
        return match go(single, namespaces, user) {
            Ok(Side::Child) => Ok(Side::Child),
            Ok(Side::Parent { pidfd, .. }) => {
                // The maker may be gone.
                let _ = send(&there, b"P", &[pidfd.as_fd()]);
                exit_now(0)
            }
            Err(error) => {
                let _ = send(&there, chain(&error).as_bytes(), &[]);
                exit_now(1)
            }
        };
    };
    drop(there);
    let received = receive(&here).during("hear from", "the process that went ahead")?;
    // It cannot fail: it is our child, and not reaped.
    let _ = waitid(Id::PIDFd(scout.as_fd()), WaitPidFlag::WEXITED);
    let (said, mut fds) = received.unwrap_or_default();
    match fds.pop() {
        Some(pidfd) => Ok(Side::Parent {
            pid: pid_of(&pidfd)?,
            pidfd,
        }),
        None => Err(Error::Invalid(String::from_utf8_lossy(&said).into_owned())),
    }
}

/// Joins and makes namespaces, and clones.
fn go(single: SingleThread, namespaces: &Namespaces, user: &OwnedFd) -> Result<Side> {
    // Those of the machine's user namespace have to be joined before, those of the one that is joined afterwards.
    let mut later: Vec<&(OwnedFd, CloneFlags)> = Vec::new();
    for entry in &namespaces.joined {
        match setns(&entry.0, entry.1) {
            Err(Errno::EPERM) => later.push(entry),
            other => other.during("join", "a namespace")?,
        }
    }
    setns(user, CloneFlags::CLONE_NEWUSER).during("join", "the user namespace")?;
    for (namespace, kind) in later {
        setns(namespace, *kind).during("join", "a namespace")?;
    }
    unshare(CloneFlags::from_bits_retain(namespaces.new)).during("make", "namespaces")?;
    clone_sibling(single).during("clone", "the container's process")
}

/// The pid of a process as its pidfd tells it.
fn pid_of(pidfd: &OwnedFd) -> Result<i32> {
    let path = Path::new("/proc/self/fdinfo").join(pidfd.as_raw_fd().to_string());
    let text = fs::read_to_string(&path).during("read", path.display())?;
    let pid = text
        .lines()
        .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.filter(|pid| *pid > 0)
        .ok_or_else(|| Error::State("the process that was to become the container died".to_owned()))
}
