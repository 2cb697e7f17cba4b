//! Killing whatever is in a cgroup, and waiting until nothing is.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;

/// Kills every process in the tracker directory `dir` and below. The kernel does it at once with `cgroup.kill` (since
/// 5.14); before that, processes that fork while they are being killed are chased until none is left.
///
/// # Errors
/// The directory cannot be read. That it is gone is no error.
pub fn kill(dir: &Path) -> io::Result<()> {
    match fs::write(dir.join("cgroup.kill"), "1") {
        Ok(()) => return Ok(()),
        Err(_) if !dir.exists() => return Ok(()),
        // No such file: v1, or an old kernel.
        Err(_) => {}
    }
    freeze(dir, true);
    for _ in 0..100 {
        let pids = procs(dir)?;
        if pids.is_empty() {
            break;
        }
        for pid in pids {
            // Gone meanwhile is what was wanted.
            let _ = send(Pid::from_raw(pid), Signal::SIGKILL);
        }
        // A frozen v1 cgroup delivers the signal only when it is thawed.
        freeze(dir, false);
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Freezes or thaws, where the directory can. Best effort: it only keeps processes from forking meanwhile.
fn freeze(dir: &Path, frozen: bool) {
    if fs::write(dir.join("cgroup.freeze"), if frozen { "1" } else { "0" }).is_err() {
        let _ = fs::write(dir.join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" });
    }
}

/// Every process in `dir` and below, as pids of the caller's PID namespace. Empty if the directory is gone.
///
/// # Errors
/// The directory is there and cannot be read.
pub fn procs(dir: &Path) -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    collect(dir, &mut pids)?;
    Ok(pids)
}

fn collect(dir: &Path, pids: &mut Vec<i32>) -> io::Result<()> {
    match fs::read_to_string(dir.join("cgroup.procs")) {
        Ok(text) => pids.extend(
            text.lines()
                .filter_map(|line| line.parse::<i32>().ok())
                .filter(|pid| *pid > 0),
        ),
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), pids)?;
        }
    }
    Ok(())
}

/// Not found, or removed while it was open.
fn gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// Whether a process is in `dir` or below.
#[must_use]
pub fn populated(dir: &Path) -> bool {
    match fs::read_to_string(dir.join("cgroup.events")) {
        Ok(text) => text.lines().any(|line| line == "populated 1"),
        Err(_) => procs(dir).is_ok_and(|pids| !pids.is_empty()),
    }
}

/// Waits until nothing is in `dir` or below; `false` if something still is after `limit`.
#[must_use]
pub fn wait_empty(dir: &Path, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    let mut events = File::open(dir.join("cgroup.events")).ok();
    loop {
        // Read before the wait: a change after this read makes the poll return.
        let still = match &mut events {
            Some(events) => {
                let mut text = String::new();
                events
                    .rewind()
                    .and_then(|()| events.read_to_string(&mut text))
                    .is_ok_and(|_| text.contains("populated 1"))
            }
            None => populated(dir),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if !still || left.is_zero() {
            return !still;
        }
        match &events {
            Some(events) => {
                let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                // Interrupted or not, the file is read again.
                let _ = poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLPRI)], timeout);
            }
            None => std::thread::sleep(Duration::from_millis(1).min(left)),
        }
    }
}
