//! An IPv4 network and its equal parts.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 network, for example `10.244.0.0/16`. The host bits of the address are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ipv4Cidr {
    address: u32,
    prefix: u8,
}

/// Why a text is not an IPv4 network.
#[derive(Debug, thiserror::Error)]
#[error("parse IPv4 network {text:?}: want ADDRESS/PREFIX with a prefix of 0 to 32")]
pub struct ParseCidrError {
    text: String,
}

impl Ipv4Cidr {
    /// The network that holds `address`; `None` if the prefix is longer than 32 bits.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32).then(|| Self {
            address: u32::from(address) & mask(prefix),
            prefix,
        })
    }

    /// The first address of the network.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.address)
    }

    /// The number of leading bits that are fixed.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// How many networks of `prefix` bits fit in this one; zero if they are larger.
    pub(crate) fn parts(&self, prefix: u8) -> u32 {
        if prefix < self.prefix || prefix > 32 {
            return 0;
        }
        1u32.checked_shl(u32::from(prefix - self.prefix)).unwrap_or(u32::MAX)
    }

    /// The part number `index` of those counted by [`Self::parts`].
    pub(crate) fn part(&self, prefix: u8, index: u32) -> Option<Self> {
        if index >= self.parts(prefix) {
            return None;
        }
        let offset = u64::from(index) << (32 - u32::from(prefix));
        Some(Self {
            address: self.address | u32::try_from(offset).ok()?,
            prefix,
        })
    }

    /// Whether the two networks share an address.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let shorter = mask(self.prefix.min(other.prefix));
        self.address & shorter == other.address & shorter
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Ipv4Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            Self::new(address.parse().ok()?, prefix.parse().ok()?)
        };
        parse().ok_or_else(|| ParseCidrError { text: text.to_owned() })
    }
}

impl fmt::Display for Ipv4Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_into_equal_parts() {
        let cluster: Ipv4Cidr = "10.244.0.0/16".parse().unwrap();
        assert_eq!(cluster.parts(24), 256);
        assert_eq!(cluster.part(24, 3).unwrap().to_string(), "10.244.3.0/24");
        assert_eq!(cluster.part(24, 256), None);
        assert_eq!(cluster.parts(15), 0);
    }

    #[test]
    fn clears_host_bits_and_knows_overlap() {
        let a: Ipv4Cidr = "10.1.2.3/16".parse().unwrap();
        assert_eq!(a.to_string(), "10.1.0.0/16");
        assert!(a.overlaps(&"10.1.9.0/24".parse().unwrap()));
        assert!(!a.overlaps(&"10.2.0.0/24".parse().unwrap()));
        assert!(a.overlaps(&"0.0.0.0/0".parse().unwrap()));
    }

    #[test]
    fn refuses_nonsense() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "a/8", "10.0.0/8"] {
            assert!(text.parse::<Ipv4Cidr>().is_err(), "{text}");
        }
    }
}
