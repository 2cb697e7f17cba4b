//! Reading what a container writes.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::EpollFlags;
use nix::unistd::pipe2;

use super::attach::Attachments;
use super::log::{Log, Stream};
use super::poller::{Poller, Source};
use crate::error::{During, Result};

/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// How often one output is read before the others get their turn.
const TURNS: usize = 8;

/// The same for what is left when a container has ended: more than a pipe can hold, and not for ever, as a process of
/// another container may have got hold of the pipe.
const TURNS_AT_END: usize = 256;

/// The read ends of a container's output.
#[derive(Debug, Default)]
pub struct Outputs {
    stdout: Option<File>,
    stderr: Option<File>,
}

/// Makes a pipe whose read end does not block, for an output; returns the read end and the write end.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC).during("make", "a pipe")?;
    nonblocking(&read)?;
    Ok((read, write))
}

fn nonblocking(fd: &OwnedFd) -> Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).during("look at", "an output")?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))
        .during("prepare", "an output")
        .map(drop)
}

impl Outputs {
    /// Begins to read two pipes.
    pub fn pipes(container: u32, stdout: OwnedFd, stderr: OwnedFd, poller: &Poller) -> Result<Self> {
        poller.add(&stdout, EpollFlags::EPOLLIN, Source::Stdout(container))?;
        poller.add(&stderr, EpollFlags::EPOLLIN, Source::Stderr(container))?;
        Ok(Self {
            stdout: Some(stdout.into()),
            stderr: Some(stderr.into()),
        })
    }

    /// Reads a terminal instead of what was read before.
    pub fn terminal(&mut self, container: u32, master: OwnedFd, poller: &Poller) -> Result<()> {
        self.close(poller);
        nonblocking(&master)?;
        poller.add(&master, EpollFlags::EPOLLIN, Source::Stdout(container))?;
        self.stdout = Some(master.into());
        Ok(())
    }

    /// Reads an output and copies it to the log and to those attached. `all` goes on until nothing is left, otherwise
    /// other work gets its turn.
    pub fn pump(
        &mut self,
        container: u32,
        stream: Stream,
        all: bool,
        log: &mut Log,
        attachments: &mut Attachments,
        poller: &Poller,
    ) {
        let output = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(file) = output else { return };
        let mut buffer = [0; CHUNK];
        for _ in 0..if all { TURNS_AT_END } else { TURNS } {
            match file.read(&mut buffer) {
                Ok(count) if count > 0 => {
                    log.write(stream, &buffer[..count]);
                    attachments.forward(container, stream, &buffer[..count], poller);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The end of a pipe; of a terminal it is EIO.
                Ok(_) | Err(_) => {
                    poller.remove(file.as_fd());
                    *output = None;
                    attachments.end(container, Some(stream), poller);
                    return;
                }
            }
        }
    }

    /// Reads no more.
    pub fn close(&mut self, poller: &Poller) {
        for file in [self.stdout.take(), self.stderr.take()].into_iter().flatten() {
            poller.remove(file.as_fd());
        }
    }
}
