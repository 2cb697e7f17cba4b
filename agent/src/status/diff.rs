//! The smallest strategic merge patch from one status to the next.

use serde_json::{Map, Value, json};

/// Fields of a PodStatus that are this agent's; others' are never touched.
const OWN: [&str; 13] = [
    "conditions",
    "containerStatuses",
    "hostIP",
    "hostIPs",
    "initContainerStatuses",
    "message",
    "observedGeneration",
    "phase",
    "podIP",
    "podIPs",
    "qosClass",
    "reason",
    "startTime",
];

/// What turns `old` into `new` as far as it is this agent's; `None` when nothing does.
pub fn diff(old: &Value, new: &Value) -> Option<Map<String, Value>> {
    let mut patch = Map::new();
    for field in OWN {
        let (before, after) = (&old[field], &new[field]);
        if before == after {
            continue;
        }
        match field {
            "conditions" => {
                let changed = conditions(before, after);
                if !changed.is_empty() {
                    patch.insert(field.into(), Value::Array(changed));
                }
            }
            // These merge by address on the server: an address that is no more has to be replaced, not added to.
            "podIPs" | "hostIPs" if before.as_array().is_some_and(|it| !it.is_empty()) => {
                let mut list = vec![json!({"$patch": "replace"})];
                list.extend(after.as_array().into_iter().flatten().cloned());
                patch.insert(field.into(), Value::Array(list));
            }
            _ => {
                patch.insert(field.into(), after.clone());
            }
        }
    }
    (!patch.is_empty()).then_some(patch)
}

/// Conditions merge by type: only changed ones are sent, with null for what they no longer have.
fn conditions(before: &Value, after: &Value) -> Vec<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let old = list(before);
    let changed = |new: Value| {
        let known = old.iter().find(|it| it["type"] == new["type"]);
        if known == Some(&new) {
            return None;
        }
        let mut new = new;
        for key in known.and_then(Value::as_object).into_iter().flat_map(|it| it.keys()) {
            if new.get(key).is_none() {
                new[key] = Value::Null;
            }
        }
        Some(new)
    };
    list(after).into_iter().filter_map(changed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(old: Value, new: Value) -> Value {
        diff(&old, &new).map_or(Value::Null, Value::Object)
    }

    #[test]
    fn nothing_changed_nothing_sent() {
        let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(run(status.clone(), status), Value::Null);
        assert_eq!(run(json!({"nominatedNodeName": "x"}), json!({})), Value::Null);
        // Somebody else's condition is not ours to remove.
        assert_eq!(
            run(json!({"conditions": [{"type": "other"}]}), json!({"conditions": []})),
            Value::Null
        );
    }

    #[test]
    fn changed_fields_only() {
        let old = json!({"phase": "Failed", "reason": "x", "conditions": [{"type": "A", "status": "True"},
            {"type": "B", "status": "False", "reason": "r"}]});
        let new = json!({"phase": "Running", "conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}]});
        assert_eq!(
            run(old, new),
            json!({"phase": "Running", "reason": null, "conditions": [{"type": "B", "status": "True", "reason": null}]})
        );
    }

    #[test]
    fn addresses_are_replaced() {
        let ips = |ip: &str| json!({"podIPs": [{"ip": ip}]});
        assert_eq!(run(json!({}), ips("1")), ips("1"));
        assert_eq!(
            run(ips("1"), ips("2")),
            json!({"podIPs": [{"$patch": "replace"}, {"ip": "2"}]})
        );
    }
}
