//! Following a process that is being made, and waiting in the foreground for its end.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use super::terminal::{Passage, Receiver};
use crate::error::{During, Error, Result};
use crate::init::channel::{Maker, Message};
use crate::init::outside::Outside;
use crate::sys::process::{has_executed, ignore_signal, pidfd_send_signal};

/// Follows a child until it waits for its start, or, with `executed`, until it has executed its program. Returns the
/// terminal that is to be passed through here. `outside` does what the child asks to be done for it.
///
/// # Errors
/// Why it could not be made.
pub fn until_made(
    maker: &Maker,
    pid: i32,
    executed: bool,
    receiver: &Receiver,
    outside: Option<&Outside<'_>>,
) -> Result<Option<OwnedFd>> {
    let mut terminal = None;
    let mut executing = false;
    loop {
        let message = maker.receive();
        if let Some(outside) = outside
            && outside.answer(maker, &message)?
        {
            continue;
        }
        match message {
            Message::Ready => return Ok(terminal),
            Message::Terminal(master) => terminal = receiver.deliver(master)?,
            Message::Executing => executing = true,
            Message::Failed(failure) => return Err(Error::Remote(failure)),
            // Asked of whoever can do it, it would have been done.
            Message::Hooks | Message::Notifications(_) => {
                return Err(Error::State("the process asks for what cannot be done here".to_owned()));
            }
            Message::Closed if executed && (executing || has_executed(pid)) => return Ok(terminal),
            Message::Closed => {
                return Err(Error::State(
                    "the process that was to become the container died".to_owned(),
                ));
            }
        }
    }
}

/// Signals that a command in the foreground passes on, and those it needs itself.
const WATCHED: [Signal; 8] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCONT,
    Signal::SIGWINCH,
];

/// Waits for a child's end and returns its exit code; signals that come meanwhile are passed on, and so is what is
/// typed and shown if it has a terminal.
///
/// # Errors
/// The child cannot be waited for.
pub fn to_the_end(pidfd: &OwnedFd, terminal: Option<OwnedFd>) -> Result<i32> {
    let mut set = SigSet::empty();
    WATCHED.into_iter().for_each(|signal| set.add(signal));
    set.thread_block().during("block", "signals")?;
    // Nobody reads what is shown any more: the container is waited for all the same.
    ignore_signal(libc::SIGPIPE);
    let signals =
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).during("watch", "signals")?;
    let mut passage = terminal.map(Passage::new).transpose()?;
    loop {
        let [ended, signalled, output, input] = ready(pidfd, &signals, passage.as_ref())?;
        while let Some(signal) = signals.read_signal().ok().flatten().filter(|_| signalled) {
            let signal = signal.ssi_signo.cast_signed();
            match &passage {
                Some(passage) if signal == libc::SIGWINCH => passage.resize(),
                // It may have ended this moment.
                _ => drop(pidfd_send_signal(pidfd.as_fd(), signal)),
            }
        }
        if let Some(passage) = passage.as_mut().filter(|_| input) {
            passage.write();
        }
        if ended {
            // What it wrote last is still in the terminal.
            while let Some(last) = passage.as_ref()
                && ready(pidfd, &signals, Some(last))?[2]
                && last.read()
            {}
            return status(pidfd);
        }
        if output && passage.as_ref().is_some_and(|passage| !passage.read()) {
            passage = None;
        }
    }
}

/// Waits for the first of the child's end, a signal, output, and input.
fn ready(pidfd: &OwnedFd, signals: &SignalFd, passage: Option<&Passage>) -> Result<[bool; 4]> {
    let (output, input) = passage.map(Passage::sources).unzip();
    let all = [Some(pidfd.as_fd()), Some(signals.as_fd()), output, input.flatten()];
    let mut fds: Vec<PollFd<'_>> = all
        .into_iter()
        .flatten()
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
        .collect();
    match poll(&mut fds, PollTimeout::NONE) {
        Err(Errno::EINTR) => {}
        other => drop(other.during("wait for", "the container")?),
    }
    let is_ready = |at: usize| fds.get(at).and_then(PollFd::any) == Some(true);
    Ok([is_ready(0), is_ready(1), is_ready(2), is_ready(3)])
}

/// Reaps a child that has ended.
fn status(pidfd: &OwnedFd) -> Result<i32> {
    match waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED).during("wait for", "the container")? {
        WaitStatus::Exited(_, code) => Ok(code),
        WaitStatus::Signaled(_, signal, _) => Ok(128 + signal as i32),
        _ => Ok(255),
    }
}
