//! Syntax of names, labels and keys: hand-written matchers with the messages users know.
//!
//! Every `…_errors` function returns an empty list (which allocates nothing) for a good value.

use std::net::{IpAddr, Ipv4Addr};

/// What `metadata.name` has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain, at most 253 bytes.
    Subdomain,
    /// RFC 1123 label, at most 63 bytes.
    Label,
    /// RFC 1035 label (begins with a letter), at most 63 bytes.
    Label1035,
    /// Anything that can be one path segment.
    PathSegment,
}

impl NameRule {
    /// Messages for a name. With `prefix` the value is a `generateName`, whose trailing dash is allowed.
    pub fn errors(self, value: &str, prefix: bool) -> Vec<String> {
        let masked;
        let value = match value.strip_suffix('-') {
            Some(head) if prefix && !head.is_empty() && self != NameRule::PathSegment => {
                masked = format!("{head}a");
                &masked
            }
            _ => value,
        };
        match self {
            NameRule::Subdomain => subdomain_errors(value),
            NameRule::Label => label_errors(value),
            NameRule::Label1035 => label1035_errors(value),
            NameRule::PathSegment => path_segment_errors(value),
        }
    }
}

const LABEL_MESSAGE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
    and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation \
    is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_MESSAGE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
    '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation \
    is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const WILDCARD_MESSAGE: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, \
    which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. \
    '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL1035_MESSAGE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start \
    with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used \
    for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_MESSAGE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
    with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE_MESSAGE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', \
    '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', \
    regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY_MESSAGE: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
    'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_NAME_MESSAGE: &str = "a valid environment variable name must consist only of printable ASCII characters \
    other than '='";
const HEADER_MESSAGE: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. \
    'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
/// The message for something that is no IP address.
pub const IP_MESSAGE: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
/// The message for a port number out of range.
pub const PORT_MESSAGE: &str = "must be between 1 and 65535, inclusive";

fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

fn lower(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

/// An RFC 1123 label, of any length.
fn label_syntax(value: &str) -> bool {
    let bytes = value.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => lower(*first) && lower(*last) && bytes.iter().all(|b| lower(*b) || *b == b'-'),
        _ => false,
    }
}

fn checked(value: &str, limit: usize, syntax: bool, message: &str) -> Vec<String> {
    let mut messages = Vec::new();
    if value.len() > limit {
        messages.push(too_long(limit));
    }
    if !syntax {
        messages.push(message.to_owned());
    }
    messages
}

/// Messages for an RFC 1123 label (63 bytes).
pub fn label_errors(value: &str) -> Vec<String> {
    checked(value, 63, label_syntax(value), LABEL_MESSAGE)
}

/// Messages for an RFC 1123 subdomain (253 bytes).
pub fn subdomain_errors(value: &str) -> Vec<String> {
    checked(value, 253, value.split('.').all(label_syntax), SUBDOMAIN_MESSAGE)
}

/// Messages for a subdomain whose first label is `*`.
pub fn wildcard_subdomain_errors(value: &str) -> Vec<String> {
    match value.strip_prefix("*.") {
        Some(rest) => checked(value, 253, rest.split('.').all(label_syntax), WILDCARD_MESSAGE),
        None => vec![WILDCARD_MESSAGE.to_owned()],
    }
}

/// Messages for an RFC 1035 label (63 bytes).
pub fn label1035_errors(value: &str) -> Vec<String> {
    let letter = value.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    checked(value, 63, letter && label_syntax(value), LABEL1035_MESSAGE)
}

/// Messages for a name that need only be one segment of a path.
pub fn path_segment_errors(value: &str) -> Vec<String> {
    if value == "." || value == ".." {
        return vec![format!("may not be '{value}'")];
    }
    let bad = ['/', '%'].into_iter().filter(|c| value.contains(*c));
    bad.map(|c| format!("may not contain '{c}'")).collect()
}

/// Messages for a path with a domain before it, such as `example.com/controller`.
pub fn domain_prefixed_path_errors(value: &str) -> Vec<String> {
    let Some((host, path)) = value.split_once('/').filter(|(h, p)| !h.is_empty() && !p.is_empty()) else {
        return vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".into()];
    };
    let mut messages = subdomain_errors(host);
    let good = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b);
    if !path.bytes().all(good) {
        messages.push(
            "a valid URL path must only contain letters, digits and '/-._~%!$&()*+,;=:' (regex used for validation is \
             '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')"
                .into(),
        );
    }
    messages
}

fn word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')
}

fn qualified_syntax(name: &str) -> bool {
    let bytes = name.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() && bytes.iter().all(|b| word(*b))
        }
        _ => false,
    }
}

/// Messages for a qualified name such as a label key: `name` or `prefix.example.com/name`.
pub fn qualified_name_errors(value: &str) -> Vec<String> {
    let mut messages = Vec::new();
    let name = match value.split_once('/') {
        None => value,
        Some((_, name)) if name.contains('/') => {
            messages.push(format!(
                "a qualified name {QUALIFIED_MESSAGE} with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')"
            ));
            return messages;
        }
        Some((prefix, name)) => {
            if prefix.is_empty() {
                messages.push("prefix part must be non-empty".into());
            } else {
                messages.extend(subdomain_errors(prefix).into_iter().map(|m| format!("prefix part {m}")));
            }
            name
        }
    };
    if name.is_empty() {
        messages.push("name part must be non-empty".into());
    } else if name.len() > 63 {
        messages.push(format!("name part {}", too_long(63)));
    }
    if !qualified_syntax(name) {
        messages.push(format!("name part {QUALIFIED_MESSAGE}"));
    }
    messages
}

/// Messages for a label's value (63 bytes, may be empty).
pub fn label_value_errors(value: &str) -> Vec<String> {
    checked(
        value,
        63,
        value.is_empty() || qualified_syntax(value),
        LABEL_VALUE_MESSAGE,
    )
}

/// Messages for a key of a ConfigMap or Secret (253 bytes).
pub fn config_key_errors(value: &str) -> Vec<String> {
    let syntax = !value.is_empty() && value.bytes().all(word);
    let mut messages = checked(value, 253, syntax, CONFIG_KEY_MESSAGE);
    match value {
        "." => messages.push("must not be '.'".into()),
        ".." => messages.push("must not be '..'".into()),
        v if v.starts_with("..") => messages.push("must not start with '..'".into()),
        _ => {}
    }
    messages
}

/// Messages for the name of an environment variable.
pub fn env_name_errors(value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec!["environment variable name must be non-empty".into()];
    }
    if value.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        return Vec::new();
    }
    vec![ENV_NAME_MESSAGE.into()]
}

/// Messages for the name of an HTTP header.
pub fn header_name_errors(value: &str) -> Vec<String> {
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    vec![HEADER_MESSAGE.into()]
}

/// Messages for the name of a port (15 bytes, at least one letter).
pub fn port_name_errors(value: &str) -> Vec<String> {
    let mut messages = Vec::new();
    if value.len() > 15 {
        messages.push(too_long(15));
    }
    if !value.bytes().all(|b| lower(b) || b == b'-') || value.is_empty() {
        messages.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !value.bytes().any(|b| b.is_ascii_lowercase()) {
        messages.push("must contain at least one letter (a-z)".into());
    }
    if value.contains("--") {
        messages.push("must not contain consecutive hyphens".into());
    }
    if value.starts_with('-') || value.ends_with('-') {
        messages.push("must not begin or end with a hyphen".into());
    }
    messages
}

/// Messages for a number that must be a port.
pub fn port_errors(port: i64) -> Option<&'static str> {
    (!(1..=65_535).contains(&port)).then_some(PORT_MESSAGE)
}

/// Reads an IP address; leading zeros and zones are refused.
pub fn ip(value: &str) -> Option<IpAddr> {
    value.parse().ok()
}

/// Reads an IPv4 network such as `10.244.1.0/24`.
pub fn ipv4_net(value: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, length) = value.split_once('/')?;
    let length: u8 = length.parse().ok().filter(|l| *l <= 32)?;
    Some((address.parse().ok()?, length))
}

/// Whether a value is a network in CIDR notation, of either family.
pub fn is_cidr(value: &str) -> bool {
    cidr(value).is_some()
}

/// Reads a network in CIDR notation, of either family.
pub fn cidr(value: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = value.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let limit = if address.is_ipv4() { 32 } else { 128 };
    let length = length.parse::<u8>().ok().filter(|l| *l <= limit)?;
    Some((address, length))
}

/// Whether a network holds an address of its own family.
pub fn contains((network, length): (IpAddr, u8), address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            u32::from(network) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            u128::from(network) & mask == u128::from(address) & mask
        }
        _ => false,
    }
}

/// Messages for the name of a CSI driver.
pub fn csi_driver_errors(name: &str) -> Vec<String> {
    let mut messages = subdomain_errors(&name.to_lowercase());
    if name.len() > 63 {
        messages.insert(0, "must be no more than 63 bytes".into());
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_subdomains() {
        for good in ["a", "a-b", "0", "a0-9z"] {
            assert!(label_errors(good).is_empty(), "{good}");
            assert!(subdomain_errors(good).is_empty(), "{good}");
        }
        for bad in ["", "A", "-a", "a-", "a_b", "a.b", "ä"] {
            assert_eq!(label_errors(bad).len(), 1, "{bad}");
        }
        assert!(subdomain_errors("a.b-c.d").is_empty());
        for bad in ["", ".", "a..b", "a.-b", "a."] {
            assert_eq!(subdomain_errors(bad).len(), 1, "{bad}");
        }
        assert_eq!(label_errors(&"a".repeat(64)), ["must be no more than 63 bytes"]);
        assert_eq!(
            label_errors("A")[0],
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
             end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        );
        assert!(label1035_errors("a1").is_empty());
        assert_eq!(label1035_errors("1a").len(), 1);
    }

    #[test]
    fn generate_name_may_end_with_a_dash() {
        assert!(NameRule::Subdomain.errors("web-", true).is_empty());
        assert_eq!(NameRule::Subdomain.errors("web-", false).len(), 1);
        assert_eq!(NameRule::Subdomain.errors("-", true).len(), 1);
    }

    #[test]
    fn qualified_names_and_label_values() {
        for good in ["app", "app.kubernetes.io/name", "A_b.c-d", "x/Y"] {
            assert!(qualified_name_errors(good).is_empty(), "{good}");
        }
        assert_eq!(qualified_name_errors("/x"), ["prefix part must be non-empty"]);
        assert!(qualified_name_errors("a/b/c")[0].starts_with("a qualified name must consist"));
        assert!(qualified_name_errors("X/y")[0].starts_with("prefix part a lowercase RFC 1123 subdomain"));
        assert_eq!(qualified_name_errors("a/").len(), 2);
        assert!(label_value_errors("").is_empty());
        assert!(label_value_errors("v1.2_3-x").is_empty());
        assert_eq!(label_value_errors("-x").len(), 1);
        assert_eq!(label_value_errors("a b").len(), 1);
    }

    #[test]
    fn keys_ports_headers_and_addresses() {
        assert!(config_key_errors("nginx.conf").is_empty());
        assert_eq!(config_key_errors("a/b").len(), 1);
        assert_eq!(config_key_errors("..a"), ["must not start with '..'"]);
        assert_eq!(config_key_errors(".."), ["must not be '..'"]);
        assert!(env_name_errors("A.b-c d").is_empty());
        assert_eq!(env_name_errors("A=b").len(), 1);
        assert!(port_name_errors("http-2").is_empty());
        assert_eq!(port_name_errors("80"), ["must contain at least one letter (a-z)"]);
        assert_eq!(port_name_errors("a--b"), ["must not contain consecutive hyphens"]);
        assert_eq!(port_name_errors("a-"), ["must not begin or end with a hyphen"]);
        assert!(header_name_errors("X-A").is_empty());
        assert_eq!(header_name_errors("X A").len(), 1);
        assert!(ip("10.0.0.1").is_some() && ip("::1").is_some());
        assert!(ip("010.0.0.1").is_none() && ip("10.0.0").is_none());
        assert!(is_cidr("10.0.0.0/8") && is_cidr("fd00::/64") && !is_cidr("10.0.0.0/33") && !is_cidr("10.0.0.0"));
    }
}
