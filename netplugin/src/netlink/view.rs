//! What exists in the kernel: links, addresses, routes.

use super::{Attributes, Batch, ROUTE_PROTOCOL, Socket};
use crate::{Error, Ipv4Net, Result};
use netlink_packet_core::NLM_F_DUMP;
use nix::errno::Errno;
use std::net::Ipv4Addr;

const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;
const RTM_GETROUTE: u16 = 26;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_IFALIAS: u16 = 20;
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 8;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const IFF_UP: u32 = 1;
const RT_TABLE_MAIN: u8 = 254;
const RTN_UNICAST: u8 = 1;
const AF_INET: u8 = 2;

/// A link as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) alias: Option<String>,
    /// Index of the bridge it is a port of.
    pub(crate) master: Option<u32>,
    /// Index of its peer, in the peer's own network namespace.
    pub(crate) peer: Option<u32>,
    pub(crate) mtu: u32,
    pub(crate) mac: Vec<u8>,
    pub(crate) up: bool,
}

impl Link {
    fn read(payload: &[u8]) -> Option<Self> {
        let number = |bytes: &[u8]| Some(u32::from_ne_bytes(bytes.try_into().ok()?));
        let attributes = Attributes::new(payload.get(16..)?);
        Some(Self {
            index: number(payload.get(4..8)?)?,
            name: attributes.text(IFLA_IFNAME)?.to_owned(),
            alias: attributes.text(IFLA_IFALIAS).map(str::to_owned),
            master: attributes.get(IFLA_MASTER).and_then(number),
            peer: attributes.get(IFLA_LINK).and_then(number),
            mtu: attributes.get(IFLA_MTU).and_then(number).unwrap_or(1500),
            mac: attributes.get(IFLA_ADDRESS).unwrap_or_default().to_vec(),
            up: number(payload.get(8..12)?)? & IFF_UP != 0,
        })
    }
}

/// All links of the socket's network namespace.
pub(crate) fn links(socket: &mut Socket) -> Result<Vec<Link>> {
    let mut batch = Batch::new();
    batch
        .message(RTM_GETLINK, NLM_F_DUMP)
        .header(&[0; 16])
        .bytes(IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    socket.dump(&batch, "list links", |found, payload| found.extend(Link::read(payload)))
}

/// One link, if there is one of that name.
pub(crate) fn link_by_name(socket: &mut Socket, name: &str) -> Result<Option<Link>> {
    let mut batch = Batch::new();
    batch
        .message(RTM_GETLINK, 0)
        .header(&[0; 16])
        .bytes(IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes())
        .text(IFLA_IFNAME, name);
    one_link(socket, batch, &format!("look up interface {name}"))
}

/// Asks for a link by its index.
pub(crate) fn push_link_request(batch: &mut Batch, index: u32) {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    batch
        .message(RTM_GETLINK, 0)
        .header(&header)
        .bytes(IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
}

/// Whether a link of that index is still there.
pub(crate) fn link_exists(socket: &mut Socket, index: u32) -> Result<bool> {
    let mut batch = Batch::new();
    push_link_request(&mut batch, index);
    Ok(one_link(socket, batch, &format!("look up interface {index}"))?.is_some())
}

fn one_link(socket: &mut Socket, mut batch: Batch, operation: &str) -> Result<Option<Link>> {
    batch.seal();
    match socket.dump(&batch, operation, |found, payload| found.extend(Link::read(payload))) {
        Ok(found) => Ok(found.into_iter().next()),
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The IPv4 addresses of all links, with the link's index.
pub(crate) fn address_list(socket: &mut Socket) -> Result<Vec<(u32, Ipv4Net)>> {
    let mut batch = Batch::new();
    batch
        .message(RTM_GETADDR, NLM_F_DUMP)
        .header(&[AF_INET, 0, 0, 0, 0, 0, 0, 0]);
    socket.dump(&batch, "list addresses", |found, payload| {
        let read = || {
            let prefix = *payload.get(1)?;
            let index = u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?);
            let local = Attributes::new(payload.get(8..)?).be32(IFA_LOCAL)?;
            Some((index, Ipv4Net::new(Ipv4Addr::from_bits(local), prefix)))
        };
        found.extend(read());
    })
}

struct RouteView {
    to: Ipv4Net,
    protocol: u8,
    link: u32,
}

fn routes(socket: &mut Socket) -> Result<Vec<RouteView>> {
    let mut batch = Batch::new();
    batch
        .message(RTM_GETROUTE, NLM_F_DUMP)
        .header(&[AF_INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    socket.dump(&batch, "list routes", |found, payload| {
        let read = || {
            let header = payload.get(..12)?;
            let attributes = Attributes::new(payload.get(12..)?);
            let link = u32::from_ne_bytes(attributes.get(RTA_OIF)?.try_into().ok()?);
            let to = Ipv4Net::new(Ipv4Addr::from_bits(attributes.be32(RTA_DST).unwrap_or(0)), header[1]);
            (header[4] == RT_TABLE_MAIN && header[7] == RTN_UNICAST).then_some(RouteView {
                to,
                protocol: header[5],
                link,
            })
        };
        found.extend(read());
    })
}

/// The destinations of our own routes over a link.
pub(crate) fn our_routes(socket: &mut Socket, link: u32) -> Result<Vec<Ipv4Net>> {
    let ours = |r: &RouteView| r.link == link && r.protocol == ROUTE_PROTOCOL;
    Ok(routes(socket)?.into_iter().filter(ours).map(|r| r.to).collect())
}

/// The link of the default route, if the host has one.
pub(crate) fn default_route_link(socket: &mut Socket) -> Result<Option<Link>> {
    let Some(index) = routes(socket)?.into_iter().find(|r| r.to.prefix == 0).map(|r| r.link) else {
        return Ok(None);
    };
    Ok(links(socket)?.into_iter().find(|l| l.index == index))
}

impl Error {
    /// Whether the kernel said that the object is not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(
            self.errno(),
            Some(Errno::ENOENT | Errno::ENODEV | Errno::ESRCH | Errno::EADDRNOTAVAIL)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_loopback_interface() {
        let mut socket = Socket::route().unwrap();
        let lo = link_by_name(&mut socket, "lo").unwrap().unwrap();
        assert_eq!((lo.index, lo.name.as_str(), lo.master), (1, "lo", None));
        assert!(links(&mut socket).unwrap().contains(&lo));
        assert!(link_exists(&mut socket, 1).unwrap());
        assert!(!link_exists(&mut socket, 0x7fff_fff0).unwrap());
        assert_eq!(link_by_name(&mut socket, "no-such-link").unwrap(), None);
        address_list(&mut socket).unwrap();
        default_route_link(&mut socket).unwrap();
    }
}
