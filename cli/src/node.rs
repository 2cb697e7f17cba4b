//! What this machine is called and at which addresses others find it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, bail};

/// Pod addresses of the whole cluster.
pub const CLUSTER_CIDR: &str = "10.244.0.0/16";
/// Service addresses.
pub const SERVICE_CIDR: &str = "10.96.0.0/16";
/// The bridge address of a cluster's first node, which stands in for a node address on a machine with loopback only.
pub const FIRST_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

/// The node's name: the host name in lower case.
pub fn name() -> Result<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_lowercase();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if name.is_empty() || !name.chars().all(fits) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        bail!("the host name {name:?} cannot be a node's name: give one with --node-name (a-z, 0-9, '-', '.')");
    }
    Ok(name)
}

/// The address at which this node is reached: that of the interface with the default route, else any other address
/// that is not loopback, else the address that the pod bridge will have.
pub fn address(bridge: &str) -> Ipv4Addr {
    let candidates = addresses(bridge);
    let default = default_route_interface();
    candidates
        .iter()
        .find(|(name, _)| Some(name) == default.as_ref())
        .or_else(|| candidates.first())
        .map_or(FIRST_GATEWAY, |(_, ip)| *ip)
}

/// Every IPv4 address of this machine but loopback, link-local ones and those of the pod bridge.
pub fn addresses(bridge: &str) -> Vec<(String, Ipv4Addr)> {
    let mut found = Vec::new();
    for interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let Some(address) = interface.address.as_ref().and_then(|a| a.as_sockaddr_in()) else {
            continue;
        };
        let ip = address.ip();
        if !ip.is_loopback() && !ip.is_link_local() && interface.interface_name != bridge {
            found.push((interface.interface_name, ip));
        }
    }
    found
}

/// The interface of the default route with the lowest metric, from /proc/net/route (proc_net(5)).
fn default_route_interface() -> Option<String> {
    let table = fs::read_to_string("/proc/self/net/route").ok()?;
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let column: Vec<&str> = line.split_whitespace().collect();
            let default = column.get(1) == Some(&"00000000") && column.get(7) == Some(&"00000000");
            default.then(|| Some((column.get(6)?.parse::<u32>().ok()?, (*column.first()?).to_owned())))?
        })
        .min()
        .map(|(_, name)| name)
}

/// Where the API server is found.
#[derive(Debug, Clone, Copy)]
pub struct Api {
    /// What it listens on.
    pub listen: SocketAddr,
    /// What others are told.
    pub advertise: Ipv4Addr,
    /// As pods see it: the first address of Services.
    pub service: Ipv4Addr,
}

impl Api {
    /// The URL for programs of this machine.
    pub fn url(self) -> String {
        let ip = match self.listen.ip() {
            ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("https://{}", SocketAddr::new(ip, self.listen.port()))
    }
}

/// Names and addresses that the API server's certificate must have.
pub fn api_names(api: Api, host: &str) -> (Vec<String>, Vec<IpAddr>) {
    let mut dns: Vec<String> = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    .map(str::to_owned)
    .into();
    dns.push(host.to_owned());
    let known = [Ipv4Addr::LOCALHOST, api.service, api.advertise, FIRST_GATEWAY];
    let mut ips: Vec<IpAddr> = known.map(IpAddr::V4).into();
    if !api.listen.ip().is_unspecified() && !ips.contains(&api.listen.ip()) {
        ips.push(api.listen.ip());
    }
    (dns, ips)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_reached_where_it_listens() {
        let at = |listen: &str| Api {
            listen: listen.parse().unwrap(),
            advertise: Ipv4Addr::new(192, 0, 2, 1),
            service: Ipv4Addr::new(10, 43, 0, 1),
        };
        let ips = |listen: &str| api_names(at(listen), "host").1;
        assert_eq!(at("0.0.0.0:6443").url(), "https://127.0.0.1:6443");
        assert_eq!(at("[::]:6443").url(), "https://127.0.0.1:6443");
        assert_eq!(at("192.0.2.7:1").url(), "https://192.0.2.7:1");
        assert_eq!(at("[2001:db8::1]:1").url(), "https://[2001:db8::1]:1");
        let own: IpAddr = "192.0.2.7".parse().unwrap();
        assert!(ips("192.0.2.7:1").contains(&own) && !ips("0.0.0.0:1").contains(&own));
        assert!(ips("0.0.0.0:1").contains(&"10.43.0.1".parse().unwrap()));
    }
}
