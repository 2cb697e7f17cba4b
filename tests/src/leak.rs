//! What could be left behind on a machine, as seen before and after.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Everything that a node makes outside its own files.
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Snapshot {
    /// Names of network devices.
    pub links: BTreeSet<String>,
    /// The nf_tables rule set.
    pub rules: String,
    /// Routes of the main table.
    pub routes: String,
    /// Mount points.
    pub mounts: BTreeSet<String>,
    /// cgroups below any controller whose name tells that they are ours.
    pub cgroups: BTreeSet<String>,
    /// Kernel parameters that a node changes.
    pub sysctls: Vec<(String, String)>,
    /// Running programs of ours, by name.
    pub processes: BTreeSet<String>,
}

impl Snapshot {
    /// Looks at the namespaces of the process `pid` (`self` for this one), and at cgroups whose path contains `mark`.
    pub fn take(pid: &str, mark: &str) -> Self {
        let inside = |args: &[&str]| -> String {
            let out = Command::new("nsenter")
                .args(["-t", pid, "-n", "-m", "--"])
                .args(args)
                .output()
                .expect("nsenter(1) runs");
            String::from_utf8_lossy(&out.stdout).into_owned()
        };
        let links = inside(&["ip", "-o", "link"])
            .lines()
            .filter_map(|l| l.split(": ").nth(1))
            .map(|l| l.split('@').next().unwrap_or(l).to_owned())
            .collect();
        let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let mounts = table
            .lines()
            .filter_map(|l| l.split(' ').nth(4))
            .map(str::to_owned)
            .collect();
        let mut cgroups = BTreeSet::new();
        walk(Path::new("/sys/fs/cgroup"), mark, 4, &mut cgroups);
        let sysctls = [
            "net.ipv4.ip_forward",
            "net.ipv4.conf.all.route_localnet",
            "net.ipv4.conf.all.rp_filter",
            "net.ipv4.conf.all.send_redirects",
        ]
        .iter()
        .map(|name| {
            (
                (*name).to_owned(),
                inside(&["cat", &format!("/proc/sys/{}", name.replace('.', "/"))]),
            )
        })
        .collect();
        let processes = inside(&["sh", "-c", "cat /proc/[0-9]*/comm"])
            .lines()
            .filter(|c| c.contains("barepod") || *c == "pause")
            .map(str::to_owned)
            .collect();
        Snapshot {
            links,
            rules: inside(&["nft", "list", "ruleset"]),
            routes: inside(&["ip", "route"]),
            mounts,
            cgroups,
            sysctls,
            processes,
        }
    }

    /// Panics with what differs.
    pub fn assert_same(&self, after: &Snapshot) {
        assert_eq!(self.links, after.links, "network devices were left behind");
        assert_eq!(self.rules, after.rules, "nf_tables rules were left behind");
        assert_eq!(self.routes, after.routes, "routes were left behind");
        assert_eq!(self.mounts, after.mounts, "mounts were left behind");
        assert_eq!(self.cgroups, after.cgroups, "cgroups were left behind");
        assert_eq!(self.sysctls, after.sysctls, "kernel parameters were left changed");
        assert_eq!(self.processes, after.processes, "processes were left behind");
    }
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
