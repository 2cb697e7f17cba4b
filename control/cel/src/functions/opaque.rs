//! Values of libraries.

use std::cmp::Ordering;
use std::net::IpAddr;

use barepod_schema::quantity::Quantity;

use super::authorizer::{Authorizer, Check, Decision};
use super::formats::Format;
use super::semver::Semver;
use super::url::Url;
use crate::types::named;

/// A value of a library.
#[derive(Debug)]
pub enum Opaque {
    /// An address.
    Ip(IpAddr),
    /// A block of addresses.
    Cidr(IpAddr, u8),
    /// A URL.
    Url(Url),
    /// A quantity of a resource.
    Quantity(Quantity),
    /// A semantic version.
    Semver(Semver),
    /// A format that texts may have.
    Format(&'static Format),
    /// Who answers whether something is allowed.
    Authorizer(Authorizer),
    /// A question to be asked.
    Check(Check),
    /// The answer.
    Decision(Decision),
}

impl Opaque {
    pub(crate) fn type_name(&self) -> &'static str {
        named(match self {
            Opaque::Ip(_) => "IP",
            Opaque::Cidr(..) => "CIDR",
            Opaque::Url(_) => "URL",
            Opaque::Quantity(_) => "Quantity",
            Opaque::Semver(_) => "Semver",
            Opaque::Format(_) => "NamedFormat",
            Opaque::Authorizer(_) => "Authorizer",
            Opaque::Check(_) => "Check",
            Opaque::Decision(_) => "Decision",
        })
    }

    /// How many bytes there are of it, if it is one of those that are compared by bytes.
    pub(crate) fn size(&self) -> u64 {
        let bytes = |ip: &IpAddr| if ip.is_ipv4() { 4 } else { 16 };
        match self {
            Opaque::Ip(ip) => bytes(ip),
            Opaque::Cidr(ip, prefix) => u64::from(*prefix).div_ceil(8).min(bytes(ip)),
            _ => 1,
        }
    }

    pub(crate) fn same(&self, other: &Opaque) -> bool {
        match (self, other) {
            (Opaque::Ip(a), Opaque::Ip(b)) => a == b,
            (Opaque::Cidr(a, x), Opaque::Cidr(b, y)) => a == b && x == y,
            (Opaque::Url(a), Opaque::Url(b)) => a == b,
            (Opaque::Format(a), Opaque::Format(b)) => a.name == b.name,
            _ => self.compare(other) == Some(Ordering::Equal),
        }
    }

    pub(crate) fn compare(&self, other: &Opaque) -> Option<Ordering> {
        match (self, other) {
            (Opaque::Quantity(a), Opaque::Quantity(b)) => Some(a.nanos().cmp(&b.nanos())),
            (Opaque::Semver(a), Opaque::Semver(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}
