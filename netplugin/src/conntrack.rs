//! Forgetting of UDP flows through the connection tracking interface (`linux/netfilter/nfnetlink_conntrack.h`).

use crate::netlink::{Attributes, Batch, Message, Socket};
use crate::{Ipv4Net, Protocol, Result};
use netlink_packet_core::NLM_F_DUMP;
use nix::errno::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const GET: u16 = 1;
const DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_F_PROTO_NUM: u32 = 1 << 3;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
/// `struct nfgenmsg` for IPv4.
const HEADER: [u8; 4] = [2, 0, 0, 0];

/// Which UDP flows are to be forgotten.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StaleFlows {
    /// Flows to this address, unless they go to one of these endpoints.
    pub(crate) addresses: BTreeMap<SocketAddrV4, Vec<SocketAddrV4>>,
    /// The same for ports on the host's own addresses (any address if `locals` is empty).
    pub(crate) ports: BTreeMap<u16, Vec<SocketAddrV4>>,
    /// Flows translated to one of these.
    pub(crate) endpoints: BTreeSet<SocketAddrV4>,
    /// The host's own addresses.
    pub(crate) locals: BTreeSet<Ipv4Addr>,
}

impl StaleFlows {
    pub(crate) fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.ports.is_empty() && self.endpoints.is_empty()
    }

    /// `to` is where the client sends, `from` who answers.
    fn matches(&self, to: SocketAddrV4, from: SocketAddrV4) -> bool {
        let elsewhere = |endpoints: &Vec<SocketAddrV4>| !endpoints.contains(&from);
        if let Some(endpoints) = self.addresses.get(&to) {
            return elsewhere(endpoints);
        }
        if self.endpoints.contains(&from) && to != from {
            return true;
        }
        let here = self.locals.is_empty() || self.locals.contains(to.ip());
        here && self.ports.get(&to.port()).is_some_and(elsewhere)
    }
}

/// One direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tuple {
    source: SocketAddrV4,
    destination: SocketAddrV4,
    protocol: u8,
}

impl Tuple {
    fn read(attributes: &Attributes<'_>) -> Option<Self> {
        let ip = attributes.inside(CTA_TUPLE_IP);
        let proto = attributes.inside(CTA_TUPLE_PROTO);
        let address = |kind| ip.be32(kind).map(Ipv4Addr::from_bits);
        let port = |kind| proto.be16(kind).unwrap_or(0);
        Some(Self {
            source: SocketAddrV4::new(address(CTA_IP_V4_SRC)?, port(CTA_PROTO_SRC_PORT)),
            destination: SocketAddrV4::new(address(CTA_IP_V4_DST)?, port(CTA_PROTO_DST_PORT)),
            protocol: *proto.get(CTA_PROTO_NUM)?.first()?,
        })
    }
}

/// A flow: its tuples, and what names it to the kernel.
#[derive(Debug)]
struct Flow {
    original: Tuple,
    reply: Tuple,
    tuple: Vec<u8>,
    id: Option<Vec<u8>>,
}

fn request(batch: &mut Batch, kind: u16, flags: u16) -> Message<'_> {
    let mut message = batch.message(NFNL_SUBSYS_CTNETLINK << 8 | kind, flags);
    message.header(&HEADER);
    message
}

fn flows(socket: &mut Socket, protocol: Option<Protocol>) -> Result<Vec<Flow>> {
    let mut batch = Batch::new();
    {
        let mut message = request(&mut batch, GET, NLM_F_DUMP);
        if let Some(protocol) = protocol {
            // Kernels before 5.8 ignore the filter, so it is applied again below.
            message.nest(CTA_TUPLE_ORIG, |m| {
                m.nest(CTA_TUPLE_PROTO, |m| {
                    m.u8(CTA_PROTO_NUM, protocol.number());
                });
            });
            message.nest(CTA_FILTER, |m| {
                m.bytes(CTA_FILTER_ORIG_FLAGS, &CTA_FILTER_F_PROTO_NUM.to_ne_bytes());
                m.bytes(CTA_FILTER_ORIG_FLAGS + 1, &0u32.to_ne_bytes());
            });
        }
    }
    let mut found = socket.dump(&batch, "list tracked connections", |found, payload| {
        let attributes = Attributes::new(payload.get(4..).unwrap_or_default());
        let read = || {
            Some(Flow {
                original: Tuple::read(&attributes.inside(CTA_TUPLE_ORIG))?,
                reply: Tuple::read(&attributes.inside(CTA_TUPLE_REPLY))?,
                tuple: attributes.get(CTA_TUPLE_ORIG)?.to_vec(),
                id: attributes.get(CTA_ID).map(<[u8]>::to_vec),
            })
        };
        found.extend(read());
    })?;
    if let Some(protocol) = protocol {
        found.retain(|f| f.original.protocol == protocol.number());
    }
    Ok(found)
}

/// Forgets the flows and returns how many there were.
pub(crate) fn flush(socket: &mut Socket, stale: &StaleFlows) -> Result<usize> {
    let flows = flows(socket, Some(Protocol::Udp))?;
    delete(
        socket,
        flows
            .iter()
            .filter(|f| stale.matches(f.original.destination, f.reply.source)),
    )
}

/// Forgets every flow from or to the networks, so that a later network of the same addresses begins afresh.
pub(crate) fn flush_networks(socket: &mut Socket, networks: &[Ipv4Net]) -> Result<usize> {
    let flows = flows(socket, None)?;
    let inside = |ip: &Ipv4Addr| networks.iter().any(|n| n.contains(*ip));
    delete(
        socket,
        flows.iter().filter(|f| {
            [
                f.original.source,
                f.original.destination,
                f.reply.source,
                f.reply.destination,
            ]
            .iter()
            .any(|a| inside(a.ip()))
        }),
    )
}

fn delete<'a>(socket: &mut Socket, flows: impl Iterator<Item = &'a Flow>) -> Result<usize> {
    const OPERATION: &str = "forget tracked connections";
    let flows: Vec<&Flow> = flows.collect();
    for chunk in flows.chunks(256) {
        let mut batch = Batch::new();
        for flow in chunk {
            let mut message = request(&mut batch, DELETE, 0);
            message.bytes(CTA_TUPLE_ORIG | 1 << 15, &flow.tuple);
            if let Some(id) = &flow.id {
                message.bytes(CTA_ID, id);
            }
        }
        let refusals = socket.transact(&mut batch).map_err(crate::Error::socket(OPERATION))?;
        // One that ended by itself in the meantime is just as gone.
        if let Some(refusal) = refusals.into_iter().find(|r| r.errno != Errno::ENOENT) {
            return Err(refusal.into_error(OPERATION));
        }
    }
    Ok(flows.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddrV4 {
        text.parse().unwrap()
    }

    #[test]
    fn flows_of_living_endpoints_stay() {
        let stale = StaleFlows {
            addresses: BTreeMap::from([(at("10.96.0.9:53"), vec![at("10.244.0.3:53")])]),
            ..StaleFlows::default()
        };
        assert!(
            stale.matches(at("10.96.0.9:53"), at("10.244.0.2:53")),
            "removed endpoint"
        );
        assert!(
            stale.matches(at("10.96.0.9:53"), at("10.96.0.9:53")),
            "never translated"
        );
        assert!(!stale.matches(at("10.96.0.9:53"), at("10.244.0.3:53")));
        assert!(
            !stale.matches(at("10.96.0.8:53"), at("10.244.0.2:53")),
            "another service"
        );
    }

    #[test]
    fn node_ports_count_on_own_addresses_only() {
        let stale = StaleFlows {
            ports: BTreeMap::from([(30053, vec![])]),
            locals: BTreeSet::from(["192.0.2.1".parse().unwrap()]),
            ..StaleFlows::default()
        };
        assert!(stale.matches(at("192.0.2.1:30053"), at("10.244.0.2:53")));
        assert!(!stale.matches(at("198.51.100.1:30053"), at("198.51.100.1:30053")));
    }

    #[test]
    fn a_tuple_reads_back() {
        let mut batch = Batch::new();
        request(&mut batch, DELETE, 0).nest(CTA_TUPLE_ORIG, |m| {
            m.nest(CTA_TUPLE_IP, |m| {
                m.bytes(CTA_IP_V4_SRC, &[10, 0, 0, 1])
                    .bytes(CTA_IP_V4_DST, &[10, 0, 0, 2]);
            });
            m.nest(CTA_TUPLE_PROTO, |m| {
                m.u8(CTA_PROTO_NUM, 17)
                    .bytes(CTA_PROTO_SRC_PORT, &[0, 7])
                    .bytes(CTA_PROTO_DST_PORT, &[0, 53]);
            });
        });
        let attributes = Attributes::new(&batch.bytes()[20..]).inside(CTA_TUPLE_ORIG);
        assert_eq!(
            Tuple::read(&attributes),
            Some(Tuple {
                source: at("10.0.0.1:7"),
                destination: at("10.0.0.2:53"),
                protocol: 17
            })
        );
    }
}
