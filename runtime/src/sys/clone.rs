//! Making processes with `clone3(2)`, as `fork` with namespaces, a cgroup and a pidfd.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// Proof that the process has one thread, so that the child of a clone may run any code: no other thread can have held
/// a lock (of the allocator, for one) at the moment of the clone.
#[derive(Debug, Clone, Copy)]
pub struct SingleThread(());

impl SingleThread {
    /// Looks at `/proc/self/task`.
    ///
    /// # Errors
    /// The directory cannot be read, or the process has several threads.
    pub fn claim() -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        // A directory has two links of its own and one for each directory in it: one for each thread.
        match std::fs::metadata("/proc/self/task")?.nlink() {
            3 => Ok(Self(())),
            _ => Err(io::Error::other("the process has several threads")),
        }
    }
}

/// Which side of a clone one is on.
#[derive(Debug)]
pub enum Side {
    /// The new process.
    Child,
    /// The old one.
    Parent {
        /// The child in the caller's PID namespace.
        pid: i32,
        /// The child for good: a pid may be used again, a pidfd never means another process.
        pidfd: OwnedFd,
    },
}

/// Clones the calling process. `flags` are `CLONE_NEW*`; the child is born in `cgroup` (of the v2 hierarchy) if given,
/// which unlike moving it there by pid does not wait for an RCU grace period.
///
/// # Errors
/// What `clone3(2)` says.
pub fn clone3(_: SingleThread, flags: libc::c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    clone(flags, libc::SIGCHLD, cgroup)
}

/// Clones the calling process as another child of its parent, which is told of its end as of the caller's.
///
/// # Errors
/// What `clone3(2)` says.
pub fn clone_sibling(_: SingleThread) -> io::Result<Side> {
    clone(libc::CLONE_PARENT, 0, None)
}

fn clone(flags: libc::c_int, exit_signal: libc::c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all fields of the structure are plain numbers for which zero means "not used".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(flags.cast_unsigned()) | libc::CLONE_PIDFD.cast_unsigned() as u64;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = u64::from(exit_signal.cast_unsigned());
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: without CLONE_VM the child runs on a copy of this thread's memory and stack, as after fork, and the
    // process has no other thread whose locks the copy could have caught; `args` and `pidfd` outlive the call.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) })?;
    if pid == 0 {
        return Ok(Side::Child);
    }
    // SAFETY: the kernel has stored the new descriptor there, nobody else knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Side::Parent {
        pid: i32::try_from(pid).map_err(io::Error::other)?,
        pidfd,
    })
}

/// Not in libc for every target: `linux/sched.h`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
