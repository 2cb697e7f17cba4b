//! NetworkPolicies.

use serde_json::{Value, json};

use crate::cells::Cell;
use crate::declared::{Declared, PLAIN, SPEC};
use crate::labels;
use crate::names;
use crate::path::{Errors, Path};
use crate::rules::{Check, rule, text as text_default};
use crate::table::{AGE, NAME, shows};
use crate::value::{at, i64_at, list_at, strings, text};
use crate::walk;

const PATH: Path<'static> = Path::new("spec");

/// NetworkPolicies.
pub static NETWORK_POLICY: Declared = Declared {
    generation: SPEC,
    columns: &[
        NAME,
        shows(
            "Pod-Selector",
            Cell::Selector("spec.podSelector"),
            "Pods that the policy is for",
        ),
        AGE,
    ],
    defaults: &[
        text_default("spec.ingress[*].ports[*].protocol", "TCP"),
        text_default("spec.egress[*].ports[*].protocol", "TCP"),
    ],
    rules: &[
        rule("spec.podSelector", Check::Selector),
        rule("spec.policyTypes[*]", Check::OneOf(&["Egress", "Ingress"])),
    ],
    more_defaults: |policy| {
        let Some(spec) = policy.get_mut("spec").filter(|s| s.is_object()) else {
            return;
        };
        crate::value::fill(spec, "podSelector", json!({}));
        if list_at(spec, &["policyTypes"]).is_empty() {
            let egress = !list_at(spec, &["egress"]).is_empty();
            spec["policyTypes"] = if egress {
                json!(["Ingress", "Egress"])
            } else {
                json!(["Ingress"])
            };
        }
    },
    more_rules,
    warn: |policy, _, warnings| {
        for peers in ["spec.ingress[*].from[*]", "spec.egress[*].to[*]"] {
            for field in ["cidr", "except[*]"] {
                walk::each(policy, &format!("{peers}.ipBlock.{field}"), &mut |network, path| {
                    warnings.network(network.and_then(Value::as_str).unwrap_or(""), path);
                });
            }
        }
    },
    ..PLAIN
};

fn more_rules(policy: &Value, _old: Option<&Value>, errors: &mut Errors) {
    let types = list_at(policy, &["spec", "policyTypes"]);
    if types.len() > 2 {
        let detail = "may not specify more than two policyTypes";
        errors.invalid(&PATH.child("policyTypes"), types.to_vec(), detail);
    }
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        let list = PATH.child(direction);
        for (i, rule) in list_at(policy, &["spec", direction]).iter().enumerate() {
            let item = list.index(i);
            let ports = item.child("ports");
            for (j, port) in list_at(rule, &["ports"]).iter().enumerate() {
                self::port(port, &ports.index(j), errors);
            }
            let list = item.child(peers);
            for (j, peer) in list_at(rule, &[peers]).iter().enumerate() {
                self::peer(peer, &list.index(j), errors);
            }
        }
    }
}

fn port(port: &Value, path: &Path<'_>, errors: &mut Errors) {
    errors.optional_one_of(&path.child("protocol"), port.get("protocol"), &["SCTP", "TCP", "UDP"]);
    let end = i64_at(port, &["endPort"]);
    let end_path = path.child("endPort");
    match port.get("port").filter(|p| !p.is_null()) {
        None => {
            if let Some(end) = end {
                errors.invalid(&end_path, end, "must not be specified when `port` is not specified");
            }
        }
        Some(Value::String(name)) => {
            if let Some(end) = end {
                errors.invalid(&end_path, end, "may not be specified when `port` is non-numeric");
            }
            errors.invalid_each(&path.child("port"), name, names::port_name_errors(name));
        }
        Some(number) => {
            let number = number.as_i64().unwrap_or(0);
            if let Some(detail) = names::port_errors(number) {
                errors.invalid(&path.child("port"), number, detail);
            }
            let Some(end) = end else { return };
            if end < number {
                errors.invalid(&end_path, end, "must be greater than or equal to `port`");
            }
            if let Some(detail) = names::port_errors(end) {
                errors.invalid(&end_path, end, detail);
            }
        }
    }
}

fn peer(peer: &Value, path: &Path<'_>, errors: &mut Errors) {
    let mut selectors = 0;
    for key in ["podSelector", "namespaceSelector"] {
        if let Some(selector) = at(peer, &[key]) {
            selectors += 1;
            labels::validate_selector(selector, &path.child(key), errors);
        }
    }
    match at(peer, &["ipBlock"]) {
        None if selectors == 0 => errors.required(path, "must specify a peer"),
        None => {}
        Some(block) => {
            ip_block(block, &path.child("ipBlock"), errors);
            if selectors > 0 {
                errors.forbidden(path, "may not specify both ipBlock and another peer");
            }
        }
    }
}

fn ip_block(block: &Value, path: &Path<'_>, errors: &mut Errors) {
    let text = text(block, "cidr");
    let at = path.child("cidr");
    if text.is_empty() {
        errors.required(&at, "");
        return;
    }
    let Some(network) = names::cidr(text) else {
        let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        errors.invalid(&at, text, detail);
        return;
    };
    let list = path.child("except");
    for (i, except) in strings(block, &["except"]).enumerate() {
        let item = list.index(i);
        match names::cidr(except) {
            None => {
                let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                errors.invalid(&item, except, detail);
            }
            Some(inner) if !names::contains(network, inner.0) || inner.1 <= network.1 => {
                errors.invalid(&item, except, "must be a strict subset of `cidr`");
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;

    fn lines(spec: Value) -> Vec<String> {
        let mut policy = json!({"metadata": {"name": "p"}, "spec": spec});
        NETWORK_POLICY.default(&mut policy);
        NETWORK_POLICY
            .validate(&policy, None)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn types_follow_from_the_rules() {
        let mut policy = json!({"metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}});
        NETWORK_POLICY.default(&mut policy);
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!(policy["spec"]["egress"][0]["ports"][0]["protocol"], "TCP");
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(NETWORK_POLICY.cells(&policy, now), ["p", "<none>", "1s"]);
    }

    #[test]
    fn mistakes_are_reported() {
        assert_eq!(
            lines(
                json!({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "11.0.0.0/16"]}}]}]})
            ),
            [
                r#"spec.ingress[0].from[0].ipBlock.except[1]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`"#
            ]
        );
        assert_eq!(
            lines(json!({"egress": [{"to": [{}], "ports": [{"port": 80, "endPort": 70}]}]})),
            [
                "spec.egress[0].ports[0].endPort: Invalid value: 70: must be greater than or equal to `port`",
                "spec.egress[0].to[0]: Required value: must specify a peer"
            ]
        );
        assert_eq!(
            lines(json!({"policyTypes": ["Both"]})),
            [r#"spec.policyTypes[0]: Unsupported value: "Both": supported values: "Egress", "Ingress""#]
        );
    }
}
