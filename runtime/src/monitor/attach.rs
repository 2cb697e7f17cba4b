//! Those who watch a container's output as it comes.
//!
//! The container never waits for them: who does not read fast enough for [`MAX_WAITING`] bytes to suffice is let go.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::EpollFlags;

use super::log::Stream;
use super::poller::{Poller, Source};
use crate::error::{During, Result};

/// How much may wait for one who does not read, beside what the pipe itself holds.
const MAX_WAITING: usize = 1 << 20;

/// One output of one who is attached.
#[derive(Debug)]
pub struct Attachment {
    /// Its own key.
    pub key: u32,
    /// The container.
    pub container: u32,
    stream: Stream,
    file: File,
    waiting: VecDeque<u8>,
    /// The container's output has ended; what waits is still sent.
    ended: bool,
}

/// What is to be done with an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Drop,
}

/// Everybody who is attached to any container.
#[derive(Debug, Default)]
pub struct Attachments {
    next: u32,
    all: Vec<Attachment>,
}

impl Attachments {
    /// Adds one; its descriptor is made non-blocking.
    pub fn add(&mut self, container: u32, stream: Stream, fd: OwnedFd, poller: &Poller) -> Result<()> {
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL).during("look at", "an attached file")?);
        fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).during("prepare", "an attached file")?;
        self.next += 1;
        // A pipe tells that nobody reads it any more without being asked. A regular file never does.
        if let Err(error) = poller.add(&fd, EpollFlags::empty(), Source::Attachment(self.next))
            && error.errno() != Some(libc::EPERM)
        {
            return Err(error);
        }
        let (key, file, waiting) = (self.next, File::from(fd), VecDeque::new());
        self.all.push(Attachment {
            key,
            container,
            stream,
            file,
            waiting,
            ended: false,
        });
        Ok(())
    }

    /// Copies output to those who want it.
    pub fn forward(&mut self, container: u32, stream: Stream, output: &[u8], poller: &Poller) {
        self.each(
            poller,
            |attachment| attachment.container == container && attachment.stream == stream,
            |attachment| attachment.push(output),
        );
    }

    /// One can take more, or is gone.
    pub fn ready(&mut self, key: u32, flags: EpollFlags, poller: &Poller) {
        self.each(
            poller,
            |attachment| attachment.key == key,
            |attachment| {
                if flags.contains(EpollFlags::EPOLLERR) {
                    Fate::Drop
                } else {
                    attachment.push(&[])
                }
            },
        );
    }

    /// A container's output has ended: those who have it all see the end now, the others when they have it.
    pub fn end(&mut self, container: u32, stream: Option<Stream>, poller: &Poller) {
        let of = |attachment: &Attachment| {
            attachment.container == container && stream.is_none_or(|stream| stream == attachment.stream)
        };
        self.each(poller, of, |attachment| {
            attachment.ended = true;
            attachment.push(&[])
        });
    }

    fn each(
        &mut self,
        poller: &Poller,
        of: impl Fn(&Attachment) -> bool,
        mut act: impl FnMut(&mut Attachment) -> Fate,
    ) {
        self.all.retain_mut(|attachment| {
            if !of(attachment) {
                return true;
            }
            let fate = act(attachment);
            if fate == Fate::Drop {
                poller.remove(attachment.file.as_fd());
                return false;
            }
            let interest = if attachment.waiting.is_empty() {
                EpollFlags::empty()
            } else {
                EpollFlags::EPOLLOUT
            };
            poller.modify(attachment.file.as_fd(), interest, Source::Attachment(attachment.key));
            true
        });
    }
}

impl Attachment {
    /// Writes what waits and then `output`, as far as it is taken.
    fn push(&mut self, output: &[u8]) -> Fate {
        self.waiting.extend(output);
        while !self.waiting.is_empty() {
            match self.file.write(self.waiting.as_slices().0) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Fate::Drop,
            }
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        if self.waiting.len() > MAX_WAITING || self.ended && self.waiting.is_empty() {
            Fate::Drop
        } else {
            Fate::Keep
        }
    }
}
