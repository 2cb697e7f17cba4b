//! `barepod check`: what this kernel and machine have and lack, one line each with what to do.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use barepod_runtime::cgroup;
use clap::Args;
use serde::Serialize;

use crate::daemon;
use crate::output::{Output, columns};
use crate::paths::Paths;

/// Options of `check`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    output: Output,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One line.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    what: &'static str,
    found: String,
    /// What to do about it; empty if nothing.
    advice: String,
}

fn ok(what: &'static str, found: impl Into<String>) -> Finding {
    Finding {
        level: Level::Ok,
        what,
        found: found.into(),
        advice: String::new(),
    }
}

fn bad(level: Level, what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding {
        level,
        what,
        found: found.into(),
        advice: advice.into(),
    }
}

/// Prints every finding; fails if one of them keeps pods from running.
pub fn run(paths: &Paths, options: &Options) -> Result<ExitCode> {
    let findings = all(paths);
    options.output.print(&findings, |findings| {
        let row = |f: &Finding| {
            let level = match f.level {
                Level::Ok => "ok",
                Level::Warn => "warn",
                Level::Fail => "FAIL",
            };
            vec![level.to_owned(), f.what.to_owned(), f.found.clone(), f.advice.clone()]
        };
        columns(&findings.iter().map(row).collect::<Vec<_>>())
    })?;
    let failed = findings.iter().any(|f| f.level == Level::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What `up` insists on; what pods may miss later is told.
pub fn required(paths: &Paths) -> Result<()> {
    let findings = all(paths);
    let told = |f: &Finding| format!("{}: {}; {}", f.what, f.found, f.advice);
    for finding in findings
        .iter()
        .filter(|f| f.level == Level::Warn && f.what == "cgroups")
    {
        eprintln!("warning: {}", told(finding));
    }
    let missing: Vec<String> = findings.iter().filter(|f| f.level == Level::Fail).map(told).collect();
    if !missing.is_empty() {
        bail!("this machine cannot run pods yet:\n  {}", missing.join("\n  "));
    }
    Ok(())
}

fn all(paths: &Paths) -> Vec<Finding> {
    let mut findings = vec![user(), kernel()];
    findings.extend(namespaces());
    findings.extend(cgroups());
    findings.extend([
        overlay(),
        seccomp(),
        network(),
        memory(),
        disk(&paths.state_dir),
        inotify(),
    ]);
    findings.extend(ports(paths));
    findings
}

fn user() -> Finding {
    if nix::unistd::geteuid().is_root() {
        ok("user", "root")
    } else {
        bad(Level::Fail, "user", "not root", "run it as root (sudo)")
    }
}

/// close_range(2) came with 5.9, mount_setattr(2) with 5.12, memory.events and clone3 into a cgroup before.
fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap_or_default()
        .trim()
        .to_owned();
    let mut numbers = release.split(['.', '-', '+']).map_while(|n| n.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (5, 12) {
        ok("kernel", release)
    } else {
        bad(
            Level::Fail,
            "kernel",
            release,
            "boot Linux 5.12 or newer: its mount and process calls are needed",
        )
    }
}

fn namespaces() -> Vec<Finding> {
    let missing: Vec<&str> = ["pid", "net", "ipc", "uts", "mnt"]
        .into_iter()
        .filter(|n| !Path::new("/proc/self/ns").join(n).exists())
        .collect();
    if missing.is_empty() {
        vec![ok("namespaces", "pid net ipc uts mnt")]
    } else {
        vec![bad(
            Level::Fail,
            "namespaces",
            format!("no {}", missing.join(" ")),
            "boot a kernel with CONFIG_NAMESPACES and all of its kinds",
        )]
    }
}

fn cgroups() -> Vec<Finding> {
    let layout = match cgroup::Layout::detect() {
        Ok(layout) => layout,
        Err(e) => {
            return vec![bad(
                Level::Fail,
                "cgroups",
                e.to_string(),
                "mount the cgroup2 file system at /sys/fs/cgroup",
            )];
        }
    };
    let mode = match layout.mode {
        cgroup::Mode::V1 => "v1",
        cgroup::Mode::Hybrid => "hybrid: v1 controllers with v2 beside them",
        cgroup::Mode::V2 => "v2",
    };
    let mut findings = vec![ok("cgroups", mode)];
    for controller in ["cpu", "memory", "pids"] {
        if !layout.has(controller) {
            let advice = match layout.mode {
                cgroup::Mode::V2 => format!(
                    "limits of {controller} will be refused: boot without cgroup_disable={controller}, or have the parent cgroup hand it down"
                ),
                _ => format!(
                    "limits of {controller} will be refused: mount its hierarchy (mount -t cgroup -o {controller} cgroup /sys/fs/cgroup/{controller}), or boot with cgroup_no_v1=all"
                ),
            };
            findings.push(bad(
                Level::Warn,
                "cgroups",
                format!("no {controller} controller"),
                advice,
            ));
        }
    }
    findings
}

fn overlay() -> Finding {
    let has = |list: &str| list.lines().any(|l| l.split_whitespace().last() == Some("overlay"));
    if has(&fs::read_to_string("/proc/filesystems").unwrap_or_default()) {
        return ok("overlayfs", "there");
    }
    match module("overlay") {
        true => ok("overlayfs", "a module, loaded when first used"),
        false => bad(
            Level::Fail,
            "overlayfs",
            "missing",
            "modprobe overlay, or boot a kernel with CONFIG_OVERLAY_FS",
        ),
    }
}

fn module(name: &str) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let dir = Path::new("/lib/modules").join(release.trim());
    let listed = |file: &str| fs::read_to_string(dir.join(file)).is_ok_and(|t| t.contains(&format!("/{name}.ko")));
    listed("modules.dep") || listed("modules.builtin")
}

fn seccomp() -> Finding {
    match fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail") {
        Ok(actions) if actions.contains("errno") => ok("seccomp", "filters"),
        _ => bad(
            Level::Fail,
            "seccomp",
            "no filters",
            "boot a kernel with CONFIG_SECCOMP_FILTER",
        ),
    }
}

/// The real thing, in a network namespace that ends with the thread that made it.
fn network() -> Finding {
    let probe = || -> Result<(), String> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).map_err(|e| format!("new network namespace: {e}"))?;
        // A process id would not do: another one in another PID namespace may have the same, and share /tmp.
        let random = getrandom::u64().map_err(|e| format!("random number: {e}"))?;
        let dir = std::env::temp_dir().join(format!("barepod-check-{random:016x}"));
        fs::create_dir_all(&dir).map_err(|e| format!("create {}: {e}", dir.display()))?;
        let opened = barepod_netplugin::Network::open(barepod_netplugin::Config {
            bridge: super::agent::BRIDGE.to_owned(),
            pod_cidr: barepod_netplugin::Ipv4Net {
                addr: Ipv4Addr::new(10, 244, 0, 0),
                prefix: 24,
            },
            cluster_cidr: barepod_netplugin::Ipv4Net {
                addr: Ipv4Addr::new(10, 244, 0, 0),
                prefix: 16,
            },
            service_cidr: barepod_netplugin::Ipv4Net {
                addr: Ipv4Addr::new(10, 96, 0, 0),
                prefix: 16,
            },
            state_dir: dir.clone(),
            mtu: None,
        });
        let _leftover = fs::remove_dir_all(&dir);
        opened.map(drop).map_err(|e| format!("{:#}", anyhow::Error::from(e)))
    };
    let done = std::thread::spawn(probe)
        .join()
        .unwrap_or_else(|_| Err("the probe panicked".to_owned()));
    match done {
        Ok(()) => ok("pod network", "bridge, veth, nf_tables"),
        Err(e) => bad(
            Level::Fail,
            "pod network",
            e,
            "modprobe bridge veth nf_tables nft_nat nft_masq nft_fib_ipv4 nft_numgen nf_conntrack_netlink",
        ),
    }
}

fn memory() -> Finding {
    let table = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = table
        .lines()
        .find_map(|l| l.strip_prefix("MemAvailable:"))
        .and_then(|l| l.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    let found = format!("{} MiB available", kib / 1024);
    if kib >= 256 * 1024 {
        ok("memory", found)
    } else {
        bad(
            Level::Warn,
            "memory",
            found,
            "free some: a node wants 256 MiB and its pods more",
        )
    }
}

fn disk(dir: &Path) -> Finding {
    let existing = dir.ancestors().find(|d| d.exists()).unwrap_or(Path::new("/"));
    match nix::sys::statvfs::statvfs(existing) {
        Ok(fs) => {
            let mib = fs.blocks_available() * fs.fragment_size() / (1 << 20);
            let found = format!("{mib} MiB free for {}", dir.display());
            if mib >= 512 {
                ok("disk", found)
            } else {
                bad(Level::Warn, "disk", found, "free some, or choose another --state-dir")
            }
        }
        Err(e) => bad(
            Level::Warn,
            "disk",
            e.to_string(),
            format!("look at {}", existing.display()),
        ),
    }
}

/// Following logs and watching files takes one inotify instance each.
fn inotify() -> Finding {
    let path = "/proc/sys/fs/inotify/max_user_instances";
    let limit: u64 = fs::read_to_string(path)
        .ok()
        .and_then(|t| t.trim().parse().ok())
        .unwrap_or(0);
    if limit >= 128 {
        ok("inotify", format!("{limit} instances"))
    } else {
        bad(
            Level::Warn,
            "inotify",
            format!("{limit} instances"),
            "sysctl fs.inotify.max_user_instances=1024",
        )
    }
}

fn ports(paths: &Paths) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (port, daemon) in [(6443, "control"), (10250, "agent")] {
        let what = "port";
        if daemon::running(&paths.pid_file(daemon)).ok().flatten().is_some() {
            findings.push(ok(what, format!("{port} served by {daemon}")));
        } else if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            findings.push(ok(what, format!("{port} free")));
        } else {
            let option = if daemon == "control" { "--port" } else { "--agent-port" };
            findings.push(bad(
                Level::Warn,
                what,
                format!("{port} is taken"),
                format!("stop what listens there, or use `up {option}`"),
            ));
        }
    }
    findings
}
