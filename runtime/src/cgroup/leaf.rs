//! A cgroup below a container's for a process executed in it later, so that it can be killed with all it has made.
//!
//! A v2 cgroup with processes may have children as long as it hands no controller down to them, so the container's first
//! process stays where it is. A container that hands controllers down has moved its processes out of its own cgroup
//! before, and then only a leaf takes processes at all: "no internal processes" in cgroup-v2.rst of the kernel.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{During, Result};

/// What a leaf's name begins with.
const PREFIX: &str = "exec-";

/// A leaf, which stays until it is removed.
#[derive(Debug)]
pub struct Leaf(PathBuf);

impl Leaf {
    /// Makes one below `dir`, the tracker's directory of a container, and removes those that are over: nobody waits for
    /// the end of a process that was executed in the background.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(dir: &Path) -> Result<Self> {
        sweep(dir);
        let own = std::process::id();
        let mut number = 0_u32;
        loop {
            let leaf = dir.join(format!("{PREFIX}{own}.{number}"));
            match fs::create_dir(&leaf) {
                // Of a process that had the same pid, and left something running.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                made => return made.during("make cgroup", leaf.display()).map(|()| Self(leaf)),
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// Removes it if nothing runs in it any more; else it goes with a later one, or with the container.
    pub fn remove(self) {
        let _ = fs::remove_dir(self.0);
    }
}

fn sweep(dir: &Path) {
    let leaves = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)));
    for leaf in leaves {
        // One with processes is busy.
        let _ = fs::remove_dir(leaf.path());
    }
}
