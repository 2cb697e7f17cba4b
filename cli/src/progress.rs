//! Live progress of `up`: one line a step, with the time it took.

use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Prints steps as they go; on a terminal the step under way is shown and then overwritten by its outcome.
pub struct Progress {
    started: Instant,
    terminal: bool,
}

impl Progress {
    /// Starts the clock.
    pub fn new() -> Self {
        Progress {
            started: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// A step begins.
    pub fn begin(&self, what: &str) {
        if self.terminal {
            eprint!("\r\x1b[2K  … {what}");
            let _ = std::io::stderr().flush();
        }
    }

    /// A step is done.
    pub fn done(&self, what: &str) {
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        eprintln!("{clear}  ✓ {what} ({:.2} s)", self.started.elapsed().as_secs_f64());
    }
}
