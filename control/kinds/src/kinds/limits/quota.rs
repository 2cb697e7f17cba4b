//! ResourceQuotas.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cells::Cell;
use crate::declared::{Declared, NewStatus, PLAIN};
use crate::names;
use crate::path::{Errors, Path};
use crate::podspec::resources;
use crate::quantity::Quantity;
use crate::table::{AGE, NAME, shows};
use crate::value::{at, list_at, map_at, strings, text};

const STANDARD: [&str; 21] = [
    "configmaps",
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
    "storage",
    "resourceclaims",
];
const COMPUTE: [&str; 6] = [
    "cpu",
    "limits.cpu",
    "limits.memory",
    "memory",
    "requests.cpu",
    "requests.memory",
];
const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

/// ResourceQuotas.
pub static QUOTA: Declared = Declared {
    new_status: NewStatus::Empty,
    columns: &[
        NAME,
        shows(
            "Request",
            Cell::By(|quota, _| used(quota, false)),
            "What is used of what may be, other than limits",
        ),
        shows(
            "Limit",
            Cell::By(|quota, _| used(quota, true)),
            "What is used of the limits that may be",
        ),
        AGE,
    ],
    more_defaults: |quota| {
        for pointer in ["/spec/hard", "/status/hard", "/status/used"] {
            if let Some(list) = quota.pointer_mut(pointer) {
                resources::canonicalize_list(list);
            }
        }
    },
    more_rules: |quota, old, errors| {
        amounts(quota, &["spec", "hard"], &Path::new("spec.hard"), errors);
        scopes(quota, errors);
        // Only the set of scopes stays: kube's ValidateResourceQuotaUpdate lets a selector change.
        let set = |quota| strings(quota, &["spec", "scopes"]).collect::<BTreeSet<_>>();
        if let Some(old) = old.filter(|old| set(old) != set(quota)) {
            let list = ["spec", "scopes"];
            errors.immutable(&Path::new("spec.scopes"), at(quota, &list), at(old, &list));
        }
    },
    more_status_rules: |quota, _, errors| {
        amounts(quota, &["status", "hard"], &Path::new("status.hard"), errors);
        amounts(quota, &["status", "used"], &Path::new("status.used"), errors);
    },
    ..PLAIN
};

fn amounts(quota: &Value, place: &[&str], path: &Path<'_>, errors: &mut Errors) {
    for (name, amount) in map_at(quota, place).into_iter().flatten() {
        let at = path.key(name);
        errors.invalid_each(&at, name, names::qualified_name_errors(name));
        let huge_pages = name.starts_with("hugepages-") || name.starts_with("requests.hugepages-");
        if !name.contains('/') && !STANDARD.contains(&name.as_str()) && !huge_pages {
            errors.invalid(&at, name.as_str(), "must be a standard resource for quota");
        }
        let Ok(amount) = Quantity::from_value(amount) else {
            continue;
        };
        if amount.sign() < 0 {
            errors.invalid(&at, amount.to_string(), "must be greater than or equal to 0");
        }
        let divisible = ["cpu", "memory", "storage"].iter().any(|unit| name.ends_with(unit));
        if !divisible && !amount.is_integer() {
            errors.invalid(&at, amount.to_string(), "must be an integer");
        }
    }
}

/// Whether a scope may select objects that use a standard resource.
fn applies(scope: &str, resource: &str) -> bool {
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => resource == "pods" || COMPUTE.contains(&resource),
    }
}

fn scopes(quota: &Value, errors: &mut Errors) {
    let list = Path::new("spec.scopes");
    let given: Vec<&str> = strings(quota, &["spec", "scopes"]).collect();
    for scope in given.iter().filter(|scope| !SCOPES.contains(scope)) {
        errors.invalid(&list, *scope, "unsupported scope");
    }
    let hard = map_at(quota, &["spec", "hard"]).into_iter().flatten();
    for (name, _) in hard.filter(|(name, _)| STANDARD.contains(&name.as_str())) {
        for _ in given
            .iter()
            .filter(|scope| SCOPES.contains(scope) && !applies(scope, name))
        {
            errors.invalid(&list, given.clone(), "unsupported scope applied to resource");
        }
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if given.contains(&one) && given.contains(&other) {
            errors.invalid(&list, given.clone(), "conflicting scopes");
        }
    }
    let list = Path::new("spec.scopeSelector.matchExpressions");
    for (i, term) in list_at(quota, &["spec", "scopeSelector", "matchExpressions"])
        .iter()
        .enumerate()
    {
        let item = list.index(i);
        let (scope, operator) = (text(term, "scopeName"), text(term, "operator"));
        if !SCOPES.contains(&scope) {
            errors.invalid(&item.child("scopeName"), scope, "unsupported scope");
        }
        for (name, _) in map_at(quota, &["spec", "hard"]).into_iter().flatten() {
            if STANDARD.contains(&name.as_str()) && SCOPES.contains(&scope) && !applies(scope, name) {
                let detail = "unsupported scope applied to resource";
                errors.invalid(
                    &list,
                    at(quota, &["spec", "scopeSelector"]).cloned().unwrap_or_default(),
                    detail,
                );
            }
        }
        if !matches!(scope, "PriorityClass" | "VolumeAttributesClass") && operator != "Exists" {
            let detail = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, \
                          ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                          ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.invalid(&item.child("operator"), operator, detail);
        }
        let values = list_at(term, &["values"]).len();
        match operator {
            "In" | "NotIn" if values == 0 => errors.required(
                &item.child("values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            ),
            "Exists" | "DoesNotExist" if values > 0 => errors.invalid(
                &item.child("values"),
                at(term, &["values"]).cloned().unwrap_or_default(),
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            ),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.invalid(&item.child("operator"), operator, "not a valid selector operator"),
        }
    }
}

/// `pods: 1/10, requests.cpu: 0/2`
fn used(quota: &Value, limits: bool) -> Value {
    let hard = map_at(quota, &["status", "hard"]);
    let mut names: Vec<&String> = hard.into_iter().flatten().map(|(name, _)| name).collect();
    names.retain(|name| name.starts_with("limits.") == limits);
    names.sort_unstable();
    let amount = |place: &str, name: &str| {
        at(quota, &["status", place, name])
            .and_then(Value::as_str)
            .unwrap_or("0")
    };
    let parts = names
        .iter()
        .map(|name| format!("{name}: {}/{}", amount("used", name), amount("hard", name)));
    parts.collect::<Vec<_>>().join(", ").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;
    use serde_json::json;

    #[test]
    fn quotas_are_checked_and_shown() {
        let quota = json!({"metadata": {"name": "q", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"hard": {"pods": "10", "limits.cpu": "2", "count/jobs.batch": "3"}},
            "status": {"hard": {"pods": "10", "limits.cpu": "2"}, "used": {"pods": "1"}}});
        assert_eq!(QUOTA.validate(&quota, None), vec![]);
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(QUOTA.cells(&quota, now), ["q", "pods: 1/10", "limits.cpu: 0/2", "1s"]);
        let bad = json!({"spec": {"hard": {"fish": "1", "pods": "500m"}, "scopes": ["BestEffort", "NotBestEffort"]}});
        let lines: Vec<String> = QUOTA.validate(&bad, None).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "spec.hard[fish]: Invalid value: \"fish\": must be a standard resource for quota",
                "spec.hard[pods]: Invalid value: \"500m\": must be an integer",
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes"
            ]
        );
        let claims = json!({"spec": {"hard": {"gpu.deviceclass.resource.k8s.io/devices": "4", "requests.storage": "1Gi"},
            "scopes": ["PriorityClass"]}});
        let lines: Vec<String> = QUOTA.validate(&claims, None).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            ["spec.scopes: Invalid value: [\"PriorityClass\"]: unsupported scope applied to resource"]
        );
        let by_class = |operator: &str, scope: &str| {
            let term = json!({"scopeName": scope, "operator": operator});
            let quota = json!({"spec": {"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [term]}}});
            QUOTA.validate(&quota, None).len()
        };
        assert_eq!(
            (
                by_class("Exists", "Terminating"),
                by_class("DoesNotExist", "Terminating")
            ),
            (0, 1)
        );
        assert_eq!(by_class("DoesNotExist", "PriorityClass"), 0);
    }
}
