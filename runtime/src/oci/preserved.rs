//! Descriptors of the caller's that the program gets: those of socket activation, and those of `--preserve-fds`.

use std::os::fd::BorrowedFd;

use super::arguments::Arguments;
use crate::error::{Error, Result};
use crate::sys::process::inherited;

/// More are not open in any process, unless the machine has been told to allow it: proc_sys_fs(5), `nr_open`.
const MOST: u32 = 1 << 20;

/// The caller's descriptors from 3 on.
#[derive(Debug)]
pub struct Preserved {
    /// How many there are at most.
    pub count: u32,
    /// How many of them are listening sockets: sd_listen_fds(3).
    listening: u32,
}

impl Preserved {
    /// Looks whether the sockets that the program is told of are there; of the others those are passed on that are. To be
    /// called before this process opens anything.
    ///
    /// # Errors
    /// A socket is not open.
    pub fn check(given: &Arguments) -> Result<Self> {
        let own = std::process::id();
        let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
        let listening = number("LISTEN_FDS")
            .filter(|_| number("LISTEN_PID") == Some(own))
            .unwrap_or(0);
        if let Some(missing) = (3..3_u32.saturating_add(listening)).find(|fd| inherited(*fd).is_none()) {
            return Err(Error::Invalid(format!(
                "descriptor {missing} is to be passed on (LISTEN_FDS) and is not open"
            )));
        }
        let count = listening.saturating_add(given.number("preserve-fds")?.unwrap_or(0));
        Ok(Self {
            count: count.min(MOST),
            listening,
        })
    }

    /// The descriptors, to be kept open.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        (3..3 + self.count).filter_map(|fd| inherited(fd)).collect()
    }

    /// What the program is told of them.
    pub fn environment(&self) -> Vec<String> {
        match self.listening {
            0 => Vec::new(),
            count => vec![format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()],
        }
    }
}
