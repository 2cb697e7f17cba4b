//! What a node's network is made from and what is asked of it.

use crate::{Error, Ipv4Net, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

/// The settings of a node's pod network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the bridge, at most 15 bytes.
    pub bridge: String,
    /// The node's share of the pod addresses; the first address is the bridge's.
    pub pod_cidr: Ipv4Net,
    /// All pod addresses of the cluster. Traffic that leaves it is masqueraded.
    pub cluster_cidr: Ipv4Net,
    /// The addresses of Services.
    pub service_cidr: Ipv4Net,
    /// Directory of the reservations and of the host's recorded settings. One process owns it at a time.
    pub state_dir: PathBuf,
    /// MTU of the pods' interfaces; without it the one of the default route's interface, else 1500.
    pub mtu: Option<u32>,
}

impl Config {
    /// The bridge's address, which every pod has as its gateway.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        self.pod_cidr.first()
    }

    /// Refuses settings that cannot work, before anything is changed.
    pub(crate) fn check(&self) -> Result<()> {
        let bad = |what, value: String, reason| Err(Error::Setting { what, value, reason });
        // IFNAMSIZ is 16 with the terminating zero; '/' and white space are refused by the kernel.
        if self.bridge.is_empty()
            || self.bridge.len() > 15
            || self
                .bridge
                .contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
        {
            return bad(
                "bridge name",
                self.bridge.clone(),
                "expected 1 to 15 characters without '/', ':' and blanks",
            );
        }
        if self.pod_cidr.prefix > 30 {
            return bad(
                "pod CIDR",
                self.pod_cidr.to_string(),
                "it has no room for a gateway and a pod",
            );
        }
        if !self.cluster_cidr.contains(self.pod_cidr.network()) || self.cluster_cidr.prefix > self.pod_cidr.prefix {
            return bad(
                "pod CIDR",
                self.pod_cidr.to_string(),
                "it is not within the cluster CIDR",
            );
        }
        if self.service_cidr.contains(self.cluster_cidr.network())
            || self.cluster_cidr.contains(self.service_cidr.network())
        {
            return bad(
                "service CIDR",
                self.service_cidr.to_string(),
                "it overlaps the cluster CIDR",
            );
        }
        Ok(())
    }
}

/// A transport protocol a Service or a host port can have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// Transmission Control Protocol.
    #[default]
    Tcp,
    /// User Datagram Protocol.
    Udp,
    /// Stream Control Transmission Protocol.
    Sctp,
}

impl Protocol {
    /// The number in an IP header.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }

    pub(crate) const fn lower(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// A port of the node that leads to a port of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPort {
    /// Only this address of the node; without it all of them, except loopback.
    #[serde(default, rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<Ipv4Addr>,
    /// The port of the node.
    pub host_port: u16,
    /// The port of the pod.
    pub container_port: u16,
    /// The protocol.
    #[serde(default)]
    pub protocol: Protocol,
}

impl HostPort {
    /// Whether one packet could be meant for both.
    pub(crate) fn collides(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.host_port == other.host_port
            && match (self.host_ip, other.host_ip) {
                (Some(one), Some(two)) => one == two,
                _ => true,
            }
    }
}

/// One pod that wants a network.
#[derive(Clone, Debug)]
pub struct AddRequest<'a> {
    /// The pod's UID, the key of everything made for it.
    pub uid: &'a str,
    /// The pod's network namespace.
    pub netns: BorrowedFd<'a>,
    /// Ports of the node that lead to the pod.
    pub host_ports: Vec<HostPort>,
}

/// What a pod has got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// The pod's UID.
    pub uid: String,
    /// The pod's address, a /32 on its `eth0`.
    pub ip: Ipv4Addr,
    /// The pod's gateway, the bridge's address.
    pub gateway: Ipv4Addr,
    /// The host's end of the veth pair.
    pub host_interface: String,
}

/// One port of one Service, with the endpoints that stand behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServicePort {
    /// `namespace/service:port name`, unique together with the protocol.
    pub name: String,
    /// The ClusterIP; none for a headless Service.
    pub cluster_ip: Option<Ipv4Addr>,
    /// External addresses and those of the load balancer.
    pub external_ips: Vec<Ipv4Addr>,
    /// The protocol.
    pub protocol: Protocol,
    /// The Service's port.
    pub port: u16,
    /// The port on the node's own addresses.
    pub node_port: Option<u16>,
    /// `sessionAffinity: ClientIP` with this timeout.
    pub affinity_secs: Option<u32>,
    /// Ready endpoints of the cluster. Without any, connections are refused.
    pub endpoints: Vec<SocketAddrV4>,
    /// `externalTrafficPolicy: Local`: traffic from outside goes to this node's endpoints only and keeps its source
    /// address; without a local endpoint it is dropped, so that a load balancer turns to another node. An endpoint is
    /// local when it is in the node's pod CIDR or has one of the node's own addresses.
    pub local_endpoints_only_external: bool,
}

/// What one call of `sync` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Whether the kernel's rules were changed.
    pub changed: bool,
    /// Whether the whole table was built anew (first call, or somebody else had removed it).
    pub rebuilt: bool,
    /// Netlink messages of the transaction.
    pub messages: usize,
    /// UDP flows that were forgotten because their endpoint is gone.
    pub flushed_flows: usize,
    /// Service ports left out because another one has the same address and port; one line each.
    pub conflicts: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            bridge: "barepod0".into(),
            pod_cidr: "10.244.1.0/24".parse().unwrap(),
            cluster_cidr: "10.244.0.0/16".parse().unwrap(),
            service_cidr: "10.96.0.0/16".parse().unwrap(),
            state_dir: "/nonexistent".into(),
            mtu: None,
        }
    }

    #[test]
    fn gateway_is_the_first_address() {
        config().check().unwrap();
        assert_eq!(config().gateway(), Ipv4Addr::new(10, 244, 1, 1));
    }

    #[test]
    fn refuses_what_cannot_work() {
        for change in [
            (|c: &mut Config| c.bridge = "a-name-that-is-too-long".into()) as fn(&mut Config),
            |c| c.bridge = String::new(),
            |c| c.bridge = "a/b".into(),
            |c| c.pod_cidr = "10.244.1.0/31".parse().unwrap(),
            |c| c.pod_cidr = "10.245.1.0/24".parse().unwrap(),
            |c| c.pod_cidr = "10.0.0.0/8".parse().unwrap(),
            |c| c.service_cidr = "10.244.9.0/24".parse().unwrap(),
            |c| c.service_cidr = "10.0.0.0/8".parse().unwrap(),
        ] {
            let mut config = config();
            change(&mut config);
            assert!(matches!(config.check(), Err(Error::Setting { .. })), "{config:?}");
        }
    }

    #[test]
    fn host_ports_collide_by_address() {
        let any = HostPort {
            host_ip: None,
            host_port: 80,
            container_port: 8080,
            protocol: Protocol::Tcp,
        };
        let one = HostPort {
            host_ip: Some(Ipv4Addr::new(192, 0, 2, 1)),
            ..any
        };
        let two = HostPort {
            host_ip: Some(Ipv4Addr::new(192, 0, 2, 2)),
            ..any
        };
        assert!(any.collides(&one) && one.collides(&any) && any.collides(&any));
        assert!(!one.collides(&two));
        assert!(!any.collides(&HostPort {
            protocol: Protocol::Udp,
            ..any
        }));
        assert!(!any.collides(&HostPort { host_port: 81, ..any }));
    }
}
