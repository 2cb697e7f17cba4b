//! What the scheduler must know of a pod to place it, worked out once.

use super::resources::{Amounts, requests};
use crate::objects::Pod;
use crate::objects::{NodeSelector, PreferredSchedulingTerm};
use barepod_client::types::Toleration;
use std::collections::BTreeMap;

/// A port of the node that a pod takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostPort {
    pub(super) protocol: Box<str>,
    /// Empty means all addresses.
    pub(super) ip: Box<str>,
    pub(super) port: i32,
}

impl HostPort {
    pub(super) fn conflicts(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip.is_empty() || other.ip.is_empty() || self.ip == other.ip)
    }
}

/// What a pod takes of its node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Footprint {
    pub(super) exact: Amounts,
    /// With defaults for what was not asked for, to rank nodes by.
    pub(super) ranked: Amounts,
    pub(super) ports: Vec<HostPort>,
}

/// What a pod wants of its node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Request {
    pub(super) footprint: Footprint,
    pub(super) node_selector: BTreeMap<String, String>,
    pub(super) required: Option<NodeSelector>,
    pub(super) preferred: Vec<PreferredSchedulingTerm>,
    pub(super) tolerations: Vec<Toleration>,
}

impl Footprint {
    pub(super) fn of(pod: &Pod) -> Self {
        let (exact, ranked) = requests(pod);
        Self {
            exact,
            ranked,
            ports: host_ports(pod),
        }
    }
}

impl Request {
    pub(super) fn of(pod: &Pod) -> Self {
        let affinity = pod.spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
        Self {
            footprint: Footprint::of(pod),
            node_selector: pod.spec.node_selector.clone().unwrap_or_default(),
            required: affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.clone()),
            preferred: affinity
                .and_then(|a| a.preferred_during_scheduling_ignored_during_execution.clone())
                .unwrap_or_default(),
            tolerations: pod.spec.tolerations.clone(),
        }
    }
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let sidecars = pod
        .spec
        .init_containers
        .iter()
        .filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let host_network = pod.spec.host_network == Some(true);
    pod.spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|c| &c.ports)
        .filter_map(|port| {
            let number = port
                .host_port
                .filter(|p| *p > 0)
                .or(host_network.then_some(port.container_port))?;
            let ip = port
                .host_ip
                .as_deref()
                .filter(|ip| *ip != "0.0.0.0")
                .unwrap_or_default();
            Some(HostPort {
                protocol: port.protocol.as_deref().unwrap_or("TCP").into(),
                ip: ip.into(),
                port: number,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn finds_host_ports() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [{"ports": [
            {"containerPort": 80}, {"containerPort": 81, "hostPort": 8081, "hostIP": "0.0.0.0"}]}]}}))
        .unwrap();
        assert_eq!(
            host_ports(&pod),
            [HostPort {
                protocol: "TCP".into(),
                ip: "".into(),
                port: 8081
            }]
        );
    }

    #[test]
    fn all_addresses_conflict_with_each() {
        let port = |ip: &str| HostPort {
            protocol: "TCP".into(),
            ip: ip.into(),
            port: 80,
        };
        assert!(port("").conflicts(&port("10.0.0.1")));
        assert!(!port("10.0.0.2").conflicts(&port("10.0.0.1")));
        assert!(!port("").conflicts(&HostPort {
            protocol: "UDP".into(),
            ..port("")
        }));
    }
}
