//! From a resource document to the controllers it speaks of, each where the machine has it.

use std::path::PathBuf;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxResources};

use super::{Cgroup, Layout, Mode, devices, unified, v1};
use crate::broken;
use crate::error::{During, Error, Result};

/// Where a controller's files are.
#[derive(Debug)]
pub(super) enum Place {
    /// Of a v1 hierarchy.
    V1(PathBuf),
    /// Of the v2 hierarchy.
    V2(PathBuf),
}

/// Whether a container with these resources needs a directory in a v1 hierarchy with these controllers. Accounting and
/// the process count are always wanted; the others cost time and are made when something is asked of them.
pub(super) fn wanted(controllers: &[&'static str], resources: Option<&LinuxResources>) -> bool {
    controllers.iter().any(|controller| {
        matches!(*controller, "cpu" | "cpuacct" | "memory" | "pids") || speaks_of(resources, controller)
    })
}

/// Whether a document asks something of a v1 controller.
pub(super) fn speaks_of(resources: Option<&LinuxResources>, controller: &str) -> bool {
    let Some(resources) = resources else { return false };
    match controller {
        "cpu" => resources.cpu().as_ref().is_some_and(is_about_time),
        "cpuset" => resources.cpu().as_ref().is_some_and(is_about_places),
        "memory" => resources.memory().is_some(),
        "pids" => resources.pids().is_some(),
        "devices" => resources.devices().as_ref().is_some_and(|rules| !rules.is_empty()),
        "blkio" => resources.block_io().as_ref().is_some_and(is_about_something),
        "hugetlb" => resources
            .hugepage_limits()
            .as_ref()
            .is_some_and(|limits| !limits.is_empty()),
        "rdma" => resources.rdma().as_ref().is_some_and(|limits| !limits.is_empty()),
        "net_cls" => resources
            .network()
            .as_ref()
            .is_some_and(|network| network.class_id().is_some()),
        "net_prio" => resources
            .network()
            .as_ref()
            .is_some_and(|network| network.priorities().as_ref().is_some_and(|list| !list.is_empty())),
        _ => false,
    }
}

fn is_about_time(cpu: &LinuxCpu) -> bool {
    cpu.shares().is_some()
        || cpu.quota().is_some()
        || cpu.period().is_some()
        || cpu.burst().is_some()
        || cpu.idle().is_some()
        || is_about_real_time(cpu)
}

/// Zero is what everybody has.
fn is_about_real_time(cpu: &LinuxCpu) -> bool {
    cpu.realtime_runtime().is_some_and(|runtime| runtime != 0)
        || cpu.realtime_period().is_some_and(|period| period != 0)
}

fn is_about_places(cpu: &LinuxCpu) -> bool {
    let given = |list: &Option<String>| list.as_ref().is_some_and(|list| !list.is_empty());
    given(cpu.cpus()) || given(cpu.mems())
}

fn is_about_something(io: &LinuxBlockIo) -> bool {
    let throttles = [
        io.throttle_read_bps_device(),
        io.throttle_write_bps_device(),
        io.throttle_read_iops_device(),
        io.throttle_write_iops_device(),
    ];
    io.weight().is_some_and(|weight| weight != 0)
        || io.leaf_weight().is_some_and(|weight| weight != 0)
        || io.weight_device().as_ref().is_some_and(|list| !list.is_empty())
        || throttles.into_iter().flatten().any(|list| !list.is_empty())
}

/// The controllers of the v2 hierarchy that have to be handed down for a document beyond [`unified::CONTROLLERS`], or
/// that a hybrid has there and not on v1.
pub(super) fn handed_down(layout: &Layout, resources: &LinuxResources) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (old, new) in MOVED {
        if speaks_of(Some(resources), old) && layout.v1_hierarchy(old).is_none() {
            names.push(new.to_owned());
        }
    }
    for file in resources.unified().iter().flatten().map(|(file, _)| file) {
        if let Some((controller, _)) = file.split_once('.').filter(|(controller, _)| *controller != "cgroup") {
            names.push(controller.to_owned());
        }
    }
    names.retain(|name| layout.mode != Mode::V2 || !unified::CONTROLLERS.contains(&name.as_str()));
    names.sort_unstable();
    names.dedup();
    names
}

/// v1 controllers and the v2 ones that took their place.
const MOVED: [(&str, &str); 7] = [
    ("cpu", "cpu"),
    ("cpuset", "cpuset"),
    ("memory", "memory"),
    ("pids", "pids"),
    ("blkio", "io"),
    ("hugetlb", "hugetlb"),
    ("rdma", "rdma"),
];

/// Refuses what these hierarchies cannot do, before anything is made.
///
/// # Errors
/// The first thing that cannot be done.
pub fn check(layout: &Layout, resources: &LinuxResources) -> Result<()> {
    check_numbers(resources)?;
    for controller in [
        "cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "rdma", "net_cls", "net_prio",
    ] {
        if speaks_of(Some(resources), controller) {
            match layout.mode {
                Mode::V2 => unified::check_controller(controller, resources)?,
                Mode::V1 | Mode::Hybrid => drop(layout.v1_or_unified(controller)?),
            }
        }
    }
    for (file, _) in resources.unified().iter().flatten() {
        let controller = file.split_once('.').map(|(controller, _)| controller);
        let Some(controller) = controller.filter(|_| !file.contains('/')) else {
            return invalid(format!("linux.resources.unified: {file} is no cgroup v2 file"));
        };
        if layout.mode == Mode::V1 || controller != "cgroup" && !layout.unified_has(controller)? {
            return invalid(format!(
                "linux.resources.unified: {file} needs the cgroup v2 controller {controller}, which this machine has not"
            ));
        }
    }
    Ok(())
}

/// What the specification says of numbers, whatever the hierarchy.
fn check_numbers(resources: &LinuxResources) -> Result<()> {
    if let Some(cpu) = resources.cpu()
        && let (Some(quota), Some(burst)) = (cpu.quota().filter(|quota| *quota > 0), cpu.burst())
        && i64::try_from(burst).map_or(true, |burst| burst > quota)
    {
        return invalid("linux.resources.cpu: burst is larger than quota");
    }
    if let Some(memory) = resources.memory() {
        if memory.swappiness().is_some_and(|swappiness| swappiness > 100) {
            return invalid("linux.resources.memory: swappiness is above 100");
        }
        for (field, limit) in [
            ("limit", memory.limit()),
            ("reservation", memory.reservation()),
            ("swap", memory.swap()),
            ("kernel", memory.kernel()),
            ("kernelTCP", memory.kernel_tcp()),
        ] {
            if let Some(limit) = limit.filter(|limit| *limit < -1) {
                return invalid(format!(
                    "linux.resources.memory.{field}: {limit} is no limit, and -1 is none"
                ));
            }
        }
        let given = |limit: Option<i64>| limit.filter(|limit| *limit > 0);
        if given(memory.swap())
            .zip(given(memory.limit()))
            .is_some_and(|(swap, limit)| swap < limit)
        {
            return invalid("linux.resources.memory: swap, which is memory and swap together, is below limit");
        }
    }
    if let Some(io) = resources.block_io() {
        let valid = |weight: u16| weight == 0 || (10..=1000).contains(&weight);
        let weights = [io.weight(), io.leaf_weight()].into_iter().flatten();
        let devices = io.weight_device().iter().flatten();
        let of_devices = devices
            .clone()
            .flat_map(|device| [device.weight(), device.leaf_weight()])
            .flatten();
        if let Some(weight) = weights.chain(of_devices).find(|weight| !valid(*weight)) {
            return invalid(format!(
                "linux.resources.blockIO: the weight {weight} is not from 10 to 1000"
            ));
        }
        if devices
            .clone()
            .any(|device| device.weight().is_none() && device.leaf_weight().is_none())
        {
            return invalid("linux.resources.blockIO.weightDevice: an entry has neither weight nor leafWeight");
        }
    }
    for (device, limit) in resources.rdma().iter().flatten() {
        if limit.hca_handles().is_none() && limit.hca_objects().is_none() {
            return invalid(format!(
                "linux.resources.rdma: {device} has neither hcaHandles nor hcaObjects"
            ));
        }
    }
    Ok(())
}

fn invalid<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(text.into()))
}

/// Writes every limit that is there; what is absent stays as it is.
pub(super) fn apply(cgroup: &Cgroup<'_>, resources: &LinuxResources) -> Result<()> {
    if broken::lacks("limits") {
        return Ok(());
    }
    let asked = |controller: &str| {
        speaks_of(Some(resources), controller)
            .then(|| cgroup.place(controller))
            .transpose()
    };
    if let Some(cpu) = resources.cpu() {
        match asked("cpu")? {
            Some(Place::V1(dir)) => v1::cpu(&dir, cpu)?,
            Some(Place::V2(dir)) => unified::cpu(&dir, cpu)?,
            None => {}
        }
        if let Some(Place::V1(dir) | Place::V2(dir)) = asked("cpuset")? {
            unified::cpuset(&dir, cpu)?;
        }
    }
    if let Some(memory) = resources.memory() {
        match asked("memory")? {
            Some(Place::V1(dir)) => v1::memory(&dir, memory)?,
            Some(Place::V2(dir)) => unified::memory(&dir, memory)?,
            None => {}
        }
    }
    if let (Some(pids), Some(Place::V1(dir) | Place::V2(dir))) = (resources.pids(), asked("pids")?) {
        super::write(&dir, "pids.max", unified::maximum(pids.limit()))?;
    }
    if let Some(io) = resources.block_io() {
        match asked("blkio")? {
            Some(Place::V1(dir)) => v1::block_io(&dir, io)?,
            Some(Place::V2(dir)) => unified::block_io(&dir, io)?,
            None => {}
        }
    }
    if let Some(place) = asked("hugetlb")? {
        for limit in resources.hugepage_limits().iter().flatten() {
            match &place {
                Place::V1(dir) => v1::huge_pages(dir, limit)?,
                Place::V2(dir) => unified::huge_pages(dir, limit)?,
            }
        }
    }
    if let Some(Place::V1(dir) | Place::V2(dir)) = asked("rdma")? {
        for (device, limit) in resources.rdma().iter().flatten() {
            unified::rdma(&dir, device, limit)?;
        }
    }
    if let Some(network) = resources.network() {
        if let (Some(class), Some(Place::V1(dir))) = (network.class_id(), asked("net_cls")?) {
            super::write_number(&dir, "net_cls.classid", class)?;
        }
        if let Some(Place::V1(dir)) = asked("net_prio")? {
            for priority in network.priorities().iter().flatten() {
                let line = format!("{} {}", priority.name(), priority.priority());
                super::write(&dir, "net_prio.ifpriomap", line)?;
            }
        }
    }
    if let (Some(rules), Some(place)) = (resources.devices(), asked("devices")?) {
        match place {
            Place::V1(dir) => devices::write_v1(&dir, rules)?,
            Place::V2(dir) => devices::attach_v2(&dir, rules).during("attach the device filter to", dir.display())?,
        }
    }
    // The document's own v2 files come last: they are meant to win.
    for (file, value) in resources.unified().iter().flatten() {
        // The kernel takes one device in a write.
        for line in value.lines() {
            unified::write(&cgroup.tracker(), file, line)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn layout(mode: Mode) -> Layout {
        Layout {
            mode,
            ..Layout::detect().unwrap()
        }
    }

    fn refused(mode: Mode, resources: Value) -> String {
        let resources: LinuxResources = serde_json::from_value(resources).unwrap();
        check(&layout(mode), &resources).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn what_v2_has_not_is_refused() {
        for (resources, words) in [
            (json!({ "network": { "classID": 1 } }), "net_cls"),
            (json!({ "cpu": { "realtimeRuntime": 1 } }), "real-time"),
            (json!({ "memory": { "swappiness": 10 } }), "swappiness"),
            (json!({ "memory": { "disableOOMKiller": true } }), "disableOOMKiller"),
            (json!({ "memory": { "kernelTCP": 1 } }), "kernelTCP"),
            (json!({ "memory": { "swap": 1 << 20 } }), "swap"),
            (json!({ "blockIO": { "leafWeight": 10 } }), "leafWeight"),
        ] {
            let said = refused(Mode::V2, resources);
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(
            refused(
                Mode::V2,
                json!({ "memory": { "kernel": -1, "disableOOMKiller": false, "useHierarchy": true }, "cpu": { "realtimePeriod": 0 } })
            ),
            ""
        );
    }

    #[test]
    fn v2_files_are_refused_on_v1() {
        let said = refused(Mode::V1, json!({ "unified": { "memory.high": "1" } }));
        assert!(
            said.contains("memory.high needs the cgroup v2 controller memory"),
            "{said}"
        );
        assert!(refused(Mode::V2, json!({ "unified": { "../memory.max": "1" } })).contains("no cgroup v2 file"));
        assert!(refused(Mode::V2, json!({ "unified": { "memory": "1" } })).contains("no cgroup v2 file"));
    }

    #[test]
    fn numbers_that_make_no_sense() {
        for (resources, words) in [
            (json!({ "cpu": { "quota": 1000, "burst": 1001 } }), "burst"),
            (json!({ "memory": { "limit": 2, "swap": 1 } }), "below limit"),
            (json!({ "memory": { "swappiness": 101 } }), "swappiness"),
            (json!({ "blockIO": { "weight": 9 } }), "from 10 to 1000"),
            (
                json!({ "blockIO": { "weightDevice": [{ "major": 8, "minor": 0 }] } }),
                "neither",
            ),
            (json!({ "rdma": { "mlx": {} } }), "neither"),
        ] {
            let resources: LinuxResources = serde_json::from_value(resources).unwrap();
            let said = check_numbers(&resources).unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
    }
}
