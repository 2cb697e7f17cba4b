//! Descriptors of the caller's that the program gets: those of socket activation, and those of `--preserve-fds`.

use std::os::fd::BorrowedFd;

use super::arguments::Arguments;
use crate::error::{Error, Result};
use crate::sys::process::inherited;

/// The caller's descriptors from 3 on.
#[derive(Debug)]
pub struct Preserved {
    /// How many.
    pub count: u32,
    /// How many of them are listening sockets: sd_listen_fds(3).
    listening: u32,
}

impl Preserved {
    /// Looks whether all that are to be passed on are there. To be called before this process opens anything.
    ///
    /// # Errors
    /// One is not open: what this process opened in its place later would end up in the container.
    pub fn check(given: &Arguments) -> Result<Self> {
        let own = std::process::id();
        let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
        let listening = number("LISTEN_FDS")
            .filter(|_| number("LISTEN_PID") == Some(own))
            .unwrap_or(0);
        let count = listening.saturating_add(given.number("preserve-fds")?.unwrap_or(0));
        for fd in 3..3_u32.saturating_add(count) {
            if inherited(fd).is_none() {
                return Err(Error::Invalid(format!(
                    "descriptor {fd} is to be passed on (--preserve-fds) and is not open"
                )));
            }
        }
        Ok(Self { count, listening })
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
