//! IPAddresses and ServiceCIDRs.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::Value;

use crate::cells::Cell;
use crate::declared::{Declared, NewStatus, PLAIN};
use crate::names::{self, NameRule};
use crate::path::{Errors, Path};
use crate::rules::{Check, rule};
use crate::table::{AGE, NAME, shows};
use crate::value::{at, str_at, strings, text};

/// IPAddresses.
pub static IP_ADDRESS: Declared = Declared {
    name_rule: NameRule::PathSegment,
    columns: &[
        NAME,
        shows("ParentRef", Cell::By(parent), "What the address belongs to"),
        AGE,
    ],
    rules: &[
        rule("spec.parentRef", Check::Required("")),
        rule("spec.parentRef.resource", Check::Required("")),
        rule("spec.parentRef.name", Check::Required("")),
        rule("spec.parentRef", Check::Immutable),
    ],
    more_rules: |address, old, errors| {
        let name = str_at(address, &["metadata", "name"]).unwrap_or("");
        let path = Path::new("metadata.name");
        match name.parse::<IpAddr>() {
            _ if old.is_some() => {}
            Err(_) => errors.invalid(&path, name, names::IP_MESSAGE),
            Ok(ip) if ip.to_string() != name => {
                let detail = format!("must be in canonical form ({:?})", ip.to_string());
                errors.invalid(&path, name, detail);
            }
            Ok(_) => {}
        }
    },
    ..PLAIN
};

/// ServiceCIDRs.
pub static SERVICE_CIDR: Declared = Declared {
    new_status: NewStatus::Empty,
    columns: &[
        NAME,
        shows(
            "CIDRs",
            Cell::Join("spec.cidrs", ""),
            "Networks that Services get addresses from",
        ),
        AGE,
    ],
    rules: &[rule("spec.cidrs", Check::Required("at least one CIDR required"))],
    more_rules: cidrs,
    ..PLAIN
};

fn cidrs(range: &Value, old: Option<&Value>, errors: &mut Errors) {
    let list = Path::new("spec.cidrs");
    let given: Vec<&str> = strings(range, &["spec", "cidrs"]).collect();
    if given.len() > 2 {
        let detail = "may only hold up to 2 values";
        errors.invalid(&list, given.clone(), detail);
    }
    let mut families = Vec::new();
    for (i, cidr) in given.iter().enumerate() {
        match names::cidr(cidr) {
            None => errors.invalid(
                &list.index(i),
                *cidr,
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ),
            Some((network, _)) => families.push(network.is_ipv4()),
        }
    }
    if let [a, b] = families[..]
        && a == b
    {
        errors.invalid(
            &list,
            given.clone(),
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
        );
    }
    if let Some(old) = old {
        // One family may be added to the other one.
        let stored: Vec<&str> = strings(old, &["spec", "cidrs"]).collect();
        if !given.starts_with(&stored) {
            errors.immutable(&list, at(range, &["spec", "cidrs"]), at(old, &["spec", "cidrs"]));
        }
    }
}

/// `services/default/web`
fn parent(address: &Value, _now: Timestamp) -> Value {
    let Some(parent) = at(address, &["spec", "parentRef"]) else {
        return "<none>".into();
    };
    let mut shown = match text(parent, "group") {
        "" => text(parent, "resource").to_owned(),
        group => format!("{}.{group}", text(parent, "resource")),
    }
    .to_lowercase();
    for key in ["namespace", "name"] {
        if let Some(part) = str_at(parent, &[key]) {
            shown = format!("{shown}/{part}");
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;
    use serde_json::json;

    #[test]
    fn addresses_are_canonical() {
        let address = |name: &str| {
            json!({"metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"parentRef": {"resource": "services", "namespace": "n", "name": "web"}}})
        };
        assert_eq!(IP_ADDRESS.validate(&address("10.96.0.1"), None), vec![]);
        let errors = IP_ADDRESS.validate(&address("2001:DB8::1"), None);
        assert_eq!(
            errors[0].to_string(),
            r#"metadata.name: Invalid value: "2001:DB8::1": must be in canonical form ("2001:db8::1")"#
        );
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(
            IP_ADDRESS.cells(&address("10.96.0.1"), now),
            ["10.96.0.1", "services/n/web", "1s"]
        );
    }

    #[test]
    fn networks_may_only_be_added() {
        let range = |cidrs: Value| json!({"spec": {"cidrs": cidrs}});
        let old = range(json!(["10.0.0.0/24"]));
        assert_eq!(
            SERVICE_CIDR.validate(&range(json!(["10.0.0.0/24", "fd00::/64"])), Some(&old)),
            vec![]
        );
        assert_eq!(
            SERVICE_CIDR.validate(&range(json!(["10.1.0.0/24"])), Some(&old)).len(),
            1
        );
        assert_eq!(SERVICE_CIDR.validate(&range(json!([])), None).len(), 1);
    }
}
