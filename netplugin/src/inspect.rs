//! A look at a network namespace, for people: links, addresses and routes.
//!
//! Nothing waits for this, so it goes through the asynchronous `rtnetlink` handle on a thread of its own.

use crate::{Error, Result};
use futures_util::TryStreamExt;
use nix::sched::{CloneFlags, setns};
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

/// What a network namespace holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceView {
    /// Its links, in the order of their indices.
    pub links: Vec<LinkView>,
    /// Its IPv4 unicast routes of the main table.
    pub routes: Vec<RouteView>,
}

/// A link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkView {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// Its MTU.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
    /// Its addresses with prefix length.
    pub addresses: Vec<String>,
    /// The UID of the pod it belongs to, on the host's end of a pod's veth pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Index of the bridge it is a port of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge: Option<u32>,
    /// Index of its peer, in the peer's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<u32>,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteView {
    /// `default`, or a network.
    pub destination: String,
    /// The next hop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
    /// The source address of packets that take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Ipv4Addr>,
    /// The link it goes by.
    pub interface: String,
}

/// Looks at a network namespace, or at the caller's own.
///
/// # Errors
/// When the namespace cannot be entered or the kernel does not answer.
pub fn inspect(netns: Option<BorrowedFd<'_>>) -> Result<NamespaceView> {
    let look = || -> io::Result<NamespaceView> {
        if let Some(netns) = netns {
            setns(netns, CloneFlags::CLONE_NEWNET)?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(view())
    };
    // A thread of its own: it may change its namespace, and the caller may be inside a runtime.
    let outcome = std::thread::scope(|scope| scope.spawn(look).join());
    outcome
        .unwrap_or_else(|_| Err(io::Error::other("the thread for it panicked")))
        .map_err(Error::socket("look at a network namespace"))
}

async fn view() -> io::Result<NamespaceView> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let result = read(&handle).await.map_err(io::Error::other);
    connection.abort();
    result
}

async fn read(handle: &Handle) -> Result<NamespaceView, rtnetlink::Error> {
    let mut links: BTreeMap<u32, LinkView> = BTreeMap::new();
    let mut messages = handle.link().get().execute();
    while let Some(message) = messages.try_next().await? {
        let mut link = LinkView {
            index: message.header.index,
            ..LinkView::default()
        };
        link.up = message.header.flags.contains(LinkFlags::Up);
        message
            .attributes
            .into_iter()
            .for_each(|a| link_attribute(&mut link, a));
        links.insert(link.index, link);
    }
    let mut messages = handle.address().get().execute();
    while let Some(message) = messages.try_next().await? {
        let Some(link) = links.get_mut(&message.header.index) else {
            continue;
        };
        let local = message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Local(ip) => Some(*ip),
            _ => None,
        });
        let any = message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        });
        link.addresses
            .extend(local.or(any).map(|ip| format!("{ip}/{}", message.header.prefix_len)));
    }
    let mut routes = vec![];
    let filter = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let mut messages = handle.route().get(filter).execute();
    while let Some(message) = messages.try_next().await? {
        routes.extend(route_view(&message, &links));
    }
    Ok(NamespaceView {
        links: links.into_values().collect(),
        routes,
    })
}

fn link_attribute(link: &mut LinkView, attribute: LinkAttribute) {
    match attribute {
        LinkAttribute::IfName(name) => link.name = name,
        LinkAttribute::Address(bytes) => {
            link.mac = bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":");
        }
        LinkAttribute::Mtu(mtu) => link.mtu = mtu,
        LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
        LinkAttribute::Controller(index) => link.bridge = Some(index),
        LinkAttribute::Link(index) => link.peer = Some(index),
        LinkAttribute::Stats64(stats) => {
            link.received_bytes = stats.rx_bytes;
            link.sent_bytes = stats.tx_bytes;
        }
        _ => {}
    }
}

fn route_view(message: &RouteMessage, links: &BTreeMap<u32, LinkView>) -> Option<RouteView> {
    if message.header.table != RouteHeader::RT_TABLE_MAIN || message.header.kind != RouteType::Unicast {
        return None;
    }
    let mut view = RouteView {
        destination: "default".into(),
        gateway: None,
        source: None,
        interface: String::new(),
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => {
                view.destination = format!("{ip}/{}", message.header.destination_prefix_length);
            }
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => view.gateway = Some(*ip),
            RouteAttribute::PrefSource(RouteAddress::Inet(ip)) => view.source = Some(*ip),
            RouteAttribute::Oif(index) => {
                view.interface = links.get(index).map(|l| l.name.clone()).unwrap_or_default();
            }
            _ => {}
        }
    }
    Some(view)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_the_loopback_interface() {
        let view = inspect(None).unwrap();
        let lo = view.links.iter().find(|l| l.index == 1).unwrap();
        assert_eq!(lo.name, "lo");
        assert_eq!(lo.mac, "00:00:00:00:00:00");
    }
}
