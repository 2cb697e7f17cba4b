//! Host ports: elements of two maps, one for all of the host's addresses and one for a certain address.

use super::change::pair;
use super::table::{HOST_PORT_PODS, HOST_PORTS, HOST_PORTS_AT};
use super::{HostPorts, endpoint_data, key, port_key};
use crate::conntrack::StaleFlows;
use crate::nft::{Element, Transaction};
use crate::{HostPort, Protocol};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Adds the elements; adding one that is there with the same pod is no error.
pub(super) fn add(t: &mut Transaction, ports: &HostPorts) {
    let target = |(ip, port): &(Ipv4Addr, HostPort)| endpoint_data(SocketAddrV4::new(*ip, port.container_port));
    t.add_elements(
        HOST_PORTS,
        ports
            .iter()
            .filter(|(_, p)| p.host_ip.is_none())
            .map(|entry| Element::data(port_key(entry.1.protocol, entry.1.host_port), target(entry))),
    );
    t.add_elements(
        HOST_PORTS_AT,
        ports.iter().filter_map(|entry| {
            let port = entry.1;
            Some(Element::data(
                key(port.host_ip?, port.protocol, port.host_port),
                target(entry),
            ))
        }),
    );
    let pods: BTreeSet<_> = ports.iter().map(|(ip, _)| *ip).collect();
    t.add_elements(HOST_PORT_PODS, pods.into_iter().map(|ip| Element::key(pair(ip))));
}

/// One transaction for each element, so that one that is missing does not keep the others.
pub(super) fn remove(table: &'static str, ports: &HostPorts) -> Vec<Transaction> {
    let delete = |set: &str, key: Vec<u8>| {
        let mut t = Transaction::new(table);
        t.delete_elements(set, [Element::key(key)]);
        t
    };
    let pods: BTreeSet<_> = ports.iter().map(|(ip, _)| *ip).collect();
    let elements = ports.iter().map(|(_, port)| match port.host_ip {
        Some(ip) => delete(HOST_PORTS_AT, key(ip, port.protocol, port.host_port)),
        None => delete(HOST_PORTS, port_key(port.protocol, port.host_port)),
    });
    elements
        .chain(pods.into_iter().map(|ip| delete(HOST_PORT_PODS, pair(ip))))
        .collect()
}

/// UDP flows that must be forgotten: to a port that now leads to a pod, or that no longer does. `locals` are the
/// host's own addresses.
pub(super) fn flows(
    added: &[(Ipv4Addr, HostPort)],
    removed: &[(Ipv4Addr, HostPort)],
    locals: &[Ipv4Addr],
) -> StaleFlows {
    let mut stale = StaleFlows::default();
    let udp = |(_, port): &&(Ipv4Addr, HostPort)| port.protocol == Protocol::Udp;
    for (ip, port) in added.iter().filter(udp) {
        stale
            .ports
            .entry(port.host_port)
            .or_default()
            .push(SocketAddrV4::new(*ip, port.container_port));
    }
    for (ip, port) in removed.iter().filter(udp) {
        stale.ports.entry(port.host_port).or_default();
        stale.endpoints.insert(SocketAddrV4::new(*ip, port.container_port));
    }
    if !stale.is_empty() {
        stale.locals.extend(locals);
    }
    stale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host_ip: Option<&str>, protocol: Protocol) -> (Ipv4Addr, HostPort) {
        let host_ip = host_ip.map(|ip| ip.parse().unwrap());
        (
            "10.244.0.2".parse().unwrap(),
            HostPort {
                host_ip,
                host_port: 8080,
                container_port: 80,
                protocol,
            },
        )
    }

    #[test]
    fn each_kind_of_port_has_its_map() {
        let ports = vec![port(None, Protocol::Tcp), port(Some("192.0.2.1"), Protocol::Tcp)];
        let mut t = Transaction::new("t");
        add(&mut t, &ports);
        assert_eq!(t.len(), 3, "two maps and the set of pods");
        assert_eq!(remove("t", &ports).len(), 3);
        let mut none = Transaction::new("t");
        add(&mut none, &vec![]);
        assert!(none.is_empty());
    }

    #[test]
    fn only_udp_flows_are_forgotten() {
        let tcp = [port(None, Protocol::Tcp)];
        assert!(flows(&tcp, &tcp, &[]).is_empty());
        let udp = [port(None, Protocol::Udp)];
        let added = flows(&udp, &[], &["192.0.2.1".parse().unwrap()]);
        assert_eq!(added.ports[&8080], ["10.244.0.2:80".parse().unwrap()]);
        assert_eq!(added.locals.len(), 1);
        let removed = flows(&[], &udp, &[]);
        assert!(removed.ports[&8080].is_empty() && removed.endpoints.len() == 1);
    }
}
