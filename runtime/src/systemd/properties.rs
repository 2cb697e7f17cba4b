//! Limits as systemd's properties: systemd.resource-control(5). The cgroup's files are written as well; systemd has to
//! know what it is not to write back.

use oci_spec::runtime::LinuxResources;

use super::wire::Value;
use crate::cgroup::{Layout, Mode, weight_from_shares};

/// What systemd calls no limit.
const INFINITY: u64 = u64::MAX;
const SECOND_US: u64 = 1_000_000;
/// Without a word on it, as the kernel has it.
const PERIOD_US: u64 = 100_000;

/// The properties of the limits that are there.
pub fn of(layout: &Layout, resources: &LinuxResources) -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    let v2 = layout.mode == Mode::V2;
    if let Some(memory) = resources.memory() {
        if let Some(limit) = amount(memory.limit()) {
            all.push((if v2 { "MemoryMax" } else { "MemoryLimit" }, Value::U64(limit)));
        }
        if v2 {
            if let Some(low) = amount(memory.reservation()) {
                all.push(("MemoryLow", Value::U64(low)));
            }
            if let (Some(swap), Some(limit)) = (amount(memory.swap()), amount(memory.limit())) {
                let swap = if swap == INFINITY {
                    swap
                } else {
                    swap.saturating_sub(limit)
                };
                all.push(("MemorySwapMax", Value::U64(swap)));
            }
        }
    }
    if let Some(cpu) = resources.cpu() {
        if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
            all.push(if v2 {
                ("CPUWeight", Value::U64(weight_from_shares(shares)))
            } else {
                ("CPUShares", Value::U64(shares))
            });
        }
        if let Some(quota) = cpu.quota().filter(|quota| *quota != 0) {
            let period = cpu.period().filter(|period| *period != 0).unwrap_or(PERIOD_US);
            let per_second = u64::try_from(quota).map_or(INFINITY, |quota| {
                // systemd counts in hundredths of a processor and rounds up, so that no limit becomes tighter.
                let exact = quota.saturating_mul(SECOND_US) / period;
                exact.div_ceil(10_000) * 10_000
            });
            all.push(("CPUQuotaPerSecUSec", Value::U64(per_second)));
            all.push(("CPUQuotaPeriodUSec", Value::U64(period)));
        }
        if v2 {
            for (name, list) in [("AllowedCPUs", cpu.cpus()), ("AllowedMemoryNodes", cpu.mems())] {
                if let Some(mask) = list.as_deref().and_then(mask) {
                    all.push((name, Value::Bytes(mask)));
                }
            }
        }
    }
    if let Some(limit) = resources
        .pids()
        .as_ref()
        .map(|pids| pids.limit())
        .filter(|limit| *limit != 0)
    {
        all.push(("TasksMax", Value::U64(u64::try_from(limit).unwrap_or(INFINITY))));
    }
    all
}

/// A limit in bytes; zero and below are none, zero is also no word on it.
fn amount(limit: Option<i64>) -> Option<u64> {
    let limit = limit.filter(|limit| *limit != 0)?;
    Some(u64::try_from(limit).unwrap_or(INFINITY))
}

/// A list such as `0-2,7` as a bit for each number, the least first.
fn mask(list: &str) -> Option<Vec<u8>> {
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
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_in_the_words_of_systemd() {
        let resources: LinuxResources = serde_json::from_value(json!({
            "memory": { "limit": 1000, "swap": 1500, "reservation": 500 },
            "cpu": { "shares": 1024, "quota": 15_000, "period": 10_000, "cpus": "0-1,9" },
            "pids": { "limit": -1 },
        }))
        .unwrap();
        let layout = Layout {
            mode: Mode::V2,
            ..Layout::detect().unwrap()
        };
        let all = of(&layout, &resources);
        for (name, value) in [
            ("MemoryMax", Value::U64(1000)),
            ("MemorySwapMax", Value::U64(500)),
            ("MemoryLow", Value::U64(500)),
            ("CPUWeight", Value::U64(weight_from_shares(1024))),
            ("CPUQuotaPerSecUSec", Value::U64(1_500_000)),
            ("CPUQuotaPeriodUSec", Value::U64(10_000)),
            ("AllowedCPUs", Value::Bytes(vec![0b11, 0b10])),
            ("TasksMax", Value::U64(INFINITY)),
        ] {
            assert!(all.contains(&(name, value.clone())), "{name} {value:?}: {all:?}");
        }
        assert_eq!(all.len(), 8);
        assert_eq!(mask("x"), None);
    }
}
