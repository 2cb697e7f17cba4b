//! Addresses and blocks of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use super::{Cost, EvalError, ONE, Opaque, Result, Row, text};
use crate::value::Value;

pub(super) const ROWS: &[Row] = &[
    ("ip(string) IP", Cost::Parse, |args| {
        let given = text(args, 0)?;
        parse_ip(given).map(|ip| value(Opaque::Ip(ip))).ok_or_else(|| {
            EvalError::Other(format!(
                "IP Address {given:?} parse error during conversion from string"
            ))
        })
    }),
    ("isIP(string) bool", Cost::Parse, |args| {
        Ok(Value::Bool(parse_ip(text(args, 0)?).is_some()))
    }),
    ("ip.isCanonical(string) bool", Cost::ParseTwice, |args| {
        let given = text(args, 0)?;
        let ip = parse_ip(given).ok_or_else(|| {
            EvalError::Other(format!(
                "IP Address {given:?} parse error during conversion from string"
            ))
        })?;
        Ok(Value::Bool(ip.to_string() == given))
    }),
    (".IP.family() int", ONE, |args| {
        Ok(Value::Int(if ip(args, 0)?.is_ipv4() { 4 } else { 6 }))
    }),
    (".IP.isUnspecified() bool", ONE, |args| {
        Ok(Value::Bool(ip(args, 0)?.is_unspecified()))
    }),
    (".IP.isLoopback() bool", ONE, |args| {
        Ok(Value::Bool(ip(args, 0)?.is_loopback()))
    }),
    (".IP.isLinkLocalMulticast() bool", ONE, |args| {
        Ok(Value::Bool(match ip(args, 0)? {
            IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
            IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
        }))
    }),
    (".IP.isLinkLocalUnicast() bool", ONE, |args| {
        Ok(Value::Bool(is_link_local(ip(args, 0)?)))
    }),
    (".IP.isGlobalUnicast() bool", ONE, |args| {
        let ip = ip(args, 0)?;
        let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
        let other = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_link_local(ip);
        Ok(Value::Bool(!broadcast && !other))
    }),
    ("cidr(string) CIDR", Cost::Parse, |args| {
        let (ip, prefix) = parsed_block(text(args, 0)?)?;
        Ok(value(Opaque::Cidr(ip, prefix)))
    }),
    ("isCIDR(string) bool", Cost::Parse, |args| {
        Ok(Value::Bool(parse_block(text(args, 0)?).is_some()))
    }),
    (".CIDR.ip() IP", ONE, |args| Ok(value(Opaque::Ip(block(args, 0)?.0)))),
    (".CIDR.masked() CIDR", ONE, |args| {
        let (ip, prefix) = block(args, 0)?;
        Ok(value(Opaque::Cidr(masked(ip, prefix), prefix)))
    }),
    (".CIDR.prefixLength() int", ONE, |args| {
        Ok(Value::Int(block(args, 0)?.1.into()))
    }),
    (
        ".CIDR.containsIP(IP) bool",
        Cost::Block {
            text: false,
            blocks: false,
        },
        |args| Ok(Value::Bool(contains(block(args, 0)?, ip(args, 1)?))),
    ),
    (
        ".CIDR.containsIP(string) bool",
        Cost::Block {
            text: true,
            blocks: false,
        },
        |args| {
            let given = text(args, 1)?;
            let ip = parse_ip(given).ok_or_else(|| {
                EvalError::Other(format!(
                    "IP Address {given:?} parse error during conversion from string"
                ))
            })?;
            Ok(Value::Bool(contains(block(args, 0)?, ip)))
        },
    ),
    (
        ".CIDR.containsCIDR(CIDR) bool",
        Cost::Block {
            text: false,
            blocks: true,
        },
        |args| Ok(Value::Bool(covers(block(args, 0)?, block(args, 1)?))),
    ),
    (
        ".CIDR.containsCIDR(string) bool",
        Cost::Block {
            text: true,
            blocks: true,
        },
        |args| Ok(Value::Bool(covers(block(args, 0)?, parsed_block(text(args, 1)?)?))),
    ),
];

fn value<'a>(opaque: Opaque) -> Value<'a> {
    Value::Opaque(Rc::new(opaque))
}

fn ip(args: &[Value<'_>], at: usize) -> Result<IpAddr> {
    match args.get(at) {
        Some(Value::Opaque(opaque)) => match &**opaque {
            Opaque::Ip(ip) => Ok(*ip),
            _ => Err(EvalError::NoSuchOverload),
        },
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn block(args: &[Value<'_>], at: usize) -> Result<(IpAddr, u8)> {
    match args.get(at) {
        Some(Value::Opaque(opaque)) => match &**opaque {
            Opaque::Cidr(ip, prefix) => Ok((*ip, *prefix)),
            _ => Err(EvalError::NoSuchOverload),
        },
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn parsed_block(given: &str) -> Result<(IpAddr, u8)> {
    parse_block(given).ok_or_else(|| {
        EvalError::Other(format!(
            "network address parse error during conversion from string: {given:?}"
        ))
    })
}

/// Neither zones nor addresses of one family in the clothes of the other.
fn parse_ip(given: &str) -> Option<IpAddr> {
    let ip: IpAddr = given.parse().ok()?;
    match ip {
        IpAddr::V6(six) if six.to_ipv4_mapped().is_some() => None,
        ip => Some(ip),
    }
}

fn parse_block(given: &str) -> Option<(IpAddr, u8)> {
    let (ip, prefix) = given.split_once('/')?;
    let ip = parse_ip(ip)?;
    let plain = !prefix.starts_with('+') && (prefix == "0" || !prefix.starts_with('0'));
    let prefix = prefix.parse().ok().filter(|prefix| plain && *prefix <= bits(ip))?;
    Some((ip, prefix))
}

fn bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn masked(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

fn contains((base, prefix): (IpAddr, u8), ip: IpAddr) -> bool {
    base.is_ipv4() == ip.is_ipv4() && masked(base, prefix) == masked(ip, prefix)
}

fn covers(outer: (IpAddr, u8), inner: (IpAddr, u8)) -> bool {
    outer.1 <= inner.1 && contains(outer, inner.0)
}
