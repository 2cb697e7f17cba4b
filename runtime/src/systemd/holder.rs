//! A process that does nothing, in whose place a container's is born.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::wait::{Id, WaitPidFlag, waitid};

use crate::error::{During, Result};
use crate::sys::clone::{Side, SingleThread, clone3};
use crate::sys::process::{close_all_but, exit_now, pidfd_send_signal};

/// Ends when it is dropped, and with whoever made it.
#[derive(Debug)]
pub struct Holder {
    /// Its process id.
    pub pid: i32,
    pidfd: OwnedFd,
    /// What it reads from, and nobody writes to: closed with its maker at the latest.
    _end: OwnedFd,
}

impl Holder {
    /// Clones it.
    ///
    /// # Errors
    /// The kernel has no process to give.
    pub fn new(single: SingleThread) -> Result<Self> {
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).during("make", "a pipe")?;
        match clone3(single, 0, None).during("clone", "a process that holds a scope")? {
            Side::Parent { pid, pidfd } => Ok(Self {
                pid,
                pidfd,
                _end: write,
            }),
            Side::Child => {
                drop(write);
                let _ = close_all_but(&[read.as_fd()]);
                let _ = nix::unistd::read(&read, &mut [0; 1]);
                exit_now(0)
            }
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        let _ = waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED);
    }
}
