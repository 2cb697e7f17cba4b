//! What could be left behind on a machine, as seen before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::Ran;
use crate::namespaces::inside;

/// Everything that a node makes or changes.
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Snapshot {
    /// Names of network devices.
    pub links: BTreeSet<String>,
    /// The nf_tables rule set.
    pub rules: String,
    /// IPv4 routes and rules of every table.
    pub routes: String,
    /// Mount points.
    pub mounts: BTreeSet<String>,
    /// cgroups below any controller whose name tells that they are ours.
    pub cgroups: BTreeSet<String>,
    /// Kernel parameters of the network.
    pub sysctls: BTreeMap<String, String>,
    /// Running programs of ours, by name.
    pub processes: BTreeSet<String>,
    /// All other running programs, by name.
    pub programs: BTreeSet<String>,
    /// The files of a directory, with modes, owners and sizes.
    pub files: BTreeSet<String>,
}

impl Snapshot {
    /// Looks at the namespaces of the process `pid`, and at cgroups whose path contains `mark`.
    pub fn take(pid: &str, mark: &str) -> Self {
        let told = |script: &str| Ran::of(inside(pid, "bash").args(["-c", script])).stdout;
        let lines = |script: &str| told(script).lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let all = lines("for p in /proc/[0-9]*; do [ ${p#/proc/} = $$ ] || cat $p/comm; done 2>/dev/null");
        let (processes, programs) = all
            .into_iter()
            .filter(|name| name != "cat")
            .partition(|name| name.contains("barepod") || name == "pause");
        Snapshot {
            links: lines("ip -o link | cut -d: -f2 | cut -d@ -f1 | tr -d ' '"),
            rules: told("nft list ruleset"),
            routes: told("ip -4 route show table all; ip -4 rule"),
            mounts: table
                .lines()
                .filter_map(|l| l.split(' ').nth(4))
                .map(str::to_owned)
                .collect(),
            cgroups: cgroups(mark),
            sysctls: told("cd /proc/sys/net; grep -rs . . | grep -v -e nf_conntrack_count -e /neigh/ -e /flush:")
                .lines()
                .filter_map(|l| l.split_once(':'))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            processes,
            programs,
            files: BTreeSet::new(),
        }
    }

    /// Looks at the files below a directory as well.
    pub fn with_files(mut self, pid: &str, dir: &Path) -> Self {
        let find = "find . -path ./.kube -prune -o -type f -printf '%p %m %U:%G %s\\n' -o -printf '%p %m %U:%G\\n'";
        let script = format!("cd {} && {find}", dir.display());
        let listed = Ran::of(inside(pid, "bash").args(["-c", &script])).stdout;
        self.files = listed.lines().map(str::to_owned).collect();
        self
    }

    /// Panics with what differs.
    pub fn assert_same(&self, after: &Snapshot) {
        assert_eq!(self.links, after.links, "network devices were left behind");
        assert_eq!(self.rules, after.rules, "nf_tables rules were left behind");
        assert_eq!(self.routes, after.routes, "routes were left behind");
        assert_eq!(self.mounts, after.mounts, "mounts were left behind");
        assert_eq!(self.cgroups, after.cgroups, "cgroups were left behind");
        assert_eq!(self.processes, after.processes, "processes were left behind");
        assert_eq!(self.programs, after.programs, "processes were left behind");
        assert_eq!(self.files, after.files, "files were left behind or changed");
        // Modules loaded meanwhile bring new parameters.
        for (name, value) in &self.sysctls {
            assert_eq!(
                after.sysctls.get(name),
                Some(value),
                "kernel parameter {name} was left changed"
            );
        }
    }
}

/// The cgroups below any controller whose path contains `mark`, parents first.
pub fn cgroups(mark: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(Path::new("/sys/fs/cgroup"), mark, 5, &mut found);
    found
}

fn walk(dir: &Path, mark: &str, depth: u32, found: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        let path = entry.path();
        if path.to_string_lossy().contains(mark) {
            found.insert(path.display().to_string());
        }
        if depth > 0 {
            walk(&path, mark, depth - 1, found);
        }
    }
}
