//! The rtnetlink requests that make and change links, addresses and routes.

use super::ROUTE_PROTOCOL;
use crate::Ipv4Net;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// A veth pair whose peer is born in the pod's network namespace.
///
/// Moving a device that is up into a namespace waits for the network stack (31 ms measured); a peer that is created
/// there does not. The host end gets its bridge and comes up in the same message. The peer has to stay down: with
/// IFF_UP it would be opened before it has a peer (ENOTCONN). Without being told, the kernel makes a queue per
/// processor for each end, which costs a third of the time and helps nobody: a veth transmits without a lock.
#[derive(Debug)]
pub(crate) struct Veth<'a> {
    pub(crate) host: &'a str,
    pub(crate) bridge: u32,
    pub(crate) mtu: u32,
    pub(crate) peer: &'a str,
    pub(crate) peer_mac: [u8; 6],
    pub(crate) netns: BorrowedFd<'a>,
}

impl Veth<'_> {
    pub(crate) fn create(&self) -> RouteNetlinkMessage {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(self.peer.to_owned()),
            LinkAttribute::NumTxQueues(1),
            LinkAttribute::NumRxQueues(1),
            LinkAttribute::Address(self.peer_mac.to_vec()),
            LinkAttribute::Mtu(self.mtu),
            LinkAttribute::NetNsFd(self.netns.as_raw_fd()),
        ];
        let mut host = LinkMessage::default();
        up(&mut host);
        host.attributes = vec![
            LinkAttribute::IfName(self.host.to_owned()),
            LinkAttribute::NumTxQueues(1),
            LinkAttribute::NumRxQueues(1),
            LinkAttribute::Mtu(self.mtu),
            LinkAttribute::Controller(self.bridge),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        RouteNetlinkMessage::NewLink(host)
    }
}

/// What can be set on a bridge port only once it exists.
#[derive(Debug)]
pub(crate) struct BridgePort<'a> {
    pub(crate) name: &'a str,
    /// The pod's UID, so that the interface can be traced back without any record.
    pub(crate) alias: &'a str,
    pub(crate) ipv6: bool,
}

/// Isolates a bridge port (all pod traffic has to be routed by the host) and names the pod it belongs to.
pub(crate) fn port(port: &BridgePort<'_>) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(port.name.to_owned()),
        LinkAttribute::IfAlias(port.alias.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(true)])),
        ]),
    ];
    if port.ipv6 {
        message.attributes.push(no_link_local());
    }
    RouteNetlinkMessage::NewLink(message)
}

/// Keeps the kernel from giving a link an IPv6 address of its own.
pub(crate) fn quiet_ipv6(name: &str) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(name.to_owned()), no_link_local()];
    RouteNetlinkMessage::NewLink(message)
}

/// The bridge itself, with an address of its own so that it does not change with its ports.
pub(crate) fn bridge(name: &str, mac: [u8; 6], mtu: u32) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(mac.to_vec()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            // Pods are isolated from each other, so there is no multicast to be learnt about.
            LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::MulticastSnooping(false)])),
        ]),
    ];
    RouteNetlinkMessage::NewLink(message)
}

/// Without IPv6 addresses there is no duplicate address detection and no router solicitation: less to do per pod.
fn no_link_local() -> LinkAttribute {
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(
        In6AddrGenMode::None,
    )])])
}

fn up(message: &mut LinkMessage) {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
}

pub(crate) fn link_up(index: u32) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    up(&mut message);
    RouteNetlinkMessage::NewLink(message)
}

pub(crate) fn link_down(index: u32) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.change_mask = LinkFlags::Up;
    RouteNetlinkMessage::NewLink(message)
}

pub(crate) fn hardware_address(index: u32, mac: [u8; 6]) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![LinkAttribute::Address(mac.to_vec())];
    RouteNetlinkMessage::NewLink(message)
}

/// Says whose a link is.
pub(crate) fn alias(index: u32, alias: &str) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![LinkAttribute::IfAlias(alias.to_owned())];
    RouteNetlinkMessage::NewLink(message)
}

pub(crate) fn delete_link(index: u32) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    RouteNetlinkMessage::DelLink(message)
}

pub(crate) fn set_group(index: u32, group: u32) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![LinkAttribute::Group(group)];
    RouteNetlinkMessage::SetLink(message)
}

/// Deletes every link of the group at once: the network stack is waited for once, not once for each.
pub(crate) fn delete_group(group: u32) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::Group(group)];
    RouteNetlinkMessage::DelLink(message)
}

/// An address of a link; for `RTM_NEWADDR` and `RTM_DELADDR`.
pub(crate) fn address(index: u32, net: Ipv4Net) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = net.prefix;
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(net.addr)),
        AddressAttribute::Address(IpAddr::V4(net.addr)),
    ];
    message
}

/// A route of the main table. With a gateway it is "onlink": the gateway need not lie in a network of the interface.
pub(crate) fn route(to: Ipv4Net, index: u32, gateway: Option<Ipv4Addr>, source: Option<Ipv4Addr>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = to.prefix;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Other(ROUTE_PROTOCOL);
    message.header.kind = RouteType::Unicast;
    message.header.scope = if gateway.is_some() {
        RouteScope::Universe
    } else {
        RouteScope::Link
    };
    if to.prefix > 0 {
        message
            .attributes
            .push(RouteAttribute::Destination(RouteAddress::Inet(to.network())));
    }
    message.attributes.push(RouteAttribute::Oif(index));
    if let Some(gateway) = gateway {
        message.header.flags = RouteFlags::Onlink;
        message
            .attributes
            .push(RouteAttribute::Gateway(RouteAddress::Inet(gateway)));
    }
    if let Some(source) = source {
        message
            .attributes
            .push(RouteAttribute::PrefSource(RouteAddress::Inet(source)));
    }
    message
}

/// A fixed neighbour entry: the hardware address is known, so nobody is asked for it.
pub(crate) fn neighbour(index: u32, ip: Ipv4Addr, mac: [u8; 6]) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)),
        NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
    ];
    RouteNetlinkMessage::NewNeighbour(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Attributes, Batch};
    use std::os::fd::AsFd;

    const IFLA_IFNAME: u16 = 3;
    const IFLA_MASTER: u16 = 10;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_NET_NS_FD: u16 = 28;

    #[test]
    fn the_peer_carries_its_namespace_and_stays_down() {
        let file = std::fs::File::open("/proc/self/ns/net").unwrap();
        let veth = Veth {
            host: "bp0123456789ab",
            bridge: 7,
            mtu: 1450,
            peer: "eth0",
            peer_mac: [10, 88, 10, 244, 0, 2],
            netns: file.as_fd(),
        };
        let mut batch = Batch::new();
        batch.route(veth.create(), 0);
        let bytes = batch.bytes();
        assert_eq!(&bytes[24..32], &[1, 0, 0, 0, 1, 0, 0, 0], "host end comes up");
        let host = Attributes::new(&bytes[32..]);
        assert_eq!(host.text(IFLA_IFNAME), Some("bp0123456789ab"));
        assert_eq!(host.get(IFLA_MASTER), Some(&7u32.to_ne_bytes()[..]));
        let info = host.inside(IFLA_LINKINFO);
        assert!(info.text(1).is_some_and(|kind| kind == "veth"));
        let peer = info.inside(2).get(1).unwrap();
        assert_eq!(&peer[..16], &[0; 16], "the peer has no flags");
        let peer = Attributes::new(&peer[16..]);
        assert_eq!(peer.text(IFLA_IFNAME), Some("eth0"));
        assert_eq!(peer.get(IFLA_NET_NS_FD), Some(&file.as_raw_fd().to_ne_bytes()[..]));
    }

    #[test]
    fn default_route_has_no_destination() {
        let default = route(
            "0.0.0.0/0".parse().unwrap(),
            2,
            Some(Ipv4Addr::new(10, 244, 0, 1)),
            None,
        );
        assert!(
            !default
                .attributes
                .iter()
                .any(|a| matches!(a, RouteAttribute::Destination(_)))
        );
        assert_eq!(default.header.flags, RouteFlags::Onlink);
        let services = route(
            "10.96.0.0/16".parse().unwrap(),
            2,
            None,
            Some(Ipv4Addr::new(10, 244, 0, 1)),
        );
        assert_eq!(services.header.scope, RouteScope::Link);
        assert_eq!(services.attributes.len(), 3);
    }
}
