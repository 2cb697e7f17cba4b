//! EndpointSlices.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::endpoints::{endpoint_ip, first_few};
use crate::invalid::Invalid;
use crate::labels;
use crate::names;
use crate::path::{Errors, Path};
use crate::strategy::{Column, Strategy};
use crate::table::{AGE, NAME, age, name, text as column};
use crate::value::{self, fill, i64_at, items_mut, list_at, map_at, text};

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;

/// The strategy of EndpointSlices.
#[derive(Debug, Clone, Copy, Default)]
pub struct EndpointSlice;

impl Strategy for EndpointSlice {
    fn default(&self, obj: &mut Value) {
        for port in items_mut(obj, "ports") {
            fill(port, "name", "");
            fill(port, "protocol", "TCP");
        }
    }

    fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Invalid> {
        let mut errors = Errors::new();
        let address_type = text(new, "addressType");
        if let Some(old) = old {
            errors.immutable(
                &Path::new("addressType"),
                new.get("addressType"),
                old.get("addressType"),
            );
        } else {
            errors.one_of(&Path::new("addressType"), address_type, &["FQDN", "IPv4", "IPv6"]);
        }
        endpoints(new, address_type, &mut errors);
        ports(new, &mut errors);
        errors.into_vec()
    }

    fn generation(&self) -> bool {
        true
    }

    /// Content and labels count; other metadata does not.
    fn changes_generation(&self, new: &Value, old: &Value) -> bool {
        let labels = |obj| map_at(obj, &["metadata", "labels"]).filter(|l| !l.is_empty()).cloned();
        let part = |obj: &Value, key: &str| value::at(obj, &[key]).cloned();
        ["addressType", "endpoints", "ports"]
            .iter()
            .any(|key| part(new, key) != part(old, key))
            || labels(new) != labels(old)
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                NAME,
                column("AddressType", "Kind of the addresses"),
                column("Ports", "Ports that take traffic"),
                column("Endpoints", "Addresses that take traffic"),
                AGE,
            ]
        }
    }

    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        let port = |p: &Value| i64_at(p, &["port"]).map_or_else(|| "*".to_owned(), |n| n.to_string());
        let ports: Vec<String> = list_at(obj, &["ports"]).iter().map(port).collect();
        let addresses = list_at(obj, &["endpoints"])
            .iter()
            .flat_map(|e| value::strings(e, &["addresses"]));
        let addresses: Vec<String> = addresses.map(str::to_owned).collect();
        vec![
            name(obj),
            text(obj, "addressType").into(),
            first_few(&ports, "<unset>").into(),
            first_few(&addresses, "<unset>").into(),
            age(obj, now),
        ]
    }
}

fn endpoints(slice: &Value, address_type: &str, errors: &mut Errors) {
    let all = list_at(slice, &["endpoints"]);
    let list = Path::new("endpoints");
    if all.len() > MAX_ENDPOINTS {
        errors.too_many(&list, all.len(), MAX_ENDPOINTS);
        return;
    }
    for (i, endpoint) in all.iter().enumerate() {
        let item = list.index(i);
        let addresses = item.child("addresses");
        let count = list_at(endpoint, &["addresses"]).len();
        if count == 0 {
            errors.required(&addresses, "must contain at least 1 address");
        } else if count > MAX_ADDRESSES {
            errors.too_many(&addresses, count, MAX_ADDRESSES);
        }
        for (j, address) in value::strings(endpoint, &["addresses"]).enumerate() {
            let at = addresses.index(j);
            match address_type {
                "IPv4" if names::ip(address).is_some_and(|ip| !ip.is_ipv4()) => {
                    errors.invalid(&at, address, "must be an IPv4 address");
                }
                "IPv6" if names::ip(address).is_some_and(|ip| !ip.is_ipv6()) => {
                    errors.invalid(&at, address, "must be an IPv6 address");
                }
                "IPv4" | "IPv6" => endpoint_ip(address, &at, errors),
                _ => errors.invalid_each(&at, address, names::subdomain_errors(address)),
            }
        }
        let node = text(endpoint, "nodeName");
        if !node.is_empty() {
            errors.invalid_each(&item.child("nodeName"), node, names::subdomain_errors(node));
        }
        let hostname = text(endpoint, "hostname");
        if !hostname.is_empty() {
            errors.invalid_each(&item.child("hostname"), hostname, names::label_errors(hostname));
        }
        let topology = item.child("deprecatedTopology");
        labels::validate(map_at(endpoint, &["deprecatedTopology"]), &topology, errors);
    }
}

fn ports(slice: &Value, errors: &mut Errors) {
    let all = list_at(slice, &["ports"]);
    let list = Path::new("ports");
    if all.len() > MAX_PORTS {
        errors.too_many(&list, all.len(), MAX_PORTS);
        return;
    }
    let mut seen: Map<String, Value> = Map::new();
    for (i, port) in all.iter().enumerate() {
        let item = list.index(i);
        let own = text(port, "name");
        if !own.is_empty() {
            errors.invalid_each(&item.child("name"), own, names::label_errors(own));
        }
        if seen.insert(own.to_owned(), Value::Null).is_some() {
            errors.duplicate(&item.child("name"), own);
        }
        if let Some(number) = i64_at(port, &["port"])
            && let Some(detail) = names::port_errors(number)
        {
            errors.invalid(&item.child("port"), number, detail);
        }
        errors.optional_one_of(&item.child("protocol"), port.get("protocol"), &["SCTP", "TCP", "UDP"]);
        if let Some(application) = port.get("appProtocol").and_then(Value::as_str) {
            let messages = names::qualified_name_errors(application);
            errors.invalid_each(&item.child("appProtocol"), application, messages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn slice() -> Value {
        let mut obj = json!({"metadata": {"name": "s", "creationTimestamp": "2026-01-01T00:00:00Z"}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}], "ports": [{"port": 80}]});
        EndpointSlice.default(&mut obj);
        obj
    }

    #[test]
    fn good_slices_pass_and_show() {
        let obj = slice();
        assert_eq!(obj["ports"][0], json!({"name": "", "port": 80, "protocol": "TCP"}));
        assert_eq!(EndpointSlice.validate(&obj, None), vec![]);
        let now = "2026-01-01T00:00:05Z".parse().unwrap();
        assert_eq!(
            EndpointSlice.cells(&obj, now),
            ["s", "IPv4", "80", "10.0.0.1,10.0.0.2", "5s"]
        );
    }

    #[test]
    fn bad_slices_are_reported() {
        let mut obj = slice();
        obj["endpoints"][0]["addresses"] = json!(["::1"]);
        obj["ports"] = json!([{"name": "a", "protocol": "TCP"}, {"name": "a", "protocol": "TCP"}]);
        let lines: Vec<String> = EndpointSlice
            .validate(&obj, None)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            lines,
            [
                r#"endpoints[0].addresses[0]: Invalid value: "::1": must be an IPv4 address"#,
                r#"ports[1].name: Duplicate value: "a""#
            ]
        );
        let mut changed = slice();
        changed["addressType"] = json!("IPv6");
        let errors = EndpointSlice.validate(&changed, Some(&slice()));
        assert_eq!(
            errors[0].to_string(),
            r#"addressType: Invalid value: "IPv6": field is immutable"#
        );
    }

    #[test]
    fn labels_and_content_make_a_new_generation() {
        let old = slice();
        let mut new = old.clone();
        new["metadata"]["annotations"] = json!({"a": "b"});
        assert!(!EndpointSlice.changes_generation(&new, &old));
        new["metadata"]["labels"] = json!({"a": "b"});
        assert!(EndpointSlice.changes_generation(&new, &old));
    }
}
