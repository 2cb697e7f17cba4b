//! The v1 hierarchies: one directory for each, limits as files, and processes that move themselves.

use std::fs;
use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxResources, LinuxThrottleDevice};

use super::{Cgroup, Hierarchy, devices, limits::bandwidth, limits::wanted, write, write_number};
use crate::error::{Error, Result};

/// Makes the directories a container with these resources needs, and writes the limits.
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
    resources.map_or(Ok(()), |resources| limits(cgroup, resources))
}

/// Moves the calling process in. `0` is the writer; `tasks` moves one thread and therefore needs no global lock, which
/// writing `cgroup.procs` would wait an RCU grace period for.
pub(super) fn join(cgroup: &Cgroup<'_>, resources: Option<&LinuxResources>) -> Result<()> {
    for hierarchy in hierarchies(cgroup, resources) {
        write(&cgroup.dir(hierarchy), "tasks", "0")?;
    }
    Ok(())
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

/// Writes every limit that is there.
pub(super) fn limits(cgroup: &Cgroup<'_>, resources: &LinuxResources) -> Result<()> {
    let dir = |controller: &str| {
        cgroup.controller(controller).ok_or_else(|| {
            Error::Invalid(format!(
                "a limit needs the cgroup controller {controller}, which is not mounted"
            ))
        })
    };
    if let Some(cpu) = resources.cpu() {
        if let Some(shares) = cpu.shares().filter(|shares| *shares > 0) {
            write_number(&dir("cpu")?, "cpu.shares", shares.clamp(2, 262_144))?;
        }
        if let Some((quota, period)) = bandwidth(resources) {
            set_bandwidth(&dir("cpu")?, quota, period)?;
        }
        if let Some(burst) = cpu.burst() {
            write_number(&dir("cpu")?, "cpu.cfs_burst_us", burst)?;
        }
        if let Some(idle) = cpu.idle() {
            write_number(&dir("cpu")?, "cpu.idle", idle)?;
        }
        for (file, value) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                write(&dir("cpuset")?, file, value)?;
            }
        }
    }
    if resources.memory().is_some() {
        memory(&dir("memory")?, resources)?;
    }
    if let Some(limit) = resources
        .pids()
        .as_ref()
        .map(|pids| pids.limit())
        .filter(|limit| *limit != 0)
    {
        write(&dir("pids")?, "pids.max", super::unified::maximum(limit))?;
    }
    if let Some(rules) = resources.devices().as_ref().filter(|rules| !rules.is_empty()) {
        devices::write_v1(&dir("devices")?, rules)?;
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        write_number(
            &dir("hugetlb")?,
            &format!("hugetlb.{}.limit_in_bytes", limit.page_size()),
            limit.limit(),
        )?;
    }
    if let Some(io) = resources.block_io() {
        block_io(&dir("blkio")?, io)?;
    }
    Ok(())
}

/// The kernel refuses a period that would make the present quota larger than the parent's, and the other way round:
/// whichever can be written first is written first.
fn set_bandwidth(dir: &Path, quota: i64, period: u64) -> Result<()> {
    if write_number(dir, "cpu.cfs_period_us", period).is_ok() {
        return write_number(dir, "cpu.cfs_quota_us", quota);
    }
    write_number(dir, "cpu.cfs_quota_us", quota)?;
    write_number(dir, "cpu.cfs_period_us", period)
}

fn memory(dir: &Path, resources: &LinuxResources) -> Result<()> {
    let Some(memory) = resources.memory() else {
        return Ok(());
    };
    let limit = memory.limit().filter(|limit| *limit != 0);
    let swap = memory.swap().filter(|swap| *swap != 0);
    if let (Some(limit), Some(swap)) = (limit, swap) {
        // Memory and swap together may never be below memory alone, at no moment in between either.
        if write_number(dir, "memory.limit_in_bytes", limit).is_err() {
            write_number(dir, "memory.memsw.limit_in_bytes", swap)?;
            write_number(dir, "memory.limit_in_bytes", limit)?;
        } else {
            write_number(dir, "memory.memsw.limit_in_bytes", swap)?;
        }
    } else if let Some(limit) = limit {
        write_number(dir, "memory.limit_in_bytes", limit)?;
    } else if let Some(swap) = swap {
        write_number(dir, "memory.memsw.limit_in_bytes", swap)?;
    }
    if let Some(reservation) = memory.reservation().filter(|reservation| *reservation != 0) {
        write_number(dir, "memory.soft_limit_in_bytes", reservation)?;
    }
    if let Some(swappiness) = memory.swappiness() {
        write_number(dir, "memory.swappiness", swappiness)?;
    }
    if memory.disable_oom_killer() == Some(true) {
        write(dir, "memory.oom_control", "1")?;
    }
    Ok(())
}

fn block_io(dir: &Path, io: &LinuxBlockIo) -> Result<()> {
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        // The name depends on the scheduler: CFQ's was replaced by BFQ's in Linux 5.0.
        if write_number(dir, "blkio.weight", weight).is_err() {
            write_number(dir, "blkio.bfq.weight", weight)?;
        }
    }
    let throttle = |file: &str, devices: &Option<Vec<LinuxThrottleDevice>>| -> Result<()> {
        for device in devices.iter().flatten() {
            write(
                dir,
                file,
                format!("{}:{} {}", device.major(), device.minor(), device.rate()),
            )?;
        }
        Ok(())
    };
    throttle("blkio.throttle.read_bps_device", io.throttle_read_bps_device())?;
    throttle("blkio.throttle.write_bps_device", io.throttle_write_bps_device())?;
    throttle("blkio.throttle.read_iops_device", io.throttle_read_iops_device())?;
    throttle("blkio.throttle.write_iops_device", io.throttle_write_iops_device())
}
