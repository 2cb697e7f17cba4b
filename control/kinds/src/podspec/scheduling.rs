//! Validation of what steers scheduling: node selector, tolerations, affinity, topology spread.

use serde_json::Value;

use crate::labels;
use crate::names;
use crate::path::{Errors, Path};
use crate::value::{self, at, list_at, text};

/// Effects of taints.
pub const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "PreferNoSchedule"];

/// Checks all fields of a pod specification that steer scheduling.
pub fn scheduling(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    labels::validate(
        value::map_at(spec, &["nodeSelector"]),
        &path.child("nodeSelector"),
        errors,
    );
    let list = path.child("tolerations");
    for (i, toleration) in list_at(spec, &["tolerations"]).iter().enumerate() {
        self::toleration(toleration, &list.index(i), errors);
    }
    if let Some(affinity) = at(spec, &["affinity"]) {
        self::affinity(affinity, &path.child("affinity"), errors);
    }
    topology_spread(spec, path, errors);
}

/// Checks a toleration of a pod or of a RuntimeClass.
pub fn toleration(toleration: &Value, path: &Path<'_>, errors: &mut Errors) {
    let key = text(toleration, "key");
    let operator = text(toleration, "operator");
    let effect = text(toleration, "effect");
    let content = text(toleration, "value");
    if key.is_empty() {
        if operator != "Exists" {
            errors.invalid(
                &path.child("operator"),
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            );
        }
    } else {
        errors.invalid_each(&path.child("key"), key, names::qualified_name_errors(key));
    }
    let seconds = value::i64_at(toleration, &["tolerationSeconds"]);
    if seconds.is_some() && effect != "NoExecute" {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.invalid(&path.child("effect"), effect, detail);
    }
    match operator {
        "" | "Equal" => {
            errors.invalid_each(&path.child("operator"), content, names::label_value_errors(content));
        }
        "Exists" => {
            if !content.is_empty() {
                let detail = "value must be empty when `operator` is 'Exists'";
                errors.invalid(&path.child("operator"), toleration.clone(), detail);
            }
        }
        other => errors.not_supported(&path.child("operator"), other, &["Equal", "Exists"]),
    }
    errors.optional_one_of(&path.child("effect"), toleration.get("effect"), &EFFECTS);
}

fn affinity(affinity: &Value, path: &Path<'_>, errors: &mut Errors) {
    if let Some(node) = at(affinity, &["nodeAffinity"]) {
        node_affinity(node, &path.child("nodeAffinity"), errors);
    }
    for key in ["podAffinity", "podAntiAffinity"] {
        let Some(pod) = at(affinity, &[key]) else { continue };
        let base = path.child(key);
        let list = base.child("requiredDuringSchedulingIgnoredDuringExecution");
        for (i, term) in list_at(pod, &["requiredDuringSchedulingIgnoredDuringExecution"])
            .iter()
            .enumerate()
        {
            pod_term(term, &list.index(i), errors);
        }
        let list = base.child("preferredDuringSchedulingIgnoredDuringExecution");
        for (i, preferred) in list_at(pod, &["preferredDuringSchedulingIgnoredDuringExecution"])
            .iter()
            .enumerate()
        {
            let item = list.index(i);
            weight(preferred, &item, errors);
            let term = at(preferred, &["podAffinityTerm"]).unwrap_or(&Value::Null);
            pod_term(term, &item.child("podAffinityTerm"), errors);
        }
    }
}

fn weight(preferred: &Value, path: &Path<'_>, errors: &mut Errors) {
    let weight = value::i64_at(preferred, &["weight"]).unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.child("weight"), weight, "must be in the range 1-100");
    }
}

/// Checks a node selector: at least one term, each well-formed.
pub fn node_selector(selector: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("nodeSelectorTerms");
    let terms = list_at(selector, &["nodeSelectorTerms"]);
    if terms.is_empty() {
        errors.required(&list, "must have at least one node selector term");
    }
    for (i, term) in terms.iter().enumerate() {
        node_term(term, &list.index(i), errors);
    }
}

fn node_affinity(node: &Value, path: &Path<'_>, errors: &mut Errors) {
    if let Some(required) = at(node, &["requiredDuringSchedulingIgnoredDuringExecution"]) {
        let base = path.child("requiredDuringSchedulingIgnoredDuringExecution");
        node_selector(required, &base, errors);
    }
    let list = path.child("preferredDuringSchedulingIgnoredDuringExecution");
    for (i, preferred) in list_at(node, &["preferredDuringSchedulingIgnoredDuringExecution"])
        .iter()
        .enumerate()
    {
        let item = list.index(i);
        weight(preferred, &item, errors);
        let term = at(preferred, &["preference"]).unwrap_or(&Value::Null);
        node_term(term, &item.child("preference"), errors);
    }
}

fn node_term(term: &Value, path: &Path<'_>, errors: &mut Errors) {
    for (key, fields) in [("matchExpressions", false), ("matchFields", true)] {
        let list = path.child(key);
        for (i, requirement) in list_at(term, &[key]).iter().enumerate() {
            let item = list.index(i);
            node_requirement(requirement, fields, &item, errors);
        }
    }
}

fn node_requirement(requirement: &Value, is_field: bool, path: &Path<'_>, errors: &mut Errors) {
    let values = list_at(requirement, &["values"]);
    let operator = text(requirement, "operator");
    let values_path = path.child("values");
    if is_field {
        if !["In", "NotIn"].contains(&operator) {
            errors.invalid(&path.child("operator"), operator, "not a valid selector operator");
        } else if values.len() != 1 {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.required(&values_path, detail);
        }
        let key = text(requirement, "key");
        if key != "metadata.name" {
            errors.invalid(&path.child("key"), key, "not a valid field selector key");
        }
        return;
    }
    match operator {
        "In" | "NotIn" => {
            if values.is_empty() {
                errors.required(&values_path, "must be specified when `operator` is 'In' or 'NotIn'");
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.forbidden(&values_path, detail);
            }
        }
        "Gt" | "Lt" => {
            if values.len() != 1 {
                errors.required(
                    &values_path,
                    "must be specified single value when `operator` is 'Lt' or 'Gt'",
                );
            }
        }
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
    let key = text(requirement, "key");
    errors.invalid_each(&path.child("key"), key, names::qualified_name_errors(key));
}

fn pod_term(term: &Value, path: &Path<'_>, errors: &mut Errors) {
    for key in ["labelSelector", "namespaceSelector"] {
        if let Some(selector) = at(term, &[key]) {
            labels::validate_selector(selector, &path.child(key), errors);
        }
    }
    for namespace in value::strings(term, &["namespaces"]) {
        errors.invalid_each(&path.child("namespace"), namespace, names::label_errors(namespace));
    }
    let key = text(term, "topologyKey");
    if key.is_empty() {
        errors.required(&path.child("topologyKey"), "can not be empty");
    }
    errors.invalid_each(&path.child("topologyKey"), key, names::qualified_name_errors(key));
}

fn topology_spread(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("topologySpreadConstraints");
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (i, constraint) in list_at(spec, &["topologySpreadConstraints"]).iter().enumerate() {
        let item = list.index(i);
        let skew = value::i64_at(constraint, &["maxSkew"]).unwrap_or(0);
        if skew <= 0 {
            errors.invalid(&item.child("maxSkew"), skew, "must be greater than 0");
        }
        let key = text(constraint, "topologyKey");
        if key.is_empty() {
            errors.required(&item.child("topologyKey"), "can not be empty");
        } else {
            errors.invalid_each(&item.child("topologyKey"), key, names::qualified_name_errors(key));
        }
        let action = text(constraint, "whenUnsatisfiable");
        let action_path = item.child("whenUnsatisfiable");
        if !["DoNotSchedule", "ScheduleAnyway"].contains(&action) {
            errors.not_supported(&action_path, action, &["DoNotSchedule", "ScheduleAnyway"]);
        }
        if seen.contains(&(key, action)) {
            errors.duplicate(
                &item.child("{topologyKey, whenUnsatisfiable}"),
                format!("{{{key}, {action}}}"),
            );
        }
        seen.push((key, action));
        if let Some(domains) = value::i64_at(constraint, &["minDomains"]) {
            if domains <= 0 {
                errors.invalid(&item.child("minDomains"), domains, "must be greater than 0");
            }
            if action == "ScheduleAnyway" {
                let detail = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway";
                errors.invalid(&item.child("minDomains"), domains, detail);
            }
        }
        for key in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            errors.optional_one_of(&item.child(key), constraint.get(key), &["Honor", "Ignore"]);
        }
        if let Some(selector) = at(constraint, &["labelSelector"]) {
            labels::validate_selector(selector, &item.child("labelSelector"), errors);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::podspec::validate::tests::lines;
    use serde_json::{Value, json};

    fn with(key: &str, v: Value) -> Vec<String> {
        lines(json!({"containers": [{"name": "a", "image": "b"}], key: v}))
    }

    #[test]
    fn tolerations() {
        assert_eq!(
            with("tolerations", json!([{"operator": "Exists"}])),
            Vec::<String>::new()
        );
        assert!(with("tolerations", json!([{}]))[0].contains("operator must be Exists when `key` is empty"));
        assert_eq!(
            with(
                "tolerations",
                json!([{"key": "a", "tolerationSeconds": 3, "effect": "NoSchedule"}])
            ),
            [
                r#"spec.tolerations[0].effect: Invalid value: "NoSchedule": effect must be 'NoExecute' when `tolerationSeconds` is set"#
            ]
        );
        assert_eq!(
            with("tolerations", json!([{"key": "a", "effect": "Never"}])),
            [
                r#"spec.tolerations[0].effect: Unsupported value: "Never": supported values: "NoExecute", "NoSchedule", "PreferNoSchedule""#
            ]
        );
    }

    #[test]
    fn affinity() {
        let node = |requirement: Value| {
            with(
                "affinity",
                json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                    {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}}}),
            )
        };
        assert_eq!(
            node(json!({"key": "a", "operator": "In", "values": ["b"]})),
            Vec::<String>::new()
        );
        assert!(node(json!({"key": "a", "operator": "In"}))[0].contains("must be specified when `operator` is 'In'"));
        assert!(node(json!({"key": "a", "operator": "Is"}))[0].contains("not a valid selector operator"));
        let pod = with(
            "affinity",
            json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {}}]}}),
        );
        assert!(pod[0].ends_with("[0].topologyKey: Required value: can not be empty"));
    }

    #[test]
    fn topology_spread() {
        assert_eq!(
            with(
                "topologySpreadConstraints",
                json!([{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}])
            ),
            Vec::<String>::new()
        );
        assert_eq!(with("topologySpreadConstraints", json!([{}])).len(), 3);
    }
}
