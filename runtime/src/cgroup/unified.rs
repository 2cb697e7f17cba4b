//! The v2 hierarchy when it has the controllers.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxResources, LinuxThrottleDevice};

use super::{Cgroup, devices, limits::bandwidth};
use crate::error::{During, Error, Result};

/// The controllers handed down to pods.
const CONTROLLERS: [&str; 6] = ["cpu", "memory", "pids", "cpuset", "io", "hugetlb"];

/// Makes the directory, the controllers in it, and writes the limits.
pub(super) fn make(cgroup: &Cgroup<'_>, resources: Option<&LinuxResources>, parent: bool) -> Result<()> {
    let mount = &cgroup.layout.tracker.mount;
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
    if !created || !dir.join("memory.max").exists() {
        let mut above = mount.clone();
        hand_down(&above)?;
        for part in cgroup.path.parent().into_iter().flatten() {
            above.push(part);
            hand_down(&above)?;
        }
    }
    resources.map_or(Ok(()), |resources| limits(cgroup, resources))?;
    if parent { hand_down(&dir) } else { Ok(()) }
}

/// Enables in the children of `dir` every controller that `dir` itself has.
fn hand_down(dir: &Path) -> Result<()> {
    let path = dir.join("cgroup.controllers");
    let available = fs::read_to_string(&path).during("read", path.display())?;
    let wanted: Vec<String> = CONTROLLERS
        .iter()
        .filter(|name| available.split_whitespace().any(|have| have == **name))
        .map(|name| format!("+{name}"))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    super::write(dir, "cgroup.subtree_control", wanted.join(" "))
}

/// Writes every limit that is there.
pub(super) fn limits(cgroup: &Cgroup<'_>, resources: &LinuxResources) -> Result<()> {
    let dir = &cgroup.tracker();
    if let Some(cpu) = resources.cpu() {
        if let Some(shares) = cpu.shares().filter(|shares| *shares > 0) {
            write_number(dir, "cpu.weight", weight_from_shares(shares))?;
        }
        if let Some((quota, period)) = bandwidth(resources) {
            write(dir, "cpu.max", format!("{} {period}", maximum(quota)))?;
        }
        if let Some(burst) = cpu.burst() {
            write_number(dir, "cpu.max.burst", burst)?;
        }
        if let Some(idle) = cpu.idle() {
            write_number(dir, "cpu.idle", idle)?;
        }
        for (file, value) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                write(dir, file, value)?;
            }
        }
    }
    memory(dir, resources)?;
    if let Some(limit) = resources
        .pids()
        .as_ref()
        .map(|pids| pids.limit())
        .filter(|limit| *limit != 0)
    {
        write(dir, "pids.max", maximum(limit))?;
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        write(
            dir,
            &format!("hugetlb.{}.max", limit.page_size()),
            maximum(limit.limit()),
        )?;
    }
    if let Some(io) = resources.block_io() {
        block_io(dir, io)?;
    }
    if let Some(rules) = resources.devices().as_ref().filter(|rules| !rules.is_empty()) {
        let opened = File::open(dir).during("open", dir.display())?;
        devices::attach_v2(opened.as_fd(), rules).during("attach the device filter to", dir.display())?;
    }
    // The document's own v2 files come last: they are meant to win.
    for (file, value) in resources.unified().iter().flatten() {
        if file.contains('/') || !file.contains('.') {
            return Err(Error::Invalid(format!("{file} is no cgroup v2 file")));
        }
        write(dir, file, value)?;
    }
    Ok(())
}

fn memory(dir: &Path, resources: &LinuxResources) -> Result<()> {
    let Some(memory) = resources.memory() else {
        return Ok(());
    };
    let limit = memory.limit().filter(|limit| *limit != 0);
    if let Some(limit) = limit {
        write(dir, "memory.max", maximum(limit))?;
    }
    if let Some(swap) = memory.swap().filter(|swap| *swap != 0) {
        // The document counts memory and swap together, v2 counts swap alone.
        let swap = match limit {
            Some(limit) if swap > 0 && limit > 0 => (swap - limit).max(0).to_string(),
            _ => maximum(swap),
        };
        // A kernel without swap accounting has no such file, and nothing to limit then.
        match super::write(dir, "memory.swap.max", swap) {
            Err(error) if error.errno() == Some(libc::ENOENT) => {}
            other => other?,
        }
    }
    if let Some(reservation) = memory.reservation().filter(|reservation| *reservation != 0) {
        write(dir, "memory.low", maximum(reservation))?;
    }
    Ok(())
}

fn block_io(dir: &Path, io: &LinuxBlockIo) -> Result<()> {
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        // 10..=1000 becomes 1..=10000.
        let weight = 1 + (u64::from(weight.max(10)) - 10) * 9999 / 990;
        write_number(dir, "io.weight", weight)?;
    }
    let throttle = |key: &str, devices: &Option<Vec<LinuxThrottleDevice>>| -> Result<()> {
        for device in devices.iter().flatten() {
            write(
                dir,
                "io.max",
                format!("{}:{} {key}={}", device.major(), device.minor(), device.rate()),
            )?;
        }
        Ok(())
    };
    throttle("rbps", io.throttle_read_bps_device())?;
    throttle("wbps", io.throttle_write_bps_device())?;
    throttle("riops", io.throttle_read_iops_device())?;
    throttle("wiops", io.throttle_write_iops_device())
}

/// Writes a limit. A cgroup without the file is one whose parent has not handed the controller down.
fn write(dir: &Path, file: &str, value: impl AsRef<[u8]>) -> Result<()> {
    super::write(dir, file, value).map_err(|error| match file.split_once('.') {
        Some((controller, _)) if error.errno() == Some(libc::ENOENT) => Error::Invalid(format!(
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
    fn negative_limits_are_none() {
        assert_eq!(maximum(-1), "max");
        assert_eq!(maximum(100), "100");
    }
}
