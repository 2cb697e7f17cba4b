//! Limits as systemd's properties: systemd.resource-control(5). The cgroup's files are written as well. Whenever systemd
//! loads its files again it writes all that it has a property for, so it has to know every limit.

use std::collections::BTreeMap;
use std::path::Path;

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use super::devices::Allowed;
use super::gvariant;
use super::wire::{Property, Value};
use crate::cgroup::{Layout, Mode, io_weight, weight_from_shares};
use crate::document::{OOM_GROUP, SYSTEMD_PROPERTY, is_yes};
use crate::error::{Error, Result};

/// What systemd calls no limit.
const INFINITY: u64 = u64::MAX;
const SECOND_US: u64 = 1_000_000;
/// Without a word on it, as the kernel has it.
const PERIOD_US: u64 = 100_000;
/// The weight of everyone, and that of those who get what nobody else wants.
const WEIGHT: u64 = 100;
const IDLE: u64 = 0;

/// What the scope is made with, and cannot be without.
const OWN: [&str; 3] = ["Delegate", "PIDs", "Slice"];

/// v2 files that systemd has a property for. Later ones win.
type Translation = fn(&str) -> Option<Value>;
const UNIFIED: [(&str, &str, Translation); 11] = [
    ("cpu.weight", "CPUWeight", limit),
    ("cpu.idle", "CPUWeight", idle),
    ("cpuset.cpus", "AllowedCPUs", places),
    ("cpuset.mems", "AllowedMemoryNodes", places),
    ("io.weight", "IOWeight", default_weight),
    ("memory.min", "MemoryMin", limit),
    ("memory.low", "MemoryLow", limit),
    ("memory.high", "MemoryHigh", limit),
    ("memory.max", "MemoryMax", limit),
    ("memory.swap.max", "MemorySwapMax", limit),
    ("pids.max", "TasksMax", limit),
];

/// The properties of the limits that are there, for a scope whose cgroup is `dir`.
///
/// # Errors
/// systemd would undo them, because it cannot be told.
pub fn of(layout: &Layout, dir: &Path, resources: &LinuxResources) -> Result<Vec<Property>> {
    let v2 = layout.mode == Mode::V2;
    let mut all = Vec::new();
    if let Some(rules) = resources.devices().as_ref().filter(|rules| !rules.is_empty()) {
        let allowed = Allowed::by(rules);
        // On v2 a device has to be allowed by systemd's program and by ours.
        if !allowed.exact && layout.v1_hierarchy("devices").is_some() {
            return Err(Error::Invalid(
                "linux.resources.devices: systemd keeps no exceptions from what is allowed on cgroup v1, and would allow \
                 them (--systemd-cgroup): write the rules so that nothing is denied after something is allowed"
                    .to_owned(),
            ));
        }
        all.extend(allowed.properties());
    }
    if let Some(of_memory) = resources.memory() {
        memory(of_memory, v2, &mut all);
    }
    if let Some(of_cpu) = resources.cpu() {
        cpu(of_cpu, v2, &mut all);
    }
    let pids = resources.pids().as_ref().map(|pids| pids.limit());
    if let Some(limit) = amount(pids) {
        all.push(("TasksMax".into(), Value::u64(limit)));
    }
    let weight = resources.block_io().as_ref().and_then(|io| io.weight());
    if let Some(weight) = weight.filter(|weight| *weight != 0) {
        all.push(if !v2 {
            ("BlockIOWeight".into(), Value::u64(weight.into()))
        } else if dir.join("io.bfq.weight").exists() {
            ("IOWeight".into(), Value::u64(from_bfq(weight.into())))
        } else {
            ("IOWeight".into(), Value::u64(io_weight(weight)))
        });
    }
    if let Some(files) = resources.unified().as_ref().filter(|_| v2) {
        if let Some((quota, period)) = files.get("cpu.max").and_then(|text| bandwidth(text)) {
            processor_time(quota, period, &mut all);
        }
        for (file, property, value) in UNIFIED {
            let value = files.get(file).and_then(|text| value(text.trim()));
            all.extend(value.map(|value| (property.into(), value)));
        }
    }
    Ok(all)
}

/// The properties that a scope is made with and keeps.
pub fn lasting(resources: Option<&LinuxResources>, annotations: &BTreeMap<String, String>) -> Option<Property> {
    let file = resources.and_then(|resources| resources.unified().as_ref()?.get("memory.oom.group"));
    let annotation = annotations.get(OOM_GROUP).map(|value| is_yes(value));
    let group = file.map(|value| value.trim() == "1").or(annotation)?;
    Some(("OOMPolicy".into(), Value::text(if group { "kill" } else { "continue" })))
}

fn memory(memory: &LinuxMemory, v2: bool, all: &mut Vec<Property>) {
    let limit = amount(memory.limit());
    if let Some(limit) = limit {
        all.push((if v2 { "MemoryMax" } else { "MemoryLimit" }.into(), Value::u64(limit)));
    }
    if !v2 {
        return;
    }
    if let Some(low) = amount(memory.reservation()) {
        all.push(("MemoryLow".into(), Value::u64(low)));
    }
    // The document counts memory and swap together, v2 counts swap alone.
    let swap = match (amount(memory.swap()), limit) {
        (Some(swap), Some(limit)) if swap != INFINITY && limit != INFINITY => Some(swap.saturating_sub(limit)),
        (Some(swap), _) => Some(swap),
        (None, limit) => limit.filter(|limit| *limit == INFINITY),
    };
    all.extend(swap.map(|swap| ("MemorySwapMax".into(), Value::u64(swap))));
}

fn cpu(cpu: &LinuxCpu, v2: bool, all: &mut Vec<Property>) {
    let shares = cpu.shares().filter(|shares| *shares != 0);
    let weight = match (v2, cpu.idle(), shares) {
        (false, _, shares) => shares.map(|shares| ("CPUShares", shares)),
        (true, Some(1), _) => Some(("CPUWeight", IDLE)),
        (true, Some(_), None) => Some(("CPUWeight", WEIGHT)),
        (true, _, shares) => shares.map(|shares| ("CPUWeight", weight_from_shares(shares))),
    };
    all.extend(weight.map(|(name, weight)| (name.into(), Value::u64(weight))));
    let quota = cpu.quota().filter(|quota| *quota != 0);
    processor_time(quota, cpu.period().filter(|period| *period != 0), all);
    if v2 {
        for (name, list) in [("AllowedCPUs", cpu.cpus()), ("AllowedMemoryNodes", cpu.mems())] {
            let list = list.as_deref().and_then(places);
            all.extend(list.map(|list| (name.into(), list)));
        }
    }
}

/// A quota below zero is none.
fn processor_time(quota_us: Option<i64>, period_us: Option<u64>, all: &mut Vec<Property>) {
    if let Some(quota) = quota_us {
        let per_second = u64::try_from(quota).map_or(INFINITY, |quota| {
            // systemd counts in hundredths of a processor; rounded up, so that no limit becomes tighter.
            let exact = quota.saturating_mul(SECOND_US) / period_us.unwrap_or(PERIOD_US);
            exact.div_ceil(10_000) * 10_000
        });
        all.push(("CPUQuotaPerSecUSec".into(), Value::u64(per_second)));
    }
    all.extend(period_us.map(|period| ("CPUQuotaPeriodUSec".into(), Value::u64(period))));
}

/// The quota and the period of `cpu.max`.
fn bandwidth(text: &str) -> Option<(Option<i64>, Option<u64>)> {
    let mut words = text.split_whitespace();
    let quota = match words.next()? {
        "max" => -1,
        number => number.parse().ok()?,
    };
    let period = words.next().map(str::parse).transpose().ok()?;
    Some((Some(quota), period.filter(|period| *period != 0)))
}

/// A limit; zero and below are none, zero is also no word on it.
fn amount(limit: Option<i64>) -> Option<u64> {
    let limit = limit.filter(|limit| *limit != 0)?;
    Some(u64::try_from(limit).unwrap_or(INFINITY))
}

/// A number as v2 has it in its files. What is none the kernel refuses.
fn limit(text: &str) -> Option<Value> {
    match text {
        "max" => Some(INFINITY),
        number => number.parse().ok(),
    }
    .map(Value::u64)
}

fn idle(text: &str) -> Option<Value> {
    (text == "1").then(|| Value::u64(IDLE))
}

/// The weight of all disks, among those of some.
fn default_weight(text: &str) -> Option<Value> {
    let weight = |line: &str| line.strip_prefix("default").unwrap_or(line).trim().parse().ok();
    text.lines().find_map(weight).map(Value::u64)
}

/// The weight from 1 to 10000 which systemd makes this one, from 1 to 1000, for the scheduler BFQ.
fn from_bfq(weight: u64) -> u64 {
    if weight <= WEIGHT {
        weight
    } else {
        WEIGHT + (weight - WEIGHT) * 11
    }
}

/// A list such as `0-2,7` as a bit for each number, the least first.
fn places(list: &str) -> Option<Value> {
    /// More than the kernel can be built for.
    const MOST: usize = 1 << 16;
    let mut bytes = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MOST {
            return None;
        }
        for number in first..=last {
            if bytes.len() <= number / 8 {
                bytes.resize(number / 8 + 1, 0);
            }
            bytes[number / 8] |= 1 << (number % 8);
        }
    }
    (!bytes.is_empty()).then(|| Value::bytes(&bytes))
}

/// The properties that annotations ask for: `org.systemd.property.NAME`, the value as [`gvariant::parse`] reads it. What
/// systemd documents in seconds, `TimeoutStopSec`, it takes in microseconds, `TimeoutStopUSec`: both are understood.
///
/// # Errors
/// A name or a value is none, or the property is the runtime's to set.
pub fn annotated(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>> {
    let asked = annotations
        .iter()
        .filter_map(|(key, text)| Some((key.strip_prefix(SYSTEMD_PROPERTY)?, text)));
    asked
        .map(|(name, text)| {
            property(name, text).map_err(|why| Error::Invalid(format!("annotation {SYSTEMD_PROPERTY}{name}: {why}")))
        })
        .collect()
}

fn property(name: &str, text: &str) -> Result<Property, String> {
    if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err("this is no name of a property".to_owned());
    }
    if OWN.contains(&name) {
        return Err("the runtime sets this property itself".to_owned());
    }
    let value =
        gvariant::parse(text).map_err(|why| format!("the value {text:?} is not in GVariant's format: {why}"))?;
    let in_seconds = name
        .strip_suffix("Sec")
        .filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase()));
    let Some(stem) = in_seconds else {
        return Ok((name.to_owned().into(), value));
    };
    let microseconds = match value {
        Value::Integer(_, seconds) => seconds
            .checked_mul(SECOND_US.into())
            .and_then(|us| u64::try_from(us).ok()),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "what is far too long becomes the longest time there is"
        )]
        Value::Double(seconds) if seconds >= 0.0 => Some((seconds * SECOND_US as f64) as u64),
        _ => None,
    };
    let value = microseconds.ok_or_else(|| format!("the value {text:?} is no time in seconds"))?;
    Ok((format!("{stem}USec").into(), Value::u64(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn properties(mode: Mode, resources: Json) -> Vec<Property> {
        let resources: LinuxResources = serde_json::from_value(resources).unwrap();
        let layout = Layout {
            mode,
            v1: Vec::new(),
            ..Layout::detect().unwrap()
        };
        of(&layout, Path::new("/none"), &resources).unwrap()
    }

    #[test]
    fn limits_in_the_words_of_systemd() {
        let mut all = properties(
            Mode::V2,
            json!({
                "memory": { "limit": 1000, "swap": 1500, "reservation": 500 },
                "cpu": { "shares": 1024, "quota": 15_000, "period": 10_000, "cpus": "0-1,9" },
                "pids": { "limit": -1 },
                "blockIO": { "weight": 1000 },
                "devices": [{ "allow": true }],
            }),
        );
        let devices = all.drain(..2).map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(devices, ["DevicePolicy", "DeviceAllow"]);
        let expected: [Property; 9] = [
            ("MemoryMax".into(), Value::u64(1000)),
            ("MemoryLow".into(), Value::u64(500)),
            ("MemorySwapMax".into(), Value::u64(500)),
            ("CPUWeight".into(), Value::u64(weight_from_shares(1024))),
            ("CPUQuotaPerSecUSec".into(), Value::u64(1_500_000)),
            ("CPUQuotaPeriodUSec".into(), Value::u64(10_000)),
            ("AllowedCPUs".into(), Value::bytes(&[0b11, 0b10])),
            ("TasksMax".into(), Value::u64(INFINITY)),
            ("IOWeight".into(), Value::u64(10_000)),
        ];
        assert_eq!(all, expected);
        assert_eq!(places("x"), None);
        // 1000 becomes 10000, and systemd makes that 1000 again.
        assert_eq!((from_bfq(1000), from_bfq(100), from_bfq(10)), (10_000, 100, 10));
    }

    #[test]
    fn limits_on_v1() {
        let all = properties(
            Mode::V1,
            json!({
                "memory": { "limit": -1, "swap": -1, "reservation": 500 },
                "cpu": { "shares": 512, "quota": -1, "cpus": "0", "idle": 1 },
                "blockIO": { "weight": 500 },
            }),
        );
        let expected: [Property; 4] = [
            ("MemoryLimit".into(), Value::u64(INFINITY)),
            ("CPUShares".into(), Value::u64(512)),
            ("CPUQuotaPerSecUSec".into(), Value::u64(INFINITY)),
            ("BlockIOWeight".into(), Value::u64(500)),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn files_in_the_words_of_systemd() {
        let all = properties(
            Mode::V2,
            json!({ "cpu": { "idle": 0 }, "unified": {
                "cpu.max": "max 50000", "cpu.idle": "1", "io.weight": "8:0 7\ndefault 200", "memory.high": "4096",
                "memory.swap.max": "max", "cpuset.mems": "0", "hugetlb.2MB.max": "0",
            } }),
        );
        let expected: [Property; 8] = [
            ("CPUWeight".into(), Value::u64(WEIGHT)),
            ("CPUQuotaPerSecUSec".into(), Value::u64(INFINITY)),
            ("CPUQuotaPeriodUSec".into(), Value::u64(50_000)),
            ("CPUWeight".into(), Value::u64(IDLE)),
            ("AllowedMemoryNodes".into(), Value::bytes(&[1])),
            ("IOWeight".into(), Value::u64(200)),
            ("MemoryHigh".into(), Value::u64(4096)),
            ("MemorySwapMax".into(), Value::u64(INFINITY)),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn who_is_killed_together() {
        let lasting = |file: Option<&str>, annotation: Option<&str>| {
            let files: Json = file.map_or(json!({}), |file| json!({ "memory.oom.group": file }));
            let resources: LinuxResources = serde_json::from_value(json!({ "unified": files })).unwrap();
            let annotations = annotation.map(|value| (OOM_GROUP.to_owned(), value.to_owned()));
            lasting(Some(&resources), &annotations.into_iter().collect()).map(|(_, value)| value)
        };
        assert_eq!(lasting(None, None), None);
        assert_eq!(lasting(Some("1"), None), Some(Value::text("kill")));
        assert_eq!(lasting(Some("0"), Some("yes")), Some(Value::text("continue")));
        assert_eq!(lasting(None, Some("yes")), Some(Value::text("kill")));
    }

    #[test]
    fn what_would_be_undone_on_v1_is_refused() {
        let rules = json!({ "devices": [{ "allow": true }, { "allow": false, "type": "b", "access": "w" }] });
        let resources: LinuxResources = serde_json::from_value(rules).unwrap();
        let mut layout = Layout::detect().unwrap();
        for controllers in [vec!["devices"], vec!["memory"]] {
            let exact = !controllers.contains(&"devices");
            layout.v1 = vec![crate::cgroup::Hierarchy {
                mount: "/none".into(),
                controllers,
            }];
            assert_eq!(of(&layout, Path::new("/none"), &resources).is_ok(), exact);
        }
    }

    #[test]
    fn annotations_become_properties() {
        let ask = |name: &str, text: &str| {
            let annotations = [(format!("{SYSTEMD_PROPERTY}{name}"), text.to_owned())];
            annotated(
                &annotations
                    .into_iter()
                    .chain([("other".to_owned(), "[".to_owned())])
                    .collect(),
            )
        };
        for (name, text, property, value) in [
            ("CollectMode", "'inactive'", "CollectMode", Value::text("inactive")),
            ("TimeoutStopUSec", "uint64 5", "TimeoutStopUSec", Value::u64(5)),
            ("TimeoutStopSec", "5", "TimeoutStopUSec", Value::u64(5_000_000)),
            ("TimeoutStopSec", "0.5", "TimeoutStopUSec", Value::u64(500_000)),
        ] {
            assert_eq!(ask(name, text).unwrap(), [(property.into(), value)], "{name}");
        }
        for (name, text, words) in [
            (
                "CollectMode",
                "inactive",
                "annotation org.systemd.property.CollectMode: the value \"inactive\"",
            ),
            ("TimeoutStopSec", "-1", "no time"),
            ("TimeoutStopSec", "'1s'", "no time"),
            ("Slice", "'a.slice'", "itself"),
            ("A_B", "1", "no name"),
        ] {
            let said = ask(name, text).unwrap_err().to_string();
            assert!(said.contains(words) && !said.contains('\n'), "{said}");
        }
    }
}
