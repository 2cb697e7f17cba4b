//! What a cgroup uses, read through cgroups-rs; memory is read here, where a cgroup that goes away meanwhile is no panic.

use std::fs;
use std::path::Path;

use cgroups_rs::cgroup::Cgroup as Group;
use cgroups_rs::cpu::CpuController;
use cgroups_rs::cpuacct::CpuAcctController;
use cgroups_rs::hierarchies;
use cgroups_rs::pid::PidController;
use serde::Serialize;

use super::Cgroup;
use super::layout::Layout;

/// Usage at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Processor time used since the cgroup was made.
    pub cpu_ns: u64,
    /// How long it was kept from running by its quota.
    pub throttled_ns: u64,
    /// Memory charged, page cache included.
    pub memory_bytes: u64,
    /// Memory charged without the page cache that can be dropped at once.
    pub working_set_bytes: u64,
    /// The memory limit, `u64::MAX` for none.
    pub memory_limit_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// Reads the usage of a cgroup, given by its path below every hierarchy. What a missing controller would know is 0.
#[must_use]
pub fn usage(path: &Path) -> Usage {
    let group = Group::load(hierarchies::auto(), path.strip_prefix("/").unwrap_or(path));
    let mut usage = Usage {
        memory_limit_bytes: u64::MAX,
        ..Usage::default()
    };
    if let Some(account) = group.controller_of::<CpuAcctController>() {
        usage.cpu_ns = account.cpuacct().usage;
    }
    if let Some(cpu) = group.controller_of::<CpuController>() {
        let stat = cpu.cpu().stat;
        let field = |name: &str| {
            stat.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<u64>().ok())
        };
        if usage.cpu_ns == 0 {
            usage.cpu_ns = field("usage_usec").unwrap_or(0) * 1000;
        }
        usage.throttled_ns = field("throttled_time")
            .or_else(|| field("throttled_usec").map(|us| us * 1000))
            .unwrap_or(0);
    }
    memory(path, &mut usage);
    if let Some(pids) = group.controller_of::<PidController>() {
        usage.pids = pids.get_pid_current().unwrap_or(0);
    }
    usage
}

fn memory(path: &Path, usage: &mut Usage) {
    let Ok(layout) = Layout::detect() else { return };
    let Some(dir) = Cgroup::new(&layout, path).controller("memory") else {
        return;
    };
    // The name on v2 first, then the one on v1.
    let number = |names: [&str; 2]| {
        let read = |name| fs::read_to_string(dir.join(name)).ok();
        names.into_iter().find_map(read)?.trim().parse::<u64>().ok()
    };
    usage.memory_bytes = number(["memory.current", "memory.usage_in_bytes"]).unwrap_or(0);
    let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
    // v1 has both: the first counts the cgroups below as well.
    let inactive = ["total_inactive_file ", "inactive_file "]
        .into_iter()
        .find_map(|name| stat.lines().find_map(|line| line.strip_prefix(name)));
    let inactive = inactive.and_then(|text| text.parse().ok()).unwrap_or(0);
    usage.working_set_bytes = usage.memory_bytes.saturating_sub(inactive);
    // v2 has a word for "none", which is no number; v1 the largest multiple of a page.
    if let Some(limit) = number(["memory.max", "memory.limit_in_bytes"]).filter(|limit| *limit < 1 << 62) {
        usage.memory_limit_bytes = limit;
    }
}
