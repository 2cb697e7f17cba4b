//! What procfs tells of a process.

use std::fs::File;
use std::io::Read;

/// The parts of proc_pid_stat(5) that are used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `Z` and so on.
    pub state: char,
    /// The parent.
    pub parent: i32,
    /// The number of the controlling terminal, 0 without.
    pub terminal: i32,
    /// `PF_*`.
    pub flags: u64,
    /// Time spent, in clock ticks, its own and the kernel's for it.
    pub ticks: u64,
    /// When it started, in clock ticks since the machine's start.
    pub start_ticks: u64,
}

impl Stat {
    /// Reads `/proc/PID/stat`; `None` when there is no such process.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        // One read gets all of it: 52 numbers and a name of 64 bytes at most.
        let mut buffer = [0; 2048];
        let length = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut buffer).ok()?;
        // The name may be anything, the rest is ASCII.
        Self::parse(&String::from_utf8_lossy(&buffer[..length]))
    }

    fn parse(text: &str) -> Option<Self> {
        // The name before it may contain anything, but ends with the last parenthesis. The field after it is the third.
        let (_, fields) = text.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let terminal = fields.nth(2)?.parse().ok()?;
        let flags = fields.nth(1)?.parse().ok()?;
        let user: u64 = fields.nth(4)?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        let start_ticks = fields.nth(6)?.parse().ok()?;
        Some(Self {
            state,
            parent,
            terminal,
            flags,
            ticks: user.saturating_add(system),
            start_ticks,
        })
    }

    /// Whether it is dead and only not reaped yet, or about to die. The kernel sets its flag before the process closes
    /// its files, by which others see that it is going.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        const PF_EXITING: u64 = 0x4;
        self.flags & PF_EXITING != 0 || matches!(self.state, 'Z' | 'X')
    }

    /// Whether it has executed a program since it was cloned, be it alive or not reaped yet.
    #[must_use]
    pub fn has_executed(&self) -> bool {
        const PF_FORKNOEXEC: u64 = 0x40;
        self.flags & PF_FORKNOEXEC == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_the_name() {
        let text = "42 (a) b (c) S 7 42 42 34816 42 4194560 1 2 3 4 11 31 5 6 20 0 1 0 9876 1000 10";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.state, stat.parent, stat.terminal), ('S', 7, 34816));
        assert_eq!((stat.flags, stat.ticks, stat.start_ticks), (4_194_560, 42, 9876));
        assert!(!stat.is_ending() && stat.has_executed());
        assert_eq!(Stat::parse("42 (x"), None);
        assert!(Stat::of(i32::try_from(std::process::id()).unwrap()).is_some_and(|own| own.start_ticks > 0));
    }
}
