//! What the machine is. Blocking.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;

use barepod_runtime::cgroup::Layout;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::statvfs::statvfs;

use crate::config::Config;
use crate::pods::store::boot_id;
use crate::shared::{Controllers, Host};
use crate::spec::security::{CAP_SYS_RESOURCE, held_capabilities};

/// Memory below which the node says that it is short of it, in bytes; also what pods cannot have.
const MEMORY_RESERVE: i64 = 100 * 1024 * 1024;

/// The machine as it was found when the agent started.
#[derive(Debug, Clone)]
pub struct Machine {
    /// What pods need to know.
    pub host: Host,
    /// Processors.
    pub cpus: i64,
    /// All memory, in bytes.
    pub memory: i64,
    /// Size of the file system pods are on, in bytes.
    pub storage: i64,
}

/// What may change while the agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    /// Short of memory.
    pub memory: bool,
    /// Short of disk.
    pub disk: bool,
    /// Short of process ids.
    pub pids: bool,
}

impl Machine {
    /// Looks at the machine.
    pub fn detect(config: &Config) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, |it| i64::try_from(it.get()).unwrap_or(1));
        let memory = meminfo("MemTotal:").unwrap_or(0);
        let storage = filesystem(&config.state_dir).map_or(0, |(size, _)| size);
        let may_lower = held_capabilities() & CAP_SYS_RESOURCE != 0;
        let own_score = read("/proc/self/oom_score_adj").parse().unwrap_or(0);
        let host = Host {
            ip: config.node_ip.unwrap_or_else(|| address(&config.bridge)),
            cpu_milli: cpus * 1000,
            memory: (memory - MEMORY_RESERVE).max(0),
            storage: storage / 10 * 9,
            least_oom_score_adj: if may_lower { -1000 } else { own_score },
            boot_id: boot_id(),
            controllers: controllers(),
        };
        Self {
            host,
            cpus,
            memory,
            storage,
        }
    }
}

fn controllers() -> Controllers {
    let layout = Layout::detect();
    let has = |name: &str| layout.as_ref().is_ok_and(|layout| layout.has(name));
    Controllers {
        cpu: has("cpu"),
        pids: has("pids"),
    }
}

impl Pressure {
    /// Looks at what is left.
    pub fn detect(state_dir: &Path) -> Self {
        let threads: i64 = read("/proc/loadavg")
            .split([' ', '/'])
            .nth(4)
            .and_then(|it| it.parse().ok())
            .unwrap_or(0);
        let max: i64 = read("/proc/sys/kernel/pid_max").parse().unwrap_or(i64::MAX);
        Self {
            memory: meminfo("MemAvailable:").is_some_and(|it| it < MEMORY_RESERVE),
            disk: filesystem(state_dir).is_some_and(|(size, available)| available < size / 20),
            pids: threads > max / 20 * 19,
        }
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn meminfo(field: &str) -> Option<i64> {
    let text = read("/proc/meminfo");
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace()
        .next()?
        .parse::<i64>()
        .ok()
        .map(|kib| kib * 1024)
}

/// Size and room of a file system, in bytes.
fn filesystem(path: &Path) -> Option<(i64, i64)> {
    let found = path.ancestors().find_map(|it| statvfs(it).ok())?;
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(found.fragment_size())).unwrap_or(i64::MAX);
    Some((bytes(found.blocks()), bytes(found.blocks_available())))
}

/// The node's address: the source of packets that leave by the default route, else of the first interface that is up,
/// else loopback's, so that a machine without any network works too.
fn address(bridge: &str) -> Ipv4Addr {
    by_route()
        .or_else(|| by_interface(bridge))
        .unwrap_or(Ipv4Addr::LOCALHOST)
}

/// Connecting a UDP socket only looks the route up; nothing is sent.
fn by_route() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address of TEST-NET-1 (RFC 5737), which is nobody's and so goes by the default route.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_unspecified() => Some(ip),
        _ => None,
    }
}

fn by_interface(bridge: &str) -> Option<Ipv4Addr> {
    let found = getifaddrs().ok()?;
    found
        .filter(|it| it.interface_name != bridge && it.flags.contains(InterfaceFlags::IFF_UP))
        .filter(|it| !it.flags.contains(InterfaceFlags::IFF_LOOPBACK))
        .find_map(|it| Some(it.address?.as_sockaddr_in()?.ip()))
}

/// Release and architecture of the kernel, name of the system, ids.
pub fn system() -> (String, String, String, String, String) {
    let release = read("/proc/sys/kernel/osrelease");
    let os = read("/etc/os-release");
    let name = os
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or("Linux")
        .trim_matches('"')
        .to_owned();
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    (
        release,
        arch.to_owned(),
        name,
        read("/etc/machine-id"),
        read("/sys/class/dmi/id/product_uuid"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_has_memory_and_an_address() {
        assert!(meminfo("MemTotal:").unwrap() > 0);
        assert!(filesystem(Path::new("/nonexistent/dir")).unwrap().0 > 0);
        assert!(!address("barepod0").is_unspecified());
        let (release, arch, name, ..) = system();
        assert!(!release.is_empty() && !arch.is_empty() && !name.is_empty());
    }
}
