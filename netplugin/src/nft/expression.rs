//! The expressions rules are made of.
//!
//! A rule reads packet data into 32-bit registers, compares them or looks them up, and ends in a verdict or in address
//! translation. An expression that does not match ends the rule.

use super::abi::{
    NF_DROP, NFT_GOTO, NFT_JUMP, NFT_REG_VERDICT, NFT_RETURN, NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_EXPR_DATA,
    NFTA_EXPR_NAME, NFTA_LIST_ELEM, NFTA_VERDICT_CHAIN, NFTA_VERDICT_CODE,
};
use crate::Ipv4Net;
use crate::netlink::Message;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The first of the 32-bit registers (`NFT_REG32_00`). Concatenations lie in registers that follow each other.
const FIRST: u32 = 8;

/// Where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    Drop,
    Return,
    Jump(&'a str),
    Goto(&'a str),
}

impl Verdict<'_> {
    pub(super) fn write(self, m: &mut Message<'_>) {
        let (code, chain) = match self {
            Self::Drop => (NF_DROP, None),
            Self::Return => (NFT_RETURN, None),
            Self::Jump(chain) => (NFT_JUMP, Some(chain)),
            Self::Goto(chain) => (NFT_GOTO, Some(chain)),
        };
        m.nest(NFTA_DATA_VERDICT, |m| {
            m.bytes(NFTA_VERDICT_CODE, &code.to_be_bytes());
            if let Some(chain) = chain {
                m.text(NFTA_VERDICT_CHAIN, chain);
            }
        });
    }
}

/// Writes the expressions of one rule.
pub(crate) struct Rule<'m, 'a> {
    message: &'m mut Message<'a>,
}

impl<'m, 'a> Rule<'m, 'a> {
    pub(super) fn new(message: &'m mut Message<'a>) -> Self {
        Self { message }
    }

    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Message<'_>)) -> &mut Self {
        self.message.nest(NFTA_LIST_ELEM, |m| {
            m.text(NFTA_EXPR_NAME, name);
            m.nest(NFTA_EXPR_DATA, fill);
        });
        self
    }

    fn payload(&mut self, base: u32, offset: u32, length: u32, register: u32) -> &mut Self {
        self.expression("payload", |m| {
            m.be32(1, FIRST + register)
                .be32(2, base)
                .be32(3, offset)
                .be32(4, length);
        })
    }

    fn meta(&mut self, key: u32, register: u32) -> &mut Self {
        self.expression("meta", |m| {
            m.be32(1, register).be32(2, key);
        })
    }

    fn compare(&mut self, register: u32, equal: bool, value: &[u8]) -> &mut Self {
        self.expression("cmp", |m| {
            m.be32(1, register).be32(2, u32::from(!equal)).nest(3, |m| {
                m.bytes(NFTA_DATA_VALUE, value);
            });
        })
    }

    /// `register = (register & mask) ^ xor`, four bytes.
    fn bitwise(&mut self, register: u32, mask: [u8; 4], xor: [u8; 4]) -> &mut Self {
        self.expression("bitwise", |m| {
            m.be32(1, FIRST + register).be32(2, FIRST + register).be32(3, 4);
            m.nest(4, |m| {
                m.bytes(NFTA_DATA_VALUE, &mask);
            });
            m.nest(5, |m| {
                m.bytes(NFTA_DATA_VALUE, &xor);
            });
        })
    }

    /// Source address into a register.
    pub(crate) fn source(&mut self, register: u32) -> &mut Self {
        self.payload(1, 12, 4, register)
    }

    /// Destination address into a register.
    pub(crate) fn destination(&mut self, register: u32) -> &mut Self {
        self.payload(1, 16, 4, register)
    }

    /// Transport protocol into a register.
    pub(crate) fn protocol(&mut self, register: u32) -> &mut Self {
        self.meta(16, FIRST + register)
    }

    /// Destination port into a register; the port is at the same place in TCP, UDP and SCTP.
    pub(crate) fn destination_port(&mut self, register: u32) -> &mut Self {
        self.payload(2, 2, 2, register)
    }

    fn in_network(&mut self, net: Ipv4Net, inside: bool) -> &mut Self {
        self.bitwise(0, net.netmask().octets(), [0; 4])
            .compare(FIRST, inside, &net.network().octets())
    }

    /// Matches a source within the network.
    pub(crate) fn source_in(&mut self, net: Ipv4Net) -> &mut Self {
        self.source(0).in_network(net, true)
    }

    /// Matches a destination within (or not within) the network.
    pub(crate) fn destination_in(&mut self, net: Ipv4Net, inside: bool) -> &mut Self {
        self.destination(0).in_network(net, inside)
    }

    /// Matches a destination that is an address of this host.
    pub(crate) fn destination_is_local(&mut self) -> &mut Self {
        self.address_type(2)
    }

    /// Matches a source that is an address of this host.
    pub(crate) fn source_is_local(&mut self) -> &mut Self {
        self.address_type(1)
    }

    /// `fib {saddr|daddr} type local`: NFTA_FIB_F_SADDR is 1, NFTA_FIB_F_DADDR is 2, RTN_LOCAL is 2.
    fn address_type(&mut self, which: u32) -> &mut Self {
        self.expression("fib", |m| {
            m.be32(1, FIRST).be32(2, 3).be32(3, which);
        })
        .compare(FIRST, true, &2u32.to_ne_bytes())
    }

    /// Matches the interface the packet leaves by.
    pub(crate) fn leaves_by(&mut self, interface: &str) -> &mut Self {
        let mut name = [0; 16];
        name[..interface.len()].copy_from_slice(interface.as_bytes());
        // NFT_REG_1 is the first of the four 16-byte registers.
        self.meta(7, 1).compare(1, true, &name)
    }

    /// Matches the transport protocol.
    pub(crate) fn protocol_is(&mut self, number: u8) -> &mut Self {
        self.protocol(0).compare(FIRST, true, &[number])
    }

    /// Matches the first packet of a connection.
    pub(crate) fn connection_is_new(&mut self) -> &mut Self {
        self.expression("ct", |m| {
            m.be32(1, FIRST).be32(2, 0);
        })
        .bitwise(0, 8u32.to_ne_bytes(), [0; 4])
        .compare(FIRST, false, &[0; 4])
    }

    /// Matches packets with the mark bit.
    pub(crate) fn has_mark(&mut self, bit: u32) -> &mut Self {
        self.meta(3, FIRST)
            .bitwise(0, bit.to_ne_bytes(), [0; 4])
            .compare(FIRST, false, &[0; 4])
    }

    /// Sets or clears the mark bit.
    pub(crate) fn mark(&mut self, bit: u32, set: bool) -> &mut Self {
        let xor = if set { bit } else { 0 };
        self.meta(3, FIRST)
            .bitwise(0, (!bit).to_ne_bytes(), xor.to_ne_bytes())
            .expression("meta", |m| {
                m.be32(2, 3).be32(3, FIRST);
            })
    }

    /// Matches when the key that starts in the register is in the set.
    pub(crate) fn in_set(&mut self, set: &str, key: u32) -> &mut Self {
        self.expression("lookup", |m| {
            m.text(1, set).be32(2, FIRST + key);
        })
    }

    /// Looks the key up in a map and puts its data into the register.
    pub(crate) fn map(&mut self, set: &str, key: u32, data: u32) -> &mut Self {
        self.expression("lookup", |m| {
            m.text(1, set).be32(2, FIRST + key).be32(3, FIRST + data);
        })
    }

    /// Looks the key up in a verdict map and goes there.
    pub(crate) fn verdict_map(&mut self, set: &str, key: u32) -> &mut Self {
        self.expression("lookup", |m| {
            m.text(1, set).be32(2, FIRST + key).be32(3, NFT_REG_VERDICT);
        })
    }

    /// Matches every nth packet that comes by, beginning with the first.
    pub(crate) fn every(&mut self, nth: u32) -> &mut Self {
        self.expression("numgen", |m| {
            m.be32(1, FIRST).be32(2, nth).be32(3, 0);
        })
        .compare(FIRST, true, &0u32.to_ne_bytes())
    }

    /// Puts the key into a dynamic set, or makes it younger if it is there.
    pub(crate) fn remember(&mut self, set: &str, key: u32) -> &mut Self {
        self.expression("dynset", |m| {
            m.text(1, set).be32(3, 1).be32(4, FIRST + key);
        })
    }

    fn value(&mut self, register: u32, value: &[u8]) -> &mut Self {
        self.expression("immediate", |m| {
            m.be32(1, FIRST + register).nest(2, |m| {
                m.bytes(NFTA_DATA_VALUE, value);
            });
        })
    }

    /// Destination address translation to a certain address and port.
    pub(crate) fn dnat_to(&mut self, to: SocketAddrV4) -> &mut Self {
        self.value(0, &to.ip().octets())
            .value(1, &to.port().to_be_bytes())
            .dnat(0)
    }

    /// Destination address translation: the address is in the register, the port in the next one.
    pub(crate) fn dnat(&mut self, register: u32) -> &mut Self {
        self.expression("nat", |m| {
            m.be32(1, 1)
                .be32(2, 2)
                .be32(3, FIRST + register)
                .be32(5, FIRST + register + 1);
        })
    }

    /// Source address translation to the address of the interface the packet leaves by, with a random source port
    /// (NF_NAT_RANGE_PROTO_RANDOM_FULLY; sequential ports race when two connections start at once).
    pub(crate) fn masquerade(&mut self) -> &mut Self {
        self.expression("masq", |m| {
            m.be32(1, 16);
        })
    }

    /// Source address translation to a certain address, with a random source port.
    pub(crate) fn snat(&mut self, to: Ipv4Addr) -> &mut Self {
        self.value(0, &to.octets()).expression("nat", |m| {
            m.be32(1, 0).be32(2, 2).be32(3, FIRST).be32(7, 16);
        })
    }

    /// Answers with a TCP reset.
    pub(crate) fn reset_connection(&mut self) -> &mut Self {
        self.expression("reject", |m| {
            m.be32(1, 1).u8(2, 0);
        })
    }

    /// Answers with ICMP "port unreachable".
    pub(crate) fn port_unreachable(&mut self) -> &mut Self {
        self.expression("reject", |m| {
            m.be32(1, 0).u8(2, 3);
        })
    }

    /// Ends the rule in a verdict.
    pub(crate) fn verdict(&mut self, verdict: Verdict<'_>) -> &mut Self {
        self.expression("immediate", |m| {
            m.be32(1, NFT_REG_VERDICT).nest(2, |m| verdict.write(m));
        })
    }
}
