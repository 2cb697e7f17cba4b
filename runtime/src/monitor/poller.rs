//! Waiting for many descriptors, each known by what it is for.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::error::{During, Result};

/// What a descriptor is for. Keys are never used twice, so an event for something that is gone finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A client wants to connect.
    Listener,
    /// A client sent something, can be sent to again, or is gone.
    Client(u32),
    /// pause ended.
    Pause,
    /// A signal came.
    Signals,
    /// A container's first process ended.
    ContainerExit(u32),
    /// A container being made says something.
    ContainerChannel(u32),
    /// A container wrote to standard output.
    Stdout(u32),
    /// A container wrote to standard error.
    Stderr(u32),
    /// A container's cgroup became empty.
    Cgroup(u32),
    /// An exec ended.
    ExecExit(u32),
    /// An exec being made says something.
    ExecChannel(u32),
    /// Somebody attached can take more, or is gone.
    Attachment(u32),
}

impl Source {
    fn pack(self) -> u64 {
        let (kind, key) = match self {
            Self::Listener => (0, 0),
            Self::Client(key) => (1, key),
            Self::Pause => (2, 0),
            Self::ContainerExit(key) => (3, key),
            Self::ContainerChannel(key) => (4, key),
            Self::Stdout(key) => (5, key),
            Self::Stderr(key) => (6, key),
            Self::Cgroup(key) => (7, key),
            Self::ExecExit(key) => (8, key),
            Self::ExecChannel(key) => (9, key),
            Self::Attachment(key) => (10, key),
            Self::Signals => (11, 0),
        };
        kind << 32 | u64::from(key)
    }

    fn unpack(data: u64) -> Option<Self> {
        let key = u32::try_from(data & u64::from(u32::MAX)).ok()?;
        Some(match data >> 32 {
            0 => Self::Listener,
            1 => Self::Client(key),
            2 => Self::Pause,
            3 => Self::ContainerExit(key),
            4 => Self::ContainerChannel(key),
            5 => Self::Stdout(key),
            6 => Self::Stderr(key),
            7 => Self::Cgroup(key),
            8 => Self::ExecExit(key),
            9 => Self::ExecChannel(key),
            10 => Self::Attachment(key),
            11 => Self::Signals,
            _ => return None,
        })
    }
}

/// The set of descriptors waited for.
#[derive(Debug)]
pub struct Poller(Epoll);

impl Poller {
    /// An empty set.
    pub fn new() -> Result<Self> {
        Ok(Self(
            Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).during("make", "an epoll set")?,
        ))
    }

    /// Waits for a descriptor to be readable (or whatever `flags` say) from now on.
    pub fn add(&self, fd: impl AsFd, flags: EpollFlags, source: Source) -> Result<()> {
        self.0
            .add(fd, EpollEvent::new(flags, source.pack()))
            .during("wait for", "a descriptor")
    }

    /// Changes what is waited for.
    pub fn modify(&self, fd: impl AsFd, flags: EpollFlags, source: Source) {
        // Only descriptors that were added are modified.
        let _ = self.0.modify(fd, &mut EpollEvent::new(flags, source.pack()));
    }

    /// Waits no more. Has to come before the descriptor is closed: a child on its way to its program may hold a copy,
    /// which would keep it in the set.
    pub fn remove(&self, fd: impl AsFd) {
        // Only descriptors that were added are removed.
        let _ = self.0.delete(fd);
    }

    /// The next events; none if `deadline` passed.
    pub fn wait(&self, deadline: Option<Instant>) -> io::Result<Vec<(Source, EpollFlags)>> {
        let timeout = deadline.map_or(EpollTimeout::NONE, |deadline| {
            // Rounded up, so that the deadline has passed when it wakes.
            let left = deadline
                .saturating_duration_since(Instant::now())
                .as_micros()
                .div_ceil(1000);
            EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX)
        });
        let mut events = [EpollEvent::empty(); 16];
        let ready = match self.0.wait(&mut events, timeout) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        let known = |event: &EpollEvent| Some((Source::unpack(event.data())?, event.events()));
        Ok(events[..ready].iter().filter_map(known).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_survive_packing() {
        for source in [
            Source::Listener,
            Source::Client(7),
            Source::Pause,
            Source::Stderr(u32::MAX),
            Source::Attachment(1),
        ] {
            assert_eq!(Source::unpack(source.pack()), Some(source));
        }
        assert_eq!(Source::unpack(99 << 32), None);
    }
}
