//! What a resource document asks of which controller.

use oci_spec::runtime::LinuxResources;

/// Whether a container with these resources needs a directory in a v1 hierarchy with these controllers. Accounting and
/// the process count are always wanted; the others cost time and are made when something is asked of them.
pub(super) fn wanted(controllers: &[&'static str], resources: Option<&LinuxResources>) -> bool {
    controllers.iter().any(|controller| match *controller {
        "cpu" | "cpuacct" | "memory" | "pids" => true,
        "devices" => resources.is_some_and(|r| r.devices().as_ref().is_some_and(|rules| !rules.is_empty())),
        "cpuset" => resources
            .and_then(|r| r.cpu().as_ref())
            .is_some_and(|c| c.cpus().is_some() || c.mems().is_some()),
        "blkio" => resources.is_some_and(|r| r.block_io().is_some()),
        "hugetlb" => resources.is_some_and(|r| r.hugepage_limits().as_ref().is_some_and(|l| !l.is_empty())),
        _ => false,
    })
}

/// The quota and period of a document, if it speaks of either: microseconds, `-1` for no limit.
pub(super) fn bandwidth(resources: &LinuxResources) -> Option<(i64, u64)> {
    let cpu = resources.cpu().as_ref()?;
    match (cpu.quota(), cpu.period()) {
        (None, None) => None,
        (quota, period) => Some((
            quota.unwrap_or(-1),
            period.filter(|p| *p > 0).unwrap_or(DEFAULT_PERIOD_US),
        )),
    }
}

/// The kernel's own default.
pub(super) const DEFAULT_PERIOD_US: u64 = 100_000;
