//! Descriptors of the caller's that the program gets: those of socket activation, and those of `--preserve-fds`.

use std::os::fd::BorrowedFd;

use super::arguments::Arguments;
use crate::error::Result;
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
    /// Reads how many are asked for; those of them that are open are passed on. Sockets are meant for this process if
    /// nobody else is named.
    ///
    /// # Errors
    /// The option is no number.
    pub fn new(given: &Arguments) -> Result<Self> {
        let own = std::process::id();
        let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
        let listening = number("LISTEN_FDS")
            .filter(|_| number("LISTEN_PID").is_none_or(|pid| pid == own))
            .unwrap_or(0);
        let count = listening.saturating_add(given.number("preserve-fds")?.unwrap_or(0));
        Ok(Self {
            count: count.min(MOST),
            listening,
        })
    }

    /// The descriptors, to be kept open.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        (3..3 + self.count).filter_map(inherited).collect()
    }

    /// What the program is told of them.
    pub fn environment(&self) -> Vec<String> {
        match self.listening {
            0 => Vec::new(),
            count => vec![format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()],
        }
    }
}
