//! The v1 hierarchies: one directory for each, limits as files, and processes that move themselves.

use std::fs;
use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use super::{Cgroup, Hierarchy, limits::wanted, write, write_number};
use crate::error::{Error, Result};

/// How often a leaf is made again.
const ATTEMPTS: usize = 100;

/// Makes the directories a container with these resources needs.
pub(super) fn make(cgroup: &Cgroup<'_>, resources: Option<&LinuxResources>, parent: bool) -> Result<()> {
    // Nearly every container has device rules, and then finds the parent of its directory there.
    let devices = |h: &&Hierarchy| parent && h.controllers.contains(&"devices") && !wanted(&h.controllers, resources);
    for hierarchy in hierarchies(cgroup, resources).chain(cgroup.layout.v1.iter().filter(devices)) {
        let dir = cgroup.dir(hierarchy);
        super::make(&dir)?;
        if hierarchy.controllers.contains(&"cpuset") {
            inherit_cpuset(&hierarchy.mount, &dir)?;
        }
    }
    Ok(())
}

/// Moves the calling process in. `0` is the writer; `tasks` moves one thread and therefore needs no global lock, which
/// writing `cgroup.procs` would wait an RCU grace period for.
pub(super) fn join(cgroup: &Cgroup<'_>, resources: Option<&LinuxResources>, leaf: Option<&Path>) -> Result<()> {
    // There only if systemd has made it.
    let unit = cgroup.layout.named.iter().filter(|named| cgroup.dir(named).exists());
    for hierarchy in hierarchies(cgroup, resources).chain(unit) {
        match leaf {
            Some(leaf) if *hierarchy == cgroup.layout.tracker => join_leaf(leaf)?,
            _ => write(&cgroup.dir(hierarchy), "tasks", "0")?,
        }
    }
    Ok(())
}

/// Whoever executes something at the same moment may have taken the empty leaf for one that is over.
fn join_leaf(leaf: &Path) -> Result<()> {
    let mut joined = write(leaf, "tasks", "0");
    for _ in 0..ATTEMPTS {
        match &joined {
            Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::ENODEV)) => {
                super::make(leaf)?;
                joined = write(leaf, "tasks", "0");
            }
            _ => break,
        }
    }
    joined
}

/// The v1 hierarchies in which such a container has a directory. The tracker is not among them in a hybrid: the
/// process is born in it.
fn hierarchies<'a>(cgroup: &Cgroup<'a>, resources: Option<&LinuxResources>) -> impl Iterator<Item = &'a Hierarchy> {
    let layout = cgroup.layout;
    layout
        .v1
        .iter()
        .filter(move |h| wanted(&h.controllers, resources) || **h == layout.tracker)
}

/// A new v1 cpuset has no processors and no memory nodes and takes nobody in: they are copied from its parent,
/// from the top.
fn inherit_cpuset(mount: &Path, dir: &Path) -> Result<()> {
    let below = dir.strip_prefix(mount).unwrap_or(dir);
    let mut parent = mount.to_owned();
    for part in below {
        let child = parent.join(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let current = fs::read_to_string(child.join(file)).unwrap_or_default();
            if current.trim().is_empty() {
                write(
                    &child,
                    file,
                    fs::read_to_string(parent.join(file)).unwrap_or_default().trim(),
                )?;
            }
        }
        parent = child;
    }
    Ok(())
}

/// [`write_number`] to a file that a kernel may do without.
fn write_if_known(dir: &Path, file: &str, value: impl std::fmt::Display) -> Result<()> {
    write_number(dir, file, value).map_err(|error| match error.errno() {
        Some(libc::ENOENT | libc::EOPNOTSUPP) => {
            Error::Invalid(format!("this kernel does not support the limit {file}"))
        }
        _ => error,
    })
}

/// Processor time.
pub(super) fn cpu(dir: &Path, cpu: &LinuxCpu) -> Result<()> {
    // What is idle takes no shares.
    if cpu.idle() == Some(0) {
        write_if_known(dir, "cpu.idle", 0)?;
    }
    if let Some(shares) = cpu.shares().filter(|shares| *shares > 0) {
        write_number(dir, "cpu.shares", shares.clamp(2, 262_144))?;
    }
    bandwidth(dir, cpu)?;
    real_time(dir, cpu)?;
    match cpu.idle().filter(|idle| *idle != 0) {
        Some(idle) => write_if_known(dir, "cpu.idle", idle),
        None => Ok(()),
    }
}

/// The kernel refuses a period that would make the present quota larger than the parent's, and a quota below the present
/// burst, and the other ways round: whichever can be written first is written first.
fn bandwidth(dir: &Path, cpu: &LinuxCpu) -> Result<()> {
    let mut values = Vec::new();
    values.extend(
        cpu.period()
            .filter(|period| *period > 0)
            .map(|period| ("cpu.cfs_period_us", period.to_string())),
    );
    values.extend(
        cpu.quota()
            .filter(|quota| *quota != 0)
            .map(|quota| ("cpu.cfs_quota_us", quota.max(-1).to_string())),
    );
    values.extend(cpu.burst().map(|burst| ("cpu.cfs_burst_us", burst.to_string())));
    in_any_order(dir, values)
}

fn real_time(dir: &Path, cpu: &LinuxCpu) -> Result<()> {
    let mut values = Vec::new();
    values.extend(
        cpu.realtime_period()
            .filter(|period| *period != 0)
            .map(|period| ("cpu.rt_period_us", period.to_string())),
    );
    values.extend(
        cpu.realtime_runtime()
            .filter(|runtime| *runtime != 0)
            .map(|runtime| ("cpu.rt_runtime_us", runtime.to_string())),
    );
    if !values.is_empty() && !dir.join("cpu.rt_runtime_us").exists() {
        return Err(Error::Invalid(
            "this kernel has no real-time limits of cgroups (CONFIG_RT_GROUP_SCHED)".to_owned(),
        ));
    }
    in_any_order(dir, values)
}

/// Writes values that depend on each other: those that are refused again after the others.
fn in_any_order(dir: &Path, mut values: Vec<(&str, String)>) -> Result<()> {
    while !values.is_empty() {
        let before = values.len();
        let mut refused = None;
        values.retain(|(file, value)| match write_if_known(dir, file, value) {
            Ok(()) => false,
            Err(error) => {
                refused.get_or_insert(error);
                true
            }
        });
        if values.len() == before
            && let Some(error) = refused
        {
            return Err(error);
        }
    }
    Ok(())
}

/// Memory, and swap.
pub(super) fn memory(dir: &Path, memory: &LinuxMemory) -> Result<()> {
    const LIMIT: &str = "memory.limit_in_bytes";
    const BOTH: &str = "memory.memsw.limit_in_bytes";
    if memory.use_hierarchy() == Some(false) {
        write_if_known(dir, "memory.use_hierarchy", 0)?;
    }
    let given = |limit: Option<i64>| limit.filter(|limit| *limit != 0);
    let (limit, mut swap) = (given(memory.limit()), given(memory.swap()));
    if limit == Some(-1) && swap.is_none() && dir.join(BOTH).exists() {
        // Memory cannot be unlimited while memory and swap together are not.
        swap = Some(-1);
    }
    // Memory and swap together may never be below memory alone, at no moment in between either.
    let mut values = Vec::new();
    values.extend(limit.map(|limit| (LIMIT, limit.to_string())));
    values.extend(swap.map(|swap| (BOTH, swap.to_string())));
    in_any_order(dir, values)?;
    if let Some(reservation) = given(memory.reservation()) {
        write_number(dir, "memory.soft_limit_in_bytes", reservation)?;
    }
    let kernel = memory.kernel();
    for (file, limit) in [
        ("memory.kmem.limit_in_bytes", kernel),
        ("memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp()),
    ] {
        if let Some(limit) = limit.filter(|limit| *limit > 0) {
            write_if_known(dir, file, limit)?;
        }
    }
    if let Some(swappiness) = memory.swappiness() {
        write_number(dir, "memory.swappiness", swappiness)?;
    }
    match memory.disable_oom_killer() {
        Some(true) => write(dir, "memory.oom_control", "1"),
        // It is so at first, and writing is what takes time.
        Some(false)
            if fs::read_to_string(dir.join("memory.oom_control")).is_ok_and(|text| text.contains("disable 1")) =>
        {
            write(dir, "memory.oom_control", "0")
        }
        _ => Ok(()),
    }
}

/// A limit of huge pages: when they are reserved, where the kernel can, and when they are used.
pub(super) fn huge_pages(dir: &Path, limit: &LinuxHugepageLimit) -> Result<()> {
    let (size, limit) = (limit.page_size(), limit.limit());
    let reserved = format!("hugetlb.{size}.rsvd.limit_in_bytes");
    if dir.join(&reserved).exists() {
        write_number(dir, &reserved, limit)?;
    }
    write_if_known(dir, &format!("hugetlb.{size}.limit_in_bytes"), limit)
}

/// Shares and limits of disks.
pub(super) fn block_io(dir: &Path, io: &LinuxBlockIo) -> Result<()> {
    let given = |weight: Option<u16>| weight.filter(|weight| *weight != 0);
    // The name depends on the scheduler: CFQ's was replaced by BFQ's in Linux 5.0.
    let weight = |file: &str, value: String| {
        let new = dir.join(format!("blkio.bfq.{file}"));
        let prefix = if new.exists() { "blkio.bfq" } else { "blkio" };
        write_if_known(dir, &format!("{prefix}.{file}"), value)
    };
    if let Some(value) = given(io.weight()) {
        weight("weight", value.to_string())?;
    }
    if let Some(value) = given(io.leaf_weight()) {
        write_if_known(dir, "blkio.leaf_weight", value)?;
    }
    for device in io.weight_device().iter().flatten() {
        let number = format!("{}:{}", device.major(), device.minor());
        if let Some(value) = device.weight() {
            weight("weight_device", format!("{number} {value}"))?;
        }
        if let Some(value) = given(device.leaf_weight()) {
            write_if_known(dir, "blkio.leaf_weight_device", format!("{number} {value}"))?;
        }
    }
    let throttle = |file: &str, devices: &Option<Vec<LinuxThrottleDevice>>| -> Result<()> {
        for device in devices.iter().flatten() {
            let line = format!("{}:{} {}", device.major(), device.minor(), device.rate());
            write_if_known(dir, file, line)?;
        }
        Ok(())
    };
    throttle("blkio.throttle.read_bps_device", io.throttle_read_bps_device())?;
    throttle("blkio.throttle.write_bps_device", io.throttle_write_bps_device())?;
    throttle("blkio.throttle.read_iops_device", io.throttle_read_iops_device())?;
    throttle("blkio.throttle.write_iops_device", io.throttle_write_iops_device())
}
