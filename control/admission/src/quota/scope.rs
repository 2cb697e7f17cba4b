//! Which objects a quota is about.

use barepod_kinds::podspec::resources::qos_class;
use barepod_kinds::value::{i64_at, list_at, str_at, strings, text};
use serde_json::Value;

/// Whether a quota's scopes take an object in. A quota with scopes is about pods, or, by their class, about claims.
pub fn matches(quota: &Value, group: &str, resource: &str, object: &Value) -> bool {
    let scopes = strings(quota, &["spec", "scopes"]).map(|scope| (scope, "Exists", &[][..]));
    let expressions = list_at(quota, &["spec", "scopeSelector", "matchExpressions"]);
    let expressions = expressions.iter().map(|expression| {
        let values = list_at(expression, &["values"]);
        (text(expression, "scopeName"), text(expression, "operator"), values)
    });
    scopes
        .chain(expressions)
        .all(|(scope, operator, values)| match (group, resource) {
            ("", "pods") => pod(scope, operator, values, object),
            ("", "persistentvolumeclaims") if scope == "VolumeAttributesClass" => {
                by_name(str_at(object, &["spec", "volumeAttributesClassName"]), operator, values)
            }
            _ => false,
        })
}

fn by_name(name: Option<&str>, operator: &str, values: &[Value]) -> bool {
    let among = name.is_some_and(|name| values.iter().any(|value| value == name));
    match operator {
        "In" => among,
        "NotIn" => !among,
        "DoesNotExist" => name.is_none(),
        _ => name.is_some(),
    }
}

fn pod(scope: &str, operator: &str, values: &[Value], pod: &Value) -> bool {
    let terminating = i64_at(pod, &["spec", "activeDeadlineSeconds"]).is_some_and(|seconds| seconds >= 0);
    let best_effort = || qos_class(&pod["spec"]) == "BestEffort";
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => by_name(str_at(pod, &["spec", "priorityClassName"]), operator, values),
        "CrossNamespacePodAffinity" => crosses(pod),
        _ => false,
    }
}

fn crosses(pod: &Value) -> bool {
    ["podAffinity", "podAntiAffinity"].into_iter().any(|kind| {
        let list = |key| list_at(pod, &["spec", "affinity", kind, key]).iter();
        let required = list("requiredDuringSchedulingIgnoredDuringExecution");
        let preferred =
            list("preferredDuringSchedulingIgnoredDuringExecution").filter_map(|term| term.get("podAffinityTerm"));
        required.chain(preferred).any(|term| {
            !list_at(term, &["namespaces"]).is_empty() || term.get("namespaceSelector").is_some_and(|it| !it.is_null())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scopes_take_in_what_they_say() {
        let takes = |spec: Value, pod: Value| matches(&json!({"spec": spec}), "", "pods", &json!({"spec": pod}));
        let busy = json!({"containers": [{"resources": {"requests": {"cpu": "1"}}}], "activeDeadlineSeconds": 5, "priorityClassName": "high"});
        let idle = json!({"containers": [{}]});
        for (scope, of_busy, of_idle) in [
            ("Terminating", true, false),
            ("NotTerminating", false, true),
            ("BestEffort", false, true),
            ("NotBestEffort", true, false),
            ("PriorityClass", true, false),
        ] {
            let quota = json!({"scopes": [scope]});
            assert_eq!(
                (takes(quota.clone(), busy.clone()), takes(quota, idle.clone())),
                (of_busy, of_idle),
                "{scope}"
            );
        }
        let selector = |operator: &str| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": ["high"]}]}});
        assert!(
            takes(selector("In"), busy.clone())
                && !takes(selector("NotIn"), busy.clone())
                && takes(selector("NotIn"), idle.clone())
        );
        let affinity = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["x"]}]}}});
        assert!(takes(json!({"scopes": ["CrossNamespacePodAffinity"]}), affinity));
        assert!(!matches(
            &json!({"spec": {"scopes": ["BestEffort"]}}),
            "",
            "secrets",
            &json!({})
        ));
        assert!(matches(&json!({"spec": {}}), "", "secrets", &json!({})));
    }
}
