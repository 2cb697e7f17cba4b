//! Which UDP flows have to be forgotten after a change.
//!
//! Connection tracking keeps sending a flow to the endpoint it chose first for as long as packets come, so a UDP client
//! with a fixed port would never leave an endpoint that is gone, nor find one that came later. TCP has connections that
//! end, and those that exist may go on.

use crate::conntrack::StaleFlows;
use crate::{Protocol, ServicePort};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Where the packets of a UDP service port may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FlowTarget {
    addresses: Vec<SocketAddrV4>,
    node_port: Option<u16>,
    endpoints: Vec<SocketAddrV4>,
}

/// The UDP service ports by name.
pub(super) fn targets(services: &[ServicePort]) -> BTreeMap<String, FlowTarget> {
    services
        .iter()
        .filter(|s| s.protocol == Protocol::Udp)
        .map(|s| {
            let mut endpoints = s.endpoints.clone();
            endpoints.sort_unstable();
            let ips = s.cluster_ip.iter().chain(&s.external_ips);
            let addresses = ips.map(|ip| SocketAddrV4::new(*ip, s.port)).collect();
            (
                s.name.clone(),
                FlowTarget {
                    addresses,
                    node_port: s.node_port,
                    endpoints,
                },
            )
        })
        .collect()
}

/// What to forget: flows to a changed service port that go elsewhere than to one of its endpoints. Without a known
/// former state every service port counts as changed.
pub(super) fn stale(
    old: Option<&BTreeMap<String, FlowTarget>>,
    new: &BTreeMap<String, FlowTarget>,
    locals: &[Ipv4Addr],
) -> StaleFlows {
    let mut stale = StaleFlows::default();
    let none = BTreeMap::new();
    let old = old.unwrap_or(&none);
    for (name, was) in old {
        if new.get(name) != Some(was) {
            insert(&mut stale, was, &[]);
        }
    }
    for (name, is) in new {
        if old.get(name) != Some(is) {
            insert(&mut stale, is, &is.endpoints);
        }
    }
    if !stale.ports.is_empty() {
        stale.locals.extend(locals);
    }
    stale
}

fn insert(stale: &mut StaleFlows, target: &FlowTarget, endpoints: &[SocketAddrV4]) {
    for address in &target.addresses {
        stale.addresses.insert(*address, endpoints.to_vec());
    }
    if let Some(port) = target.node_port {
        stale.ports.insert(port, endpoints.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::service;
    use super::*;

    fn udp(endpoints: &[&str]) -> ServicePort {
        ServicePort {
            protocol: Protocol::Udp,
            node_port: Some(30053),
            ..service("a/dns:", "10.96.0.9", endpoints)
        }
    }

    #[test]
    fn only_changed_udp_services_matter() {
        let tcp = targets(&[service("a/web:", "10.96.0.8", &["10.244.1.2:80"])]);
        assert!(tcp.is_empty());
        let one = targets(&[udp(&["10.244.1.2:53", "10.244.1.3:53"])]);
        let turned = targets(&[udp(&["10.244.1.3:53", "10.244.1.2:53"])]);
        assert!(stale(Some(&one), &turned, &[]).is_empty());
        assert!(
            !stale(None, &one, &[]).is_empty(),
            "after a restart anything may have changed"
        );
    }

    #[test]
    fn the_remaining_endpoints_keep_their_flows() {
        let old = targets(&[udp(&["10.244.1.2:53", "10.244.1.3:53"])]);
        let new = targets(&[udp(&["10.244.1.3:53"])]);
        let stale = stale(Some(&old), &new, &["192.0.2.1".parse().unwrap()]);
        let kept = vec!["10.244.1.3:53".parse().unwrap()];
        assert_eq!(stale.addresses[&"10.96.0.9:80".parse().unwrap()], kept);
        assert_eq!(stale.ports[&30053], kept);
        assert_eq!(stale.locals.len(), 1);
    }

    #[test]
    fn a_removed_service_keeps_none() {
        let old = targets(&[udp(&["10.244.1.2:53"])]);
        let stale = stale(Some(&old), &targets(&[]), &[]);
        assert_eq!(stale.addresses[&"10.96.0.9:80".parse().unwrap()], vec![]);
    }
}
