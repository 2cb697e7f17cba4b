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
pub(crate) mod devices;
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
pub use kill::{kill, leave_freezers, populated, procs, signal, wait_empty};
pub use layout::{Hierarchy, Layout, Mode};
pub use leaf::Leaf;
pub use limits::check;
pub(crate) use unified::io_weight;
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

    /// Where a v1 controller or what took its place on v2 has its files; in a hybrid v1 comes first.
    fn place(&self, controller: &str) -> Result<limits::Place> {
        if self.layout.mode == Mode::V2 {
            return Ok(limits::Place::V2(self.tracker()));
        }
        Ok(match self.layout.v1_or_unified(controller)? {
            Some(hierarchy) => limits::Place::V1(self.dir(hierarchy)),
            None => limits::Place::V2(self.tracker()),
        })
    }

    /// Makes the directories of all controllers and writes limits. On v2 the controllers are handed down from the
    /// root as far as this cgroup's parent, and to its children too if it will have some (`parent`).
    ///
    /// # Errors
    /// A directory cannot be made, or the kernel refuses a limit; what these hierarchies cannot do is refused before
    /// anything is made.
    pub fn make(&self, resources: Option<&LinuxResources>, parent: bool) -> Result<()> {
        if let Some(resources) = resources {
            check(self.layout, resources)?;
        }
        let more = resources.map_or_else(Vec::new, |resources| limits::handed_down(self.layout, resources));
        match self.layout.mode {
            Mode::V2 => unified::make(self, &more, parent)?,
            Mode::V1 | Mode::Hybrid => {
                v1::make(self, resources, parent)?;
                if !more.is_empty() {
                    let more: Vec<&str> = more.iter().map(String::as_str).collect();
                    make(&self.tracker())?;
                    unified::hand_down_to(self, &more)?;
                }
            }
        }
        resources.map_or(Ok(()), |resources| limits::apply(self, resources))
    }

    /// Moves the calling process into the v1 directories, in the tracker into a leaf if it has one and was not born there.
    /// In v2 it was born where it belongs.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn join(&self, resources: Option<&LinuxResources>, leaf: Option<&Path>) -> Result<()> {
        match self.layout.mode {
            Mode::V2 => Ok(()),
            Mode::V1 | Mode::Hybrid => v1::join(self, resources, leaf),
        }
    }

    /// Moves a process to where systemd looks for those of a unit, which ends with the last: on v2 it was born there, on
    /// v1 it will join the other hierarchies itself.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn take_into_unit(&self, pid: i32) -> Result<()> {
        match &self.layout.named {
            Some(named) if self.layout.mode == Mode::V1 => write_number(&self.dir(named), "cgroup.procs", pid),
            _ => Ok(()),
        }
    }

    /// Writes limits of an existing cgroup; what is absent stays as it is.
    ///
    /// # Errors
    /// The kernel refuses a limit.
    pub fn update(&self, resources: &LinuxResources) -> Result<()> {
        check(self.layout, resources)?;
        limits::apply(self, resources)
    }

    /// Kills all of it when the kernel has to kill one of its processes for memory: v2's `memory.oom.group`.
    ///
    /// # Errors
    /// The memory controller is one of v1, which cannot.
    pub fn kill_as_a_group(&self) -> Result<()> {
        match self.place("memory")? {
            limits::Place::V2(dir) => unified::write(&dir, "memory.oom.group", "1"),
            limits::Place::V1(_) => Err(crate::Error::Invalid(
                "cgroup v1 cannot kill a container as a group when it is out of memory (memory.oom.group)".to_owned(),
            )),
        }
    }

    /// Gives a v2 cgroup to a user, as far as the kernel delegates: OCI runtime specification, "Cgroup ownership".
    ///
    /// # Errors
    /// The owner cannot be changed.
    pub fn give_to(&self, user: u32) -> Result<()> {
        if self.layout.mode != Mode::V2 {
            return Ok(());
        }
        let dir = self.tracker();
        let listed = fs::read_to_string("/sys/kernel/cgroup/delegate");
        let files = listed.unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads".to_owned());
        std::os::unix::fs::chown(&dir, Some(user), None).during("change the owner of", dir.display())?;
        for path in files.lines().map(|file| dir.join(file)) {
            match std::os::unix::fs::chown(&path, Some(user), None) {
                // Not every cgroup has every file.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => other.during("change the owner of", path.display())?,
            }
        }
        Ok(())
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

    /// Removes the directories of the cgroups above this one, where they are empty, from some hierarchies.
    pub fn remove_empty_parents(&self, from: impl Fn(&Hierarchy) -> bool) {
        for hierarchy in self.layout.all().filter(|hierarchy| from(hierarchy)) {
            let above = self
                .path
                .ancestors()
                .skip(1)
                .filter(|path| !path.as_os_str().is_empty());
            for path in above {
                // Others may be in there.
                if fs::remove_dir(hierarchy.mount.join(path)).is_err() {
                    break;
                }
            }
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
