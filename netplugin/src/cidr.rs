//! IPv4 networks in prefix notation.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 address with a prefix length, such as `10.244.0.0/24`.
///
/// The address may have host bits; [`Ipv4Net::network`] drops them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ipv4Net {
    /// The address as written.
    pub addr: Ipv4Addr,
    /// The prefix length, at most 32.
    pub prefix: u8,
}

/// Why a text is not an IPv4 network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNetError {
    /// There is no `/`.
    #[error("{0:?} has no prefix length, expected something like 10.244.0.0/24")]
    NoPrefix(String),
    /// The part before the `/` is not an address.
    #[error("{0:?} is not an IPv4 address")]
    Address(String),
    /// The part after the `/` is not a number up to 32.
    #[error("{0:?} is not a prefix length between 0 and 32")]
    Prefix(String),
}

impl Ipv4Net {
    /// A network from its parts.
    #[must_use]
    pub const fn new(addr: Ipv4Addr, prefix: u8) -> Self {
        Self { addr, prefix }
    }

    /// The netmask as a number in host order.
    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0)
    }

    /// The netmask.
    #[must_use]
    pub fn netmask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.mask())
    }

    /// The network's own address: all host bits zero.
    #[must_use]
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.addr.to_bits() & self.mask())
    }

    /// The last address: all host bits one.
    #[must_use]
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.addr.to_bits() | !self.mask())
    }

    /// The first address after the network's own: the gateway of a pod network.
    #[must_use]
    pub fn first(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network().to_bits().saturating_add(1))
    }

    /// Whether the address lies in the network.
    #[must_use]
    pub fn contains(self, ip: Ipv4Addr) -> bool {
        ip.to_bits() & self.mask() == self.network().to_bits()
    }
}

impl FromStr for Ipv4Net {
    type Err = ParseNetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (addr, prefix) = text
            .split_once('/')
            .ok_or_else(|| ParseNetError::NoPrefix(text.to_owned()))?;
        let addr = addr.parse().map_err(|_| ParseNetError::Address(addr.to_owned()))?;
        match prefix.parse::<u8>() {
            Ok(number) if number <= 32 && !prefix.starts_with('+') => Ok(Self::new(addr, number)),
            _ => Err(ParseNetError::Prefix(prefix.to_owned())),
        }
    }
}

impl fmt::Display for Ipv4Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

impl TryFrom<String> for Ipv4Net {
    type Error = ParseNetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Ipv4Net> for String {
    fn from(net: Ipv4Net) -> Self {
        net.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn parts_of_a_network() {
        let n = net("10.244.3.7/24");
        assert_eq!(n.to_string(), "10.244.3.7/24");
        assert_eq!(n.network(), Ipv4Addr::new(10, 244, 3, 0));
        assert_eq!(n.first(), Ipv4Addr::new(10, 244, 3, 1));
        assert_eq!(n.broadcast(), Ipv4Addr::new(10, 244, 3, 255));
        assert_eq!(n.netmask(), Ipv4Addr::new(255, 255, 255, 0));
        assert!(n.contains(Ipv4Addr::new(10, 244, 3, 255)));
        assert!(!n.contains(Ipv4Addr::new(10, 244, 4, 0)));
    }

    #[test]
    fn extreme_prefixes() {
        assert!(net("0.0.0.0/0").contains(Ipv4Addr::new(8, 8, 8, 8)));
        let one = net("192.0.2.1/32");
        assert!(one.contains(Ipv4Addr::new(192, 0, 2, 1)));
        assert!(!one.contains(Ipv4Addr::new(192, 0, 2, 2)));
        assert_eq!(one.broadcast(), one.network());
    }

    #[test]
    fn refuses_what_is_no_network() {
        assert_eq!(
            "10.0.0.0".parse::<Ipv4Net>(),
            Err(ParseNetError::NoPrefix("10.0.0.0".into()))
        );
        assert_eq!(
            "10.0.0/8".parse::<Ipv4Net>(),
            Err(ParseNetError::Address("10.0.0".into()))
        );
        for prefix in ["33", "-1", "+8", "", "x"] {
            assert_eq!(
                format!("10.0.0.0/{prefix}").parse::<Ipv4Net>(),
                Err(ParseNetError::Prefix(prefix.into()))
            );
        }
    }

    #[test]
    fn travels_as_text_in_json() {
        let n = net("10.96.0.0/16");
        let json = serde_json::to_string(&n).unwrap();
        assert_eq!(json, "\"10.96.0.0/16\"");
        assert_eq!(serde_json::from_str::<Ipv4Net>(&json).unwrap(), n);
    }
}
