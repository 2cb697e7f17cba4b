//! Killing whatever is in a cgroup, and waiting until nothing is.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Layout, events};
use crate::broken;
use crate::sys::process::{pidfd_open, pidfd_send_signal};

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
    let chased = chase(dir);
    // Whatever came of it, and whoever has come since: nothing stays frozen.
    freeze(dir, false);
    chased
}

/// Kills what is in `dir` and below until nothing is, for a while: whoever waits for its end says if something is left.
fn chase(dir: &Path) -> io::Result<()> {
    for _ in 0..100 {
        let pids = procs(dir)?;
        if pids.is_empty() {
            break;
        }
        signal_each(dir, &pids, libc::SIGKILL)?;
        // A frozen v1 cgroup delivers the signal only when it is thawed.
        freeze(dir, false);
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Takes every process in the tracker directory `dir` and below out of whatever v1 freezer it is in: a frozen one does
/// not die, and somebody else's is not to be thawed. Best effort: whoever waits for their end says what is wrong.
pub fn leave_freezers(layout: &Layout, dir: &Path) {
    let Some(freezer) = layout
        .v1
        .iter()
        .find(|hierarchy| hierarchy.controllers.contains(&"freezer"))
    else {
        return;
    };
    for pid in procs(dir).unwrap_or_default() {
        let _ = fs::write(freezer.mount.join("cgroup.procs"), pid.to_string());
    }
}

/// Sends a signal to every process in the tracker directory `dir` and below. Those made meanwhile may not get it.
///
/// # Errors
/// The directory cannot be read. That it is gone is no error.
pub fn signal(dir: &Path, signal: i32) -> io::Result<()> {
    signal_each(dir, &procs(dir)?, signal)
}

/// Signals those of `pids` that are in `dir` still when a descriptor is held of each: from then on a pid cannot have
/// become somebody else's.
fn signal_each(dir: &Path, pids: &[i32], signal: i32) -> io::Result<()> {
    if broken::lacks("still-there") {
        // Long enough for pids to be used again.
        std::thread::sleep(Duration::from_millis(20));
    }
    let held: Vec<(i32, OwnedFd)> = pids
        .iter()
        .filter_map(|pid| Some((*pid, pidfd_open(*pid).ok()?)))
        .collect();
    let still = procs(dir)?;
    let is_there = |pid: &i32| still.contains(pid) || broken::lacks("still-there");
    for (_, process) in held.iter().filter(|(pid, _)| is_there(pid)) {
        // Whichever has ended meanwhile needs no signal.
        let _ = pidfd_send_signal(process.as_fd(), signal);
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
    let list = || fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>();
    let entries = match list() {
        Err(error) if gone(&error) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
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
    match events::read(dir) {
        Ok(text) => events::says(&text, "populated 1"),
        Err(_) => procs(dir).is_ok_and(|pids| !pids.is_empty()),
    }
}

/// Waits until nothing is in `dir` or below; `false` if something still is after `limit`.
#[must_use]
pub fn wait_empty(dir: &Path, limit: Duration) -> bool {
    if events::read(dir).is_ok() {
        return events::wait(dir, limit, |text| !events::says(text, "populated 1"));
    }
    let deadline = Instant::now() + limit;
    while populated(dir) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1).min(left));
    }
    true
}
