//! What the kernel says about this process, see proc_pid_stat(5).

use std::fs;

use super::family::Page;
use crate::sys;

/// Tells what there is; what cannot be read is left out.
pub(super) fn tell(page: &mut Page) {
    if let Some(stat) = fs::read_to_string("/proc/self/stat")
        .ok()
        .as_deref()
        .and_then(Stat::parse)
    {
        let ticks = sys::ticks_per_second();
        page.single(
            "process_cpu_seconds_total",
            "counter",
            "Seconds of processor time, of the user and the system.",
            stat.cpu_ticks as f64 / ticks,
        );
        page.single(
            "process_resident_memory_bytes",
            "gauge",
            "Bytes of memory in use.",
            stat.resident_pages * sys::page_bytes(),
        );
        page.single(
            "process_virtual_memory_bytes",
            "gauge",
            "Bytes of address space in use.",
            stat.virtual_bytes,
        );
        if let Some(booted) = boot_seconds() {
            let about = "When the process began, in seconds since 1970.";
            let began = booted + stat.started_ticks as f64 / ticks;
            page.single("process_start_time_seconds", "gauge", about, began);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        page.single(
            "process_open_fds",
            "gauge",
            "File descriptors that are open.",
            open.count(),
        );
    }
    let most = sys::descriptors();
    page.single("process_max_fds", "gauge", "File descriptors that may be open.", most);
}

/// Parts of `/proc/self/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    started_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name may hold anything, also blanks and brackets.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The first of these is the third field.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat {
            cpu_ticks: field(14)? + field(15)?,
            started_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// When the machine was started, in seconds since 1970.
fn boot_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 12 30 0 0 20 0 3 0 500 4096000 250 18446744073709551615 1";
        let expected = Stat {
            cpu_ticks: 42,
            started_ticks: 500,
            virtual_bytes: 4_096_000,
            resident_pages: 250,
        };
        assert_eq!(Stat::parse(text), Some(expected));
    }
}
