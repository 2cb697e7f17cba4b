//! Control groups on v1, v2 and the hybrid of both, by plain file writes.
//!
//! A cgroup is a path such as `/barepod/pod0d1e…` that is the same below every hierarchy. One hierarchy is the
//! **tracker**: the v2 one where there is one (in a hybrid it has no controllers of ours, but processes can be born
//! into it, and killed in it with one write), the v1 freezer otherwise. Every process of a pod is in the tracker's
//! directory of its container; in the others only where there is a limit or a count to be kept.
//!
//! Nobody is ever moved into a cgroup by pid: that waits for an RCU grace period, 5 to 12 ms. A process is born there
//! (v2, `CLONE_INTO_CGROUP`) or writes `0` into the v1 `tasks` file itself.

mod adopt;
mod devices;
mod events;
mod freeze;
mod kill;
mod layout;
mod leaf;
mod limits;
mod unified;
mod v1;

#[cfg(feature = "stats")]
pub mod stats;

pub use freeze::{freeze, is_frozen, thaw};
pub use kill::{kill, populated, procs, signal, wait_empty};
pub use layout::{Hierarchy, Layout, Mode};
pub use leaf::Leaf;
pub use unified::weight_from_shares;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;

use crate::error::{During, Result};

/// A cgroup of a [`Layout`], existing or not.
#[derive(Debug, Clone)]
pub struct Cgroup<'a> {
    layout: &'a Layout,
    /// Relative to every hierarchy.
    path: PathBuf,
}

impl<'a> Cgroup<'a> {
    /// Names a cgroup; `path` is taken relative to the hierarchies whether it begins with `/` or not.
    #[must_use]
    pub fn new(layout: &'a Layout, path: &Path) -> Self {
        let path = path
            .components()
            .filter(|c| matches!(c, std::path::Component::Normal(_)))
            .collect();
        Self { layout, path }
    }

    /// The hierarchies it is in.
    #[must_use]
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// Its directory in a hierarchy.
    #[must_use]
    pub fn dir(&self, hierarchy: &Hierarchy) -> PathBuf {
        hierarchy.mount.join(&self.path)
    }

    /// Its directory in the tracker.
    #[must_use]
    pub fn tracker(&self) -> PathBuf {
        self.dir(&self.layout.tracker)
    }

    /// Its directory where a v1 controller is, or in v2.
    #[must_use]
    pub fn controller(&self, name: &str) -> Option<PathBuf> {
        self.layout.controller(name).map(|hierarchy| self.dir(hierarchy))
    }

    /// Makes the tracker's directory, with its parents.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn make_tracker(&self) -> Result<PathBuf> {
        let dir = self.tracker();
        make(&dir)?;
        Ok(dir)
    }

    /// Makes the directories of all controllers and writes limits. On v2 the controllers are handed down from the
    /// root as far as this cgroup's parent, and to its children too if it will have some (`parent`).
    ///
    /// # Errors
    /// A directory cannot be made, or the kernel refuses a limit.
    pub fn make(&self, resources: Option<&LinuxResources>, parent: bool) -> Result<()> {
        match self.layout.mode {
            Mode::V2 => unified::make(self, resources, parent),
            Mode::V1 | Mode::Hybrid => v1::make(self, resources, parent),
        }
    }

    /// Moves the calling process into the v1 directories. In v2 it was born where it belongs.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn join(&self, resources: Option<&LinuxResources>) -> Result<()> {
        match self.layout.mode {
            Mode::V2 => Ok(()),
            Mode::V1 | Mode::Hybrid => v1::join(self, resources),
        }
    }

    /// Writes limits of an existing cgroup; what is absent stays as it is.
    ///
    /// # Errors
    /// The kernel refuses a limit.
    pub fn update(&self, resources: &LinuxResources) -> Result<()> {
        match self.layout.mode {
            Mode::V2 => unified::limits(self, resources),
            Mode::V1 | Mode::Hybrid => v1::limits(self, resources),
        }
    }

    /// How often the out-of-memory killer struck a process of this cgroup.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        let Some(hierarchy) = self.layout.controller("memory") else {
            return 0;
        };
        let file = match self.layout.mode {
            Mode::V2 => "memory.events",
            Mode::V1 | Mode::Hybrid => "memory.oom_control",
        };
        let text = fs::read_to_string(self.dir(hierarchy).join(file)).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Removes the tracker's directory, with those below; gone already is fine.
    ///
    /// # Errors
    /// `EBUSY` while a process is in it.
    pub fn remove_tracker(&self) -> Result<()> {
        let dir = self.tracker();
        remove_tree(&dir).during("remove cgroup", dir.display())
    }

    /// Removes the directories of the cgroup above this one where they are empty.
    pub fn remove_empty_parent(&self) {
        let Some(parent) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
            return;
        };
        for hierarchy in self.layout.all() {
            // Others may be in there.
            let _ = fs::remove_dir(hierarchy.mount.join(parent));
        }
    }

    /// Removes the directories in every hierarchy, with those below; gone already is fine.
    ///
    /// # Errors
    /// One list entry for each directory that could not be removed, `EBUSY` while a process is in it.
    pub fn remove(&self) -> Vec<crate::Error> {
        let mut errors = Vec::new();
        for hierarchy in self.layout.all() {
            let dir = self.dir(hierarchy);
            if let Err(source) = remove_tree(&dir) {
                let object = dir.display().to_string();
                errors.push(crate::Error::System {
                    operation: "remove cgroup",
                    object,
                    source,
                });
            }
        }
        errors
    }
}

/// The cgroup of all monitors below the parent of a pod's cgroup: beside the pods, so that monitors are never charged to
/// their limits. Only the tracker has it.
#[must_use]
pub fn monitors(pod: &Path) -> PathBuf {
    pod.parent().unwrap_or(Path::new("/")).join("monitors")
}

/// The cgroup of a pod's pause, below [`monitors`]. It has no controllers of its own, and pause is found there from
/// the pod's name alone.
#[must_use]
pub fn keeper(pod: &Path) -> PathBuf {
    monitors(pod).join(pod.file_name().unwrap_or_default())
}

/// Moves the calling process into a v1 directory.
///
/// # Errors
/// The kernel refuses.
pub fn join_leaf(dir: &Path) -> Result<()> {
    write(dir, "tasks", "0")
}

/// Makes a directory and its parents; there already is fine.
fn make(dir: &Path) -> Result<()> {
    match fs::create_dir(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(dir).during("make cgroup", dir.display())
        }
        Err(error) => Err(error).during("make cgroup", dir.display()),
    }
}

/// Removes a cgroup directory, children first when there are any.
fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir(dir) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Writes a value into a cgroup file with one system call, as the kernel wants it.
fn write(dir: &Path, file: &str, value: impl AsRef<[u8]>) -> Result<()> {
    let path = dir.join(file);
    let mut opened = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .during("open", path.display())?;
    opened.write_all(value.as_ref()).during("write", path.display())
}

/// [`write`] of a number.
fn write_number(dir: &Path, file: &str, value: impl std::fmt::Display) -> Result<()> {
    write(dir, file, value.to_string())
}
