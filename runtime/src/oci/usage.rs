//! What a container uses, in the form of `events --stats` that engines read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::cgroup::{Cgroup, Mode};

/// Everything there is to tell.
#[derive(Debug, Default, Serialize)]
pub struct Usage {
    cpu: Cpu,
    memory: Memory,
    pids: Pids,
    blkio: Block,
    hugetlb: BTreeMap<String, Counter>,
}

#[derive(Debug, Default, Serialize)]
struct Cpu {
    usage: CpuUsage,
    throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

/// Nanoseconds.
#[derive(Debug, Default, Serialize)]
struct CpuUsage {
    total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu: Vec<u64>,
    kernel: u64,
    user: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    periods: u64,
    throttled_periods: u64,
    throttled_time: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    cache: u64,
    usage: Counter,
    swap: Counter,
    kernel: Counter,
    #[serde(rename = "kernelTCP")]
    kernel_tcp: Counter,
    raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

/// Bytes; a limit of 2^64 - 1 is none.
#[derive(Debug, Default, Serialize)]
struct Counter {
    limit: u64,
    usage: u64,
    max: u64,
    failcnt: u64,
}

#[derive(Debug, Default, Serialize)]
struct Pids {
    current: u64,
    /// 0 is none.
    limit: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    io_service_bytes_recursive: Vec<BlockEntry>,
    io_serviced_recursive: Vec<BlockEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct BlockEntry {
    major: u64,
    minor: u64,
    op: &'static str,
    value: u64,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Pressure {
    some: PressureLine,
    full: PressureLine,
}

/// Percent of the time, and microseconds.
#[derive(Debug, Default, PartialEq, Serialize)]
struct PressureLine {
    avg10: f64,
    avg60: f64,
    avg300: f64,
    total: u64,
}

/// Reads the usage of a cgroup. What a controller that is not there would know is 0.
#[must_use]
pub fn read(cgroup: &Cgroup<'_>) -> Usage {
    let dir = |controller: &str| cgroup.controller(controller).unwrap_or_else(|| cgroup.tracker());
    let mut usage = Usage {
        pids: Pids {
            current: number(&dir("pids"), "pids.current"),
            // "max" is no number.
            limit: number(&dir("pids"), "pids.max"),
        },
        ..Usage::default()
    };
    if cgroup.layout().mode == Mode::V2 {
        let dir = cgroup.tracker();
        usage.cpu = unified_cpu(&dir);
        usage.memory = unified_memory(&dir);
        usage.blkio = unified_block(&dir);
    } else {
        usage.cpu = v1_cpu(&dir("cpu"), &dir("cpuacct"));
        usage.memory = v1_memory(&dir("memory"));
        usage.blkio = v1_block(&dir("blkio"));
    }
    usage.hugetlb = huge_pages(&dir("hugetlb"));
    usage
}

fn v1_cpu(cpu: &Path, account: &Path) -> Cpu {
    const NANOSECONDS_PER_TICK: u64 = 10_000_000;
    let times = pairs(account, "cpuacct.stat");
    let stat = pairs(cpu, "cpu.stat");
    let get = |map: &BTreeMap<String, u64>, key: &str| map.get(key).copied().unwrap_or(0);
    let percpu = text(account, "cpuacct.usage_percpu");
    Cpu {
        usage: CpuUsage {
            total: number(account, "cpuacct.usage"),
            percpu: percpu.split_whitespace().filter_map(|n| n.parse().ok()).collect(),
            kernel: get(&times, "system") * NANOSECONDS_PER_TICK,
            user: get(&times, "user") * NANOSECONDS_PER_TICK,
        },
        throttling: Throttling {
            periods: get(&stat, "nr_periods"),
            throttled_periods: get(&stat, "nr_throttled"),
            throttled_time: get(&stat, "throttled_time"),
        },
        psi: None,
    }
}

fn v1_memory(dir: &Path) -> Memory {
    let raw = pairs(dir, "memory.stat");
    let counter = |prefix: &str| Counter {
        limit: number(dir, &format!("{prefix}limit_in_bytes")),
        usage: number(dir, &format!("{prefix}usage_in_bytes")),
        max: number(dir, &format!("{prefix}max_usage_in_bytes")),
        failcnt: number(dir, &format!("{prefix}failcnt")),
    };
    Memory {
        cache: raw.get("cache").copied().unwrap_or(0),
        usage: counter("memory."),
        swap: counter("memory.memsw."),
        kernel: counter("memory.kmem."),
        kernel_tcp: counter("memory.kmem.tcp."),
        raw,
        psi: None,
    }
}

fn v1_block(dir: &Path) -> Block {
    // The first is the schedulers', where there is one that counts.
    let entries = |name: &str| {
        let files = ["blkio.bfq", "blkio.throttle"].map(|kind| format!("{kind}.{name}_recursive"));
        let found = files.iter().map(|file| v1_entries(&text(dir, file)));
        found
            .into_iter()
            .find(|entries| !entries.is_empty())
            .unwrap_or_default()
    };
    Block {
        io_service_bytes_recursive: entries("io_service_bytes"),
        io_serviced_recursive: entries("io_serviced"),
        psi: None,
    }
}

/// Lines of the form `8:0 Read 4096`.
fn v1_entries(text: &str) -> Vec<BlockEntry> {
    const OPERATIONS: [&str; 6] = ["Read", "Write", "Sync", "Async", "Discard", "Total"];
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = words.next()?.split_once(':')?;
        let given = words.next()?;
        let op = OPERATIONS.into_iter().find(|op| *op == given)?;
        let (major, minor, value) = (major.parse().ok()?, minor.parse().ok()?, words.next()?.parse().ok()?);
        Some(BlockEntry {
            major,
            minor,
            op,
            value,
        })
    };
    text.lines().filter_map(entry).collect()
}

fn unified_cpu(dir: &Path) -> Cpu {
    let stat = pairs(dir, "cpu.stat");
    let get = |key: &str| stat.get(key).copied().unwrap_or(0);
    Cpu {
        usage: CpuUsage {
            total: get("usage_usec") * 1000,
            percpu: Vec::new(),
            kernel: get("system_usec") * 1000,
            user: get("user_usec") * 1000,
        },
        throttling: Throttling {
            periods: get("nr_periods"),
            throttled_periods: get("nr_throttled"),
            throttled_time: get("throttled_usec") * 1000,
        },
        psi: pressure(dir, "cpu.pressure"),
    }
}

fn unified_memory(dir: &Path) -> Memory {
    let raw = pairs(dir, "memory.stat");
    let usage = Counter {
        limit: limit(dir, "memory.max"),
        usage: number(dir, "memory.current"),
        max: number(dir, "memory.peak"),
        failcnt: pairs(dir, "memory.events").get("max").copied().unwrap_or(0),
    };
    // As v1 has it: memory and swap together.
    let swap = Counter {
        limit: usage.limit.saturating_add(limit(dir, "memory.swap.max")),
        usage: usage.usage + number(dir, "memory.swap.current"),
        max: 0,
        failcnt: pairs(dir, "memory.swap.events").get("fail").copied().unwrap_or(0),
    };
    Memory {
        cache: raw.get("file").copied().unwrap_or(0),
        kernel: Counter {
            limit: u64::MAX,
            usage: raw.get("kernel").copied().unwrap_or(0),
            ..Counter::default()
        },
        usage,
        swap,
        kernel_tcp: Counter::default(),
        raw,
        psi: pressure(dir, "memory.pressure"),
    }
}

fn unified_block(dir: &Path) -> Block {
    let text = text(dir, "io.stat");
    let entries = |keys: [(&str, &'static str); 3]| {
        let of_line = |line: &str| -> Vec<BlockEntry> {
            let (device, values) = line.split_once(' ').unwrap_or((line, ""));
            let numbers = device
                .split_once(':')
                .map(|(major, minor)| (major.parse(), minor.parse()));
            let Some((Ok(major), Ok(minor))) = numbers else {
                return Vec::new();
            };
            let value = |key: &str| {
                let found = values
                    .split(' ')
                    .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
                found.and_then(|value| value.parse().ok())
            };
            keys.iter()
                .filter_map(|(key, op)| {
                    Some(BlockEntry {
                        major,
                        minor,
                        op,
                        value: value(key)?,
                    })
                })
                .collect()
        };
        text.lines().flat_map(of_line).collect()
    };
    Block {
        io_service_bytes_recursive: entries([("rbytes", "Read"), ("wbytes", "Write"), ("dbytes", "Discard")]),
        io_serviced_recursive: entries([("rios", "Read"), ("wios", "Write"), ("dios", "Discard")]),
        psi: pressure(dir, "io.pressure"),
    }
}

/// Either version's counters, for each size of page there are files for.
fn huge_pages(dir: &Path) -> BTreeMap<String, Counter> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let size = |name: &str| {
        let name = name.strip_prefix("hugetlb.")?;
        let size = name.strip_suffix(".limit_in_bytes").or(name.strip_suffix(".max"))?;
        // The limit of what is reserved is another one.
        (!size.contains('.')).then(|| size.to_owned())
    };
    let read = |size: String| {
        let file = |name: &str| format!("hugetlb.{size}.{name}");
        let counter = if dir.join(file("max")).exists() {
            Counter {
                limit: limit(dir, &file("max")),
                usage: number(dir, &file("current")),
                max: 0,
                failcnt: pairs(dir, &file("events")).get("max").copied().unwrap_or(0),
            }
        } else {
            Counter {
                limit: number(dir, &file("limit_in_bytes")),
                usage: number(dir, &file("usage_in_bytes")),
                max: number(dir, &file("max_usage_in_bytes")),
                failcnt: number(dir, &file("failcnt")),
            }
        };
        (size, counter)
    };
    names.filter_map(|name| size(&name)).map(read).collect()
}

/// Lines of the form `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`; `None` where the kernel does not tell.
fn pressure(dir: &Path, file: &str) -> Option<Pressure> {
    let text = fs::read_to_string(dir.join(file)).ok()?;
    let line = |kind: &str| {
        let values = text
            .lines()
            .find_map(|line| line.strip_prefix(kind))
            .unwrap_or_default();
        let value = |key: &str| {
            values
                .split_whitespace()
                .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
        };
        let average = |key: &str| value(key).and_then(|value| value.parse().ok()).unwrap_or_default();
        PressureLine {
            avg10: average("avg10"),
            avg60: average("avg60"),
            avg300: average("avg300"),
            total: value("total").and_then(|value| value.parse().ok()).unwrap_or_default(),
        }
    };
    Some(Pressure {
        some: line("some"),
        full: line("full"),
    })
}

fn text(dir: &Path, file: &str) -> String {
    fs::read_to_string(dir.join(file)).unwrap_or_default()
}

fn number(dir: &Path, file: &str) -> u64 {
    text(dir, file).trim().parse().unwrap_or(0)
}

fn limit(dir: &Path, file: &str) -> u64 {
    match text(dir, file).trim() {
        "max" => u64::MAX,
        number => number.parse().unwrap_or(0),
    }
}

/// A file of lines `key number`.
fn pairs(dir: &Path, file: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    text(dir, file).lines().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(name: &str, files: &[(&str, &str)]) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("barepodtest-usage-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for (file, text) in files {
            fs::write(dir.join(file), text).unwrap();
        }
        dir
    }

    #[test]
    fn v2_files_are_understood() {
        let dir = dir(
            "v2",
            &[
                (
                    "cpu.stat",
                    "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 3\nnr_throttled 1\n",
                ),
                ("cpu.pressure", "some avg10=1.50 avg60=0.00 avg300=0.00 total=77\n"),
                ("memory.current", "1000\n"),
                ("memory.max", "max\n"),
                ("memory.stat", "anon 600\nfile 400\n"),
                ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n"),
                ("hugetlb.2MB.max", "max\n"),
                ("hugetlb.2MB.rsvd.max", "max\n"),
                ("hugetlb.2MB.current", "7\n"),
            ],
        );
        let cpu = unified_cpu(&dir);
        assert_eq!((cpu.usage.total, cpu.throttling.periods), (30_000, 3));
        assert!(cpu.psi.is_some_and(|psi| psi.some.total == 77 && psi.some.avg10 > 1.4));
        let memory = unified_memory(&dir);
        assert_eq!(
            (memory.usage.usage, memory.usage.limit, memory.cache),
            (1000, u64::MAX, 400)
        );
        let entries = unified_block(&dir).io_serviced_recursive;
        let write = BlockEntry {
            major: 8,
            minor: 0,
            op: "Write",
            value: 4,
        };
        assert_eq!(entries[1], write);
        let huge = huge_pages(&dir);
        assert_eq!((huge.len(), huge["2MB"].usage), (1, 7));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn v1_block_entries_have_their_operation() {
        let entries = v1_entries("8:0 Read 4096\n8:0 Total 4096\nTotal 4096\n");
        assert_eq!(entries.len(), 2);
        assert_eq!(
            entries[0],
            BlockEntry {
                major: 8,
                minor: 0,
                op: "Read",
                value: 4096
            }
        );
    }
}
