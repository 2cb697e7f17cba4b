//! What v2 tells of a cgroup, and waiting for it.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

const FILE: &str = "cgroup.events";

/// What is told now.
pub(super) fn read(dir: &Path) -> io::Result<String> {
    fs::read_to_string(dir.join(FILE))
}

/// Whether a line is there.
pub(super) fn says(text: &str, line: &str) -> bool {
    text.lines().any(|found| found == line)
}

/// Waits until `wanted` is told, or the cgroup is gone; `false` if it still is not after `limit`.
pub(super) fn wait(dir: &Path, limit: Duration, wanted: impl Fn(&str) -> bool) -> bool {
    let deadline = Instant::now() + limit;
    let Ok(mut events) = File::open(dir.join(FILE)) else {
        return true;
    };
    loop {
        // Read before the wait: a change after this read makes the poll return.
        let mut text = String::new();
        let read = events.rewind().and_then(|()| events.read_to_string(&mut text));
        if read.is_err() || wanted(&text) {
            return true;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        // Interrupted or not, the file is read again.
        let _ = poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLPRI)], timeout);
    }
}
