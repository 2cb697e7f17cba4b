//! Stopping whatever is in a cgroup, and letting it go on.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{events, write};
use crate::error::{Error, Result};

/// How long processes may take to stop: one in an uninterruptible sleep stops only after it.
const LIMIT: Duration = Duration::from_secs(10);

/// The v1 file.
const V1_FILE: &str = "freezer.state";

/// Whether all processes in the tracker directory `dir` and below are stopped.
#[must_use]
pub fn is_frozen(dir: &Path) -> bool {
    match events::read(dir) {
        Ok(text) => events::says(&text, "frozen 1"),
        Err(_) => fs::read_to_string(dir.join(V1_FILE)).is_ok_and(|state| state.trim() == "FROZEN"),
    }
}

/// Stops all processes in `dir` and below, and waits until they are; done already is fine.
///
/// # Errors
/// There is no freezer, or some process does not stop; the others run again then.
pub fn freeze(dir: &Path) -> Result<()> {
    if dir.join("cgroup.freeze").exists() {
        write(dir, "cgroup.freeze", "1")?;
        if events::wait(dir, LIMIT, |text| events::says(text, "frozen 1")) {
            return Ok(());
        }
    } else {
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            // Processes made meanwhile are caught by saying it again: freezer-subsystem.txt of the kernel.
            write(dir, V1_FILE, "FROZEN")?;
            if is_frozen(dir) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    thaw(dir)?;
    Err(Error::State(format!("processes in {} do not stop", dir.display())))
}

/// Lets all processes go on; going on already is fine.
///
/// # Errors
/// There is no freezer.
pub fn thaw(dir: &Path) -> Result<()> {
    if dir.join("cgroup.freeze").exists() {
        write(dir, "cgroup.freeze", "0")
    } else {
        write(dir, V1_FILE, "THAWED")
    }
}
