//! What a cgroup uses, read through cgroups-rs.

use std::path::Path;

use cgroups_rs::fs::cgroup::Cgroup as Group;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::cpuacct::CpuAcctController;
use cgroups_rs::fs::hierarchies;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use serde::Serialize;

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
    if let Some(memory) = group.controller_of::<MemController>() {
        let stat = memory.memory_stat();
        usage.memory_bytes = stat.usage_in_bytes;
        let inactive = if stat.stat.total_inactive_file > 0 {
            stat.stat.total_inactive_file
        } else {
            stat.stat.inactive_file
        };
        usage.working_set_bytes = usage.memory_bytes.saturating_sub(inactive);
        if let Ok(limit) = u64::try_from(stat.limit_in_bytes) {
            // v1 has no word for "none": it is the largest multiple of a page.
            usage.memory_limit_bytes = if limit >= 1 << 62 { u64::MAX } else { limit };
        }
    }
    if let Some(pids) = group.controller_of::<PidController>() {
        usage.pids = pids.get_pid_current().unwrap_or(0);
    }
    usage
}
