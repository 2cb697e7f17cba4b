//! The v2 hierarchy.

use std::fs;
use std::path::Path;

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxRdma, LinuxResources, LinuxThrottleDevice,
};

use super::Cgroup;
use crate::error::{During, Error, Result};

/// The controllers handed down to all pods where v2 has them. The others are handed down to those who ask for them.
pub(super) const CONTROLLERS: [&str; 6] = ["cpu", "memory", "pids", "cpuset", "io", "hugetlb"];

/// Makes the directory and the controllers in it.
pub(super) fn make(cgroup: &Cgroup<'_>, more: &[String], parent: bool) -> Result<()> {
    let dir = cgroup.tracker();
    let created = match fs::create_dir(&dir) {
        Ok(()) => true,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
        Err(_) => {
            fs::create_dir_all(&dir).during("make cgroup", dir.display())?;
            true
        }
    };
    // Another pod may be making the common parents at the same moment, so their controllers are looked at, not assumed.
    if !created || !more.is_empty() || !dir.join("memory.max").exists() {
        let all: Vec<&str> = CONTROLLERS.into_iter().chain(more.iter().map(String::as_str)).collect();
        hand_down_to(cgroup, &all)?;
    }
    if parent { hand_down(&dir, &CONTROLLERS) } else { Ok(()) }
}

/// Enables controllers in a cgroup, from the root.
pub(super) fn hand_down_to(cgroup: &Cgroup<'_>, controllers: &[&str]) -> Result<()> {
    let mut above = cgroup.layout.tracker.mount.clone();
    hand_down(&above, controllers)?;
    for part in cgroup.path.parent().into_iter().flatten() {
        above.push(part);
        hand_down(&above, controllers)?;
    }
    Ok(())
}

/// Enables in the children of `dir` every controller of these that `dir` itself has.
fn hand_down(dir: &Path, controllers: &[&str]) -> Result<()> {
    let path = dir.join("cgroup.controllers");
    let available = fs::read_to_string(&path).during("read", path.display())?;
    let wanted: Vec<String> = controllers
        .iter()
        .filter(|name| available.split_whitespace().any(|have| have == **name))
        .map(|name| format!("+{name}"))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    super::write(dir, "cgroup.subtree_control", wanted.join(" "))
}

/// Refuses what v1 had and v2 has nothing like.
pub(super) fn check_controller(controller: &str, resources: &LinuxResources) -> Result<()> {
    let refuse = |field: &str| {
        Err(Error::Invalid(format!(
            "linux.resources.{field}: cgroup v2 has nothing like it"
        )))
    };
    match controller {
        "net_cls" | "net_prio" => refuse(&format!("network ({controller})")),
        "cpu" => {
            let cpu = resources.cpu().as_ref();
            let runtime = cpu.and_then(LinuxCpu::realtime_runtime).unwrap_or(0);
            let period = cpu.and_then(LinuxCpu::realtime_period).unwrap_or(0);
            if runtime != 0 || period != 0 {
                return refuse("cpu.realtimeRuntime and realtimePeriod (real-time limits)");
            }
            Ok(())
        }
        "memory" => {
            let Some(memory) = resources.memory() else {
                return Ok(());
            };
            let kernel = memory.kernel();
            let above = |limit: Option<i64>| limit.is_some_and(|limit| limit > 0);
            for (field, present) in [
                ("memory.swappiness", memory.swappiness().is_some()),
                ("memory.disableOOMKiller", memory.disable_oom_killer() == Some(true)),
                ("memory.useHierarchy being off", memory.use_hierarchy() == Some(false)),
                ("memory.kernel", above(kernel)),
                ("memory.kernelTCP", above(memory.kernel_tcp())),
            ] {
                if present {
                    return refuse(field);
                }
            }
            if above(memory.swap()) && memory.limit().is_none_or(|limit| limit == 0) {
                return Err(Error::Invalid(
                    "linux.resources.memory: swap, which is memory and swap together, needs limit with it".to_owned(),
                ));
            }
            Ok(())
        }
        "blkio" => {
            let leaf = |weight: Option<u16>| weight.is_some_and(|weight| weight != 0);
            let io = resources.block_io().as_ref();
            let devices = io.and_then(|io| io.weight_device().as_ref()).into_iter().flatten();
            if leaf(io.and_then(LinuxBlockIo::leaf_weight)) || devices.clone().any(|d| leaf(d.leaf_weight())) {
                return refuse("blockIO.leafWeight");
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Processor time.
pub(super) fn cpu(dir: &Path, cpu: &LinuxCpu) -> Result<()> {
    // What is idle takes no weight.
    if cpu.idle() == Some(0) {
        write_number(dir, "cpu.idle", 0)?;
    }
    if let Some(shares) = cpu.shares().filter(|shares| *shares > 0) {
        write_number(dir, "cpu.weight", weight_from_shares(shares))?;
    }
    let quota = cpu.quota().filter(|quota| *quota != 0).map(maximum);
    let period = cpu.period().filter(|period| *period > 0);
    let burst = cpu.burst();
    // The kernel wants a burst within the quota at every moment.
    let early = burst.is_some_and(|burst| write_number(dir, "cpu.max.burst", burst).is_ok());
    match (quota, period) {
        (Some(quota), Some(period)) => write(dir, "cpu.max", format!("{quota} {period}"))?,
        (Some(quota), None) => write(dir, "cpu.max", quota)?,
        (None, Some(period)) => {
            let path = dir.join("cpu.max");
            let now = fs::read_to_string(&path).during("read", path.display())?;
            let quota = now.split_whitespace().next().unwrap_or("max");
            write(dir, "cpu.max", format!("{quota} {period}"))?;
        }
        (None, None) => {}
    }
    if let Some(burst) = burst.filter(|_| !early) {
        write_number(dir, "cpu.max.burst", burst)?;
    }
    match cpu.idle().filter(|idle| *idle != 0) {
        Some(idle) => write_number(dir, "cpu.idle", idle),
        None => Ok(()),
    }
}

/// Processors and memory nodes, the same in v1 and v2.
pub(super) fn cpuset(dir: &Path, cpu: &LinuxCpu) -> Result<()> {
    for (file, value) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            write(dir, file, value)?;
        }
    }
    Ok(())
}

/// Memory, and swap.
pub(super) fn memory(dir: &Path, memory: &LinuxMemory) -> Result<()> {
    let limit = memory.limit().filter(|limit| *limit != 0);
    if let Some(limit) = limit {
        if memory.check_before_update() == Some(true) {
            check_use(dir, limit)?;
        }
        write(dir, "memory.max", maximum(limit))?;
    }
    let swap = match (memory.swap().filter(|swap| *swap != 0), limit) {
        // The document counts memory and swap together, v2 counts swap alone.
        (Some(swap), Some(limit)) if swap > 0 && limit > 0 => Some((swap - limit).max(0).to_string()),
        (Some(swap), _) => Some(maximum(swap)),
        // What is not limited in memory is not limited together with swap either.
        (None, Some(limit)) if limit < 0 => Some("max".to_owned()),
        (None, _) => None,
    };
    if let Some(swap) = swap {
        // A kernel without swap has no such file, and nothing to limit then.
        match super::write(dir, "memory.swap.max", swap) {
            Err(error) if error.errno() == Some(libc::ENOENT) => {}
            other => other?,
        }
    }
    match memory.reservation().filter(|reservation| *reservation != 0) {
        Some(reservation) => write(dir, "memory.low", maximum(reservation)),
        None => Ok(()),
    }
}

/// v1 refuses a limit that is passed already, v2 kills for it.
fn check_use(dir: &Path, limit: i64) -> Result<()> {
    let path = dir.join("memory.current");
    let text = fs::read_to_string(&path).during("read", path.display())?;
    match text.trim().parse::<i64>() {
        Ok(used) if limit >= 0 && used > limit => Err(Error::Invalid(format!(
            "the memory limit {limit} is below what is in use: {used} bytes"
        ))),
        _ => Ok(()),
    }
}

/// Shares and limits of disks.
pub(super) fn block_io(dir: &Path, io: &LinuxBlockIo) -> Result<()> {
    // BFQ takes the numbers of v1.
    let bfq = dir.join("io.bfq.weight").exists();
    let (file, weight) = if bfq {
        ("io.bfq.weight", None)
    } else {
        ("io.weight", Some(()))
    };
    let weight = |value: u16| weight.map_or(u64::from(value), |()| io_weight(value));
    if let Some(value) = io.weight().filter(|weight| *weight != 0) {
        write_number(dir, file, weight(value))?;
    }
    for device in io.weight_device().iter().flatten() {
        if let Some(value) = device.weight().filter(|weight| *weight != 0) {
            write(
                dir,
                file,
                format!("{}:{} {}", device.major(), device.minor(), weight(value)),
            )?;
        }
    }
    let throttle = |key: &str, devices: &Option<Vec<LinuxThrottleDevice>>| -> Result<()> {
        for device in devices.iter().flatten() {
            // As on v1, no rate is no limit.
            let rate = if device.rate() == 0 {
                "max".to_owned()
            } else {
                device.rate().to_string()
            };
            write(
                dir,
                "io.max",
                format!("{}:{} {key}={rate}", device.major(), device.minor()),
            )?;
        }
        Ok(())
    };
    throttle("rbps", io.throttle_read_bps_device())?;
    throttle("wbps", io.throttle_write_bps_device())?;
    throttle("riops", io.throttle_read_iops_device())?;
    throttle("wiops", io.throttle_write_iops_device())
}

/// The v2 weight for a v1 one: 10 to 1000 become 1 to 10000 in a straight line, as OCI runtimes have agreed on.
pub(crate) fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight.max(10)) - 10) * 9999 / 990
}

/// A limit of huge pages: when they are reserved, where the kernel can, and when they are used.
pub(super) fn huge_pages(dir: &Path, limit: &LinuxHugepageLimit) -> Result<()> {
    let (size, limit) = (limit.page_size(), maximum(limit.limit()));
    let reserved = format!("hugetlb.{size}.rsvd.max");
    if dir.join(&reserved).exists() {
        write(dir, &reserved, &limit)?;
    }
    write(dir, &format!("hugetlb.{size}.max"), limit)
}

/// A limit of a network adapter, the same in v1 and v2.
pub(super) fn rdma(dir: &Path, device: &str, limit: &LinuxRdma) -> Result<()> {
    let mut line = device.to_owned();
    for (key, value) in [("hca_handle", limit.hca_handles()), ("hca_object", limit.hca_objects())] {
        if let Some(value) = value {
            line.push_str(&format!(" {key}={value}"));
        }
    }
    write(dir, "rdma.max", line)
}

/// Writes a limit. A cgroup without the file mostly is one whose parent has not handed the controller down.
pub(super) fn write(dir: &Path, file: &str, value: impl AsRef<[u8]>) -> Result<()> {
    let has = |controller: &str| {
        let all = fs::read_to_string(dir.join("cgroup.controllers"));
        controller == "cgroup" || all.is_ok_and(|all| all.split_whitespace().any(|one| one == controller))
    };
    super::write(dir, file, value).map_err(|error| match file.split_once('.') {
        Some((controller, _)) if error.errno() == Some(libc::ENOENT) && !has(controller) => Error::Invalid(format!(
            "a limit needs the cgroup controller {controller}, which {} does not have",
            dir.display()
        )),
        _ => error,
    })
}

/// [`write`] of a number.
fn write_number(dir: &Path, file: &str, value: impl std::fmt::Display) -> Result<()> {
    write(dir, file, value.to_string())
}

/// A limit as v2 writes it: negative is none.
pub(super) fn maximum(limit: i64) -> String {
    if limit < 0 { "max".to_owned() } else { limit.to_string() }
}

/// The v2 weight for v1 shares, so that 2, 1024 and 262144 shares become 1, 100 and 10000: the curve through these
/// three points that OCI runtimes have agreed on (a straight line gave an ordinary container, 1024 shares, only 39).
#[must_use]
pub fn weight_from_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            #[expect(clippy::cast_precision_loss, reason = "below 2^18 every integer is exact")]
            let log = (shares as f64).log2();
            let weight = 10_f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0).ceil();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 and 10000"
            )]
            let weight = weight as u64;
            weight
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        for (shares, weight) in [(0, 1), (2, 1), (1024, 100), (262_144, 10_000), (1 << 40, 10_000)] {
            assert_eq!(weight_from_shares(shares), weight, "{shares}");
        }
        assert!((3..1024).all(|s| weight_from_shares(s) <= weight_from_shares(s + 1)));
    }

    #[test]
    fn a_missing_controller_is_named() {
        let dir = std::env::temp_dir();
        let error = write(&dir, "memory.max", "1").unwrap_err().to_string();
        assert!(error.contains("needs the cgroup controller memory"), "{error}");
    }

    #[test]
    fn disk_weights_become_weights() {
        for (old, new) in [(10, 1), (500, 4950), (1000, 10_000)] {
            assert_eq!(io_weight(old), new);
        }
    }

    #[test]
    fn negative_limits_are_none() {
        assert_eq!(maximum(-1), "max");
        assert_eq!(maximum(100), "100");
    }
}
