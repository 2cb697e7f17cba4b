//! `start`, and waiting for the end of what was started.

use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use super::Global;
use super::arguments::Arguments;
use super::create::wait_until_made;
use super::state::{Directory, Status};
use crate::client;
use crate::error::{During, Error, Result};
use crate::init::channel::Maker;
use crate::sys::process::pidfd_send_signal;

/// `start`.
pub fn start(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let id = Arguments::parse(arguments, &[])?.only("a container's id")?;
    let directory = Directory::new(global, &id)?;
    let stored = directory.read()?;
    if stored.status() != Status::Created {
        return Err(Error::State(
            format!("container {id} cannot be started: it is {:?}", stored.status()).to_lowercase(),
        ));
    }
    let waiting = client::connect(&directory.socket()).during("connect to", "the waiting container")?;
    wait_until_made(&Maker::from(waiting), stored.pid, true, None)?;
    // Nobody listens there any more.
    let _ = std::fs::remove_file(directory.socket());
    Ok(0)
}

/// Waits for a child's end and returns its exit code; signals that come meanwhile are passed on.
pub fn wait(pidfd: &OwnedFd) -> Result<i32> {
    const PASSED_ON: [Signal; 6] = [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ];
    let mut set = SigSet::empty();
    PASSED_ON.into_iter().for_each(|signal| set.add(signal));
    set.thread_block().during("block", "signals")?;
    let signals =
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).during("watch", "signals")?;
    loop {
        let mut fds = [
            PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other.during("wait for", "the container")?,
        };
        let ended = fds[0].any() == Some(true);
        while let Ok(Some(signal)) = signals.read_signal() {
            // It may have ended this moment.
            let _ = pidfd_send_signal(pidfd.as_fd(), signal.ssi_signo.cast_signed());
        }
        if ended {
            return match waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED).during("wait for", "the container")? {
                WaitStatus::Exited(_, code) => Ok(code),
                WaitStatus::Signaled(_, signal, _) => Ok(128 + signal as i32),
                _ => Ok(255),
            };
        }
    }
}
