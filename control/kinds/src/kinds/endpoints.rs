//! Endpoints.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::Value;

use crate::invalid::Invalid;
use crate::names;
use crate::path::{Errors, Path};
use crate::strategy::{Column, Strategy};
use crate::table::{AGE, NAME, age, name, text as column};
use crate::value::{fill, i64_at, items_mut, list_at, text};
use crate::walk;
use crate::warnings::Warnings;

const SHOWN: usize = 3;

/// The strategy of Endpoints.
#[derive(Debug, Clone, Copy, Default)]
pub struct Endpoints;

impl Strategy for Endpoints {
    fn default(&self, obj: &mut Value) {
        for subset in items_mut(obj, "subsets") {
            for port in items_mut(subset, "ports") {
                fill(port, "protocol", "TCP");
            }
        }
    }

    fn validate(&self, new: &Value, _old: Option<&Value>) -> Vec<Invalid> {
        let mut errors = Errors::new();
        let list = Path::new("subsets");
        for (i, subset) in list_at(new, &["subsets"]).iter().enumerate() {
            self::subset(subset, &list.index(i), &mut errors);
        }
        errors.into_vec()
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Warnings::default();
        for addresses in ["subsets[*].addresses[*].ip", "subsets[*].notReadyAddresses[*].ip"] {
            walk::each(new, addresses, &mut |address, path| {
                warnings.address(address.and_then(Value::as_str).unwrap_or(""), path);
            });
        }
        warnings.into_vec()
    }

    fn deprecation(&self) -> Option<&str> {
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const { &[NAME, column("Endpoints", "Addresses and ports that take traffic"), AGE] }
    }

    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(obj), summary(obj).into(), age(obj, now)]
    }
}

fn subset(subset: &Value, path: &Path<'_>, errors: &mut Errors) {
    if list_at(subset, &["addresses"]).is_empty() && list_at(subset, &["notReadyAddresses"]).is_empty() {
        errors.required(path, "must specify `addresses` or `notReadyAddresses`");
    }
    for key in ["addresses", "notReadyAddresses"] {
        let list = path.child(key);
        for (i, address) in list_at(subset, &[key]).iter().enumerate() {
            let item = list.index(i);
            endpoint_ip(text(address, "ip"), &item.child("ip"), errors);
            let hostname = text(address, "hostname");
            if !hostname.is_empty() {
                errors.invalid_each(&item.child("hostname"), hostname, names::label_errors(hostname));
            }
            let node = text(address, "nodeName");
            if !node.is_empty() {
                errors.invalid_each(&item.child("nodeName"), node, names::subdomain_errors(node));
            }
        }
    }
    let ports = list_at(subset, &["ports"]);
    let list = path.child("ports");
    for (i, port) in ports.iter().enumerate() {
        let item = list.index(i);
        let own = text(port, "name");
        if own.is_empty() {
            if ports.len() > 1 {
                errors.required(&item.child("name"), "");
            }
        } else {
            errors.invalid_each(&item.child("name"), own, names::label_errors(own));
        }
        let number = i64_at(port, &["port"]).unwrap_or(0);
        if let Some(detail) = names::port_errors(number) {
            errors.invalid(&item.child("port"), number, detail);
        }
        if let Some(application) = port.get("appProtocol").and_then(Value::as_str) {
            let messages = names::qualified_name_errors(application);
            errors.invalid_each(&item.child("appProtocol"), application, messages);
        }
        errors.one_of(&item.child("protocol"), text(port, "protocol"), &["SCTP", "TCP", "UDP"]);
    }
}

/// Checks an address that Services send traffic to: none that means this machine or this link.
pub(super) fn endpoint_ip(address: &str, path: &Path<'_>, errors: &mut Errors) {
    let Some(ip) = names::ip(address) else {
        errors.invalid(path, address, names::IP_MESSAGE);
        return;
    };
    let detail = if ip.is_unspecified() {
        "may not be unspecified (0.0.0.0 or ::)"
    } else if ip.is_loopback() {
        "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    } else if is_link_local(ip) {
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    } else if is_link_local_multicast(ip) {
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
    } else {
        return;
    };
    errors.invalid(path, address, detail);
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn is_link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.segments()[0] == 0xff02,
    }
}

/// The first addresses of a list, and how many more there are.
pub(super) fn first_few(all: &[String], nothing: &str) -> String {
    if all.is_empty() {
        return nothing.into();
    }
    let shown = all.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(",");
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

fn summary(obj: &Value) -> String {
    let mut all = Vec::new();
    for subset in list_at(obj, &["subsets"]) {
        let addresses = list_at(subset, &["addresses"]).iter().map(|a| text(a, "ip"));
        let ports = list_at(subset, &["ports"]);
        if ports.is_empty() {
            all.extend(addresses.map(str::to_owned));
            continue;
        }
        for port in ports {
            let number = i64_at(port, &["port"]).unwrap_or(0);
            let addresses = list_at(subset, &["addresses"]).iter().map(|a| text(a, "ip"));
            all.extend(addresses.map(|ip| {
                if ip.contains(':') {
                    format!("[{ip}]:{number}")
                } else {
                    format!("{ip}:{number}")
                }
            }));
        }
    }
    first_few(&all, "<none>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_show_three_addresses() {
        let obj = json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}, {"ip": "10.0.0.3"}, {"ip": "10.0.0.4"}],
            "ports": [{"port": 80}]}]});
        assert_eq!(summary(&obj), "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 1 more...");
        assert_eq!(summary(&json!({})), "<none>");
    }

    #[test]
    fn addresses_must_be_reachable() {
        let lines = |ip: &str| -> Vec<String> {
            let mut obj = json!({"subsets": [{"addresses": [{"ip": ip}], "ports": [{"port": 80}]}]});
            Endpoints.default(&mut obj);
            Endpoints.validate(&obj, None).iter().map(ToString::to_string).collect()
        };
        assert_eq!(lines("10.0.0.1"), Vec::<String>::new());
        assert_eq!(
            lines("127.0.0.1"),
            [
                "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range \
                 (127.0.0.0/8, ::1/128)"
            ]
        );
        assert_eq!(lines("x").len(), 1);
        assert_eq!(Endpoints.validate(&json!({"subsets": [{}]}), None).len(), 1);
    }
}
