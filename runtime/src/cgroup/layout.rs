//! Which cgroup hierarchies this machine has.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};

use crate::error::{During, Error, Result};

/// Where hierarchies are mounted by everyone's convention.
const ROOT: &str = "/sys/fs/cgroup";

/// The v1 controllers that may have a directory for a container.
const V1: [&str; 12] = [
    "cpu", "cpuacct", "memory", "pids", "devices", "freezer", "cpuset", "blkio", "hugetlb", "rdma", "net_cls",
    "net_prio",
];

/// What kind of hierarchies there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// v1 hierarchies only.
    V1,
    /// v1 hierarchies with the controllers, and the v2 one beside them.
    Hybrid,
    /// The v2 hierarchy only.
    V2,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The v1 controllers in it; empty for the v2 hierarchy.
    pub controllers: Vec<&'static str>,
}

/// The hierarchies of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Their kind.
    pub mode: Mode,
    /// The v1 ones.
    pub v1: Vec<Hierarchy>,
    /// The one every process of a pod is in.
    pub tracker: Hierarchy,
    /// The v1 one without controllers that systemd has its units in, alone or beside the v2 one.
    pub named: Option<Hierarchy>,
}

impl Layout {
    /// Looks at what is mounted on `/sys/fs/cgroup`.
    ///
    /// # Errors
    /// There is nothing a container could be tracked in.
    pub fn detect() -> Result<Self> {
        Self::detect_at(Path::new(ROOT))
    }

    fn detect_at(root: &Path) -> Result<Self> {
        let is_v2 = |path: &Path| statfs(path).is_ok_and(|stat| stat.filesystem_type() == CGROUP2_SUPER_MAGIC);
        if is_v2(root) {
            let tracker = Hierarchy {
                mount: root.to_owned(),
                controllers: Vec::new(),
            };
            return Ok(Self {
                mode: Mode::V2,
                v1: Vec::new(),
                tracker,
                named: None,
            });
        }
        let outside = root.metadata().during("look at", root.display())?.dev();
        let mut v1: Vec<(u64, Hierarchy)> = Vec::new();
        for name in V1 {
            let mount = root.join(name);
            let Ok(device) = mount.metadata().map(|metadata| metadata.dev()) else {
                continue;
            };
            if device == outside {
                continue;
            }
            // `cpu` and `cpuacct` are often one hierarchy under two names: each hierarchy is a file system of its own.
            match v1.iter_mut().find(|(known, _)| *known == device) {
                Some((_, hierarchy)) => hierarchy.controllers.push(name),
                None => v1.push((
                    device,
                    Hierarchy {
                        mount,
                        controllers: vec![name],
                    },
                )),
            }
        }
        let v1: Vec<Hierarchy> = v1.into_iter().map(|(_, hierarchy)| hierarchy).collect();
        let named = root.join("systemd");
        let named = statfs(&named)
            .is_ok_and(|stat| stat.filesystem_type() == CGROUP_SUPER_MAGIC)
            .then(|| Hierarchy {
                mount: named,
                controllers: Vec::new(),
            });
        let unified = root.join("unified");
        if is_v2(&unified) {
            let tracker = Hierarchy {
                mount: unified,
                controllers: Vec::new(),
            };
            return Ok(Self {
                mode: Mode::Hybrid,
                v1,
                tracker,
                named,
            });
        }
        let tracker = v1
            .iter()
            .find(|h| h.controllers.contains(&"freezer"))
            .or_else(|| v1.first())
            .cloned();
        let tracker = tracker.ok_or_else(|| {
            Error::NotFound(format!(
                "a cgroup hierarchy below {} (mount cgroup2 there)",
                root.display()
            ))
        })?;
        Ok(Self {
            mode: Mode::V1,
            v1,
            tracker,
            named,
        })
    }

    /// The hierarchy with a controller.
    #[must_use]
    pub fn controller(&self, name: &str) -> Option<&Hierarchy> {
        match self.mode {
            Mode::V2 => Some(&self.tracker),
            Mode::V1 | Mode::Hybrid => self.v1.iter().find(|hierarchy| hierarchy.controllers.contains(&name)),
        }
    }

    /// Whether limits of a controller can be set: its hierarchy is mounted, or the v2 one has it.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        if self.mode != Mode::V2 {
            return self.controller(name).is_some();
        }
        let path = self.tracker.mount.join("cgroup.controllers");
        std::fs::read_to_string(path).is_ok_and(|list| list.split_whitespace().any(|have| have == name))
    }

    /// The v1 hierarchy with a controller.
    #[must_use]
    pub fn v1_hierarchy(&self, name: &str) -> Option<&Hierarchy> {
        self.v1.iter().find(|hierarchy| hierarchy.controllers.contains(&name))
    }

    /// The v1 hierarchy with a controller, or `None` if the v2 hierarchy beside them has it.
    ///
    /// # Errors
    /// Neither has it.
    pub fn v1_or_unified(&self, name: &str) -> Result<Option<&Hierarchy>> {
        if let Some(hierarchy) = self.v1_hierarchy(name) {
            return Ok(Some(hierarchy));
        }
        let new = if name == "blkio" { "io" } else { name };
        // Device rules are programs there and need no controller.
        if self.mode != Mode::V1 && (name == "devices" || self.unified_has(new)?) {
            return Ok(None);
        }
        Err(Error::Invalid(format!(
            "a limit needs the cgroup controller {name}, which is not mounted"
        )))
    }

    /// Whether the v2 hierarchy has a controller.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn unified_has(&self, name: &str) -> Result<bool> {
        let path = self.tracker.mount.join("cgroup.controllers");
        let text = std::fs::read_to_string(&path).during("read", path.display())?;
        Ok(text.split_whitespace().any(|controller| controller == name))
    }

    /// The hierarchy in which systemd sees whether a unit has processes.
    #[must_use]
    pub fn units(&self) -> &Hierarchy {
        let named = self.named.as_ref().filter(|_| self.mode == Mode::V1);
        named.unwrap_or(&self.tracker)
    }

    /// Whether systemd makes and removes directories in a hierarchy: the v2 one, and those of the v1 controllers that it
    /// has limits of. systemd.resource-control(5).
    #[must_use]
    pub fn is_systemds(&self, hierarchy: &Hierarchy) -> bool {
        const CONTROLLERS: [&str; 6] = ["cpu", "cpuacct", "memory", "pids", "devices", "blkio"];
        hierarchy == self.units()
            || hierarchy
                .controllers
                .iter()
                .any(|controller| CONTROLLERS.contains(controller))
    }

    /// Every hierarchy, the tracker first.
    pub fn all(&self) -> impl Iterator<Item = &Hierarchy> {
        std::iter::once(&self.tracker).chain(self.v1.iter().filter(|h| **h != self.tracker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_tracker() {
        let layout = Layout::detect().unwrap();
        assert!(layout.tracker.mount.join("cgroup.procs").exists());
        assert_eq!(layout.all().filter(|h| **h == layout.tracker).count(), 1);
        if layout.mode == Mode::V2 {
            assert_eq!(layout.controller("memory"), Some(&layout.tracker));
        }
    }

    #[test]
    fn a_directory_without_hierarchies_is_refused() {
        assert!(Layout::detect_at(Path::new("/proc")).is_err());
    }
}
