//! HorizontalPodAutoscalers, stored as `autoscaling/v2` has them.

mod conversion;
mod metrics;

use serde_json::{Value, json};

pub use conversion::CONVERSION;

use crate::cells::Cell;
use crate::declared::{Declared, NewStatus, PLAIN};
use crate::path::{Errors, Path};
use crate::rules::{Check, number, object, rule, segment};
use crate::table::{AGE, NAME, shows};
use crate::value::{at, i64_at, list_at, str_at, text};

/// What the replicas are kept at when nothing else is asked for.
const CPU_UTILIZATION: i64 = 80;
const LONGEST_WINDOW_SECONDS: i64 = 3600;
const LONGEST_PERIOD_SECONDS: i64 = 1800;

/// HorizontalPodAutoscalers.
pub static AUTOSCALER: Declared = Declared {
    new_status: NewStatus::Zeros(&["desiredReplicas"]),
    columns: &[
        NAME,
        shows(
            "Reference",
            Cell::By(|hpa, _| {
                let part = |key| str_at(hpa, &["spec", "scaleTargetRef", key]).unwrap_or("");
                format!("{}/{}", part("kind"), part("name")).into()
            }),
            "What is scaled",
        ),
        shows(
            "Targets",
            Cell::By(|hpa, _| metrics::shown(hpa).into()),
            "Metrics as they are and as they should be",
        ),
        shows("MinPods", Cell::Text("spec.minReplicas", "<unset>"), "Fewest pods"),
        shows("MaxPods", Cell::Number("spec.maxReplicas"), "Most pods"),
        shows("Replicas", Cell::Number("status.currentReplicas"), "Pods there are"),
        AGE,
    ],
    defaults: &[object("spec.scaleTargetRef"), number("spec.minReplicas", 1)],
    rules: &[
        rule("spec.maxReplicas", Check::Above(0, "must be greater than 0")),
        rule("spec.scaleTargetRef.kind", Check::Required("")),
        rule("spec.scaleTargetRef.kind", Check::Text(segment)),
        rule("spec.scaleTargetRef.name", Check::Required("")),
        rule("spec.scaleTargetRef.name", Check::Text(segment)),
        rule("spec.metrics[*]", Check::By(metrics::check)),
        rule("spec.behavior.scaleUp", Check::By(scaling)),
        rule("spec.behavior.scaleDown", Check::By(scaling)),
    ],
    status_rules: &[
        rule("status.currentReplicas", Check::AtLeast(0)),
        rule("status.desiredReplicas", Check::AtLeast(0)),
    ],
    more_defaults: default,
    more_rules,
    ..PLAIN
};

fn default(hpa: &mut Value) {
    let Some(spec) = hpa.get_mut("spec").filter(|s| s.is_object()) else {
        return;
    };
    if list_at(spec, &["metrics"]).is_empty() {
        spec["metrics"] = json!([{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": CPU_UTILIZATION}}}]);
    }
    let Some(behavior) = spec.get_mut("behavior").filter(|b| b.is_object()) else {
        return;
    };
    let double = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let mut up = json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, double]});
    let mut down = json!({"selectPolicy": "Max", "policies": [double]});
    for (key, rules) in [("scaleUp", &mut up), ("scaleDown", &mut down)] {
        for (name, given) in behavior.get(key).and_then(Value::as_object).into_iter().flatten() {
            let nothing = given.is_null() || given.as_array().is_some_and(Vec::is_empty);
            if !nothing {
                rules[name] = given.clone();
            }
        }
        behavior[key] = rules.take();
    }
}

fn more_rules(hpa: &Value, old: Option<&Value>, errors: &mut Errors) {
    let number = |obj: &Value, key| i64_at(obj, &["spec", key]);
    let path = Path::new("spec");
    // Zero needs a feature that is off; who has it keeps it.
    let kept = old.and_then(|old| number(old, "minReplicas")) == Some(0);
    let (least, most) = (number(hpa, "minReplicas"), number(hpa, "maxReplicas").unwrap_or(0));
    if let Some(least) = least.filter(|n| *n < i64::from(!kept)) {
        let detail = format!("must be greater than or equal to {}", i64::from(!kept));
        errors.invalid(&path.child("minReplicas"), least, detail);
    }
    if least.is_some_and(|least| most < least) {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.invalid(&path.child("maxReplicas"), most, detail);
    }
}

fn scaling(rules: &Value, path: &Path<'_>, errors: &mut Errors) {
    if let Some(seconds) = i64_at(rules, &["stabilizationWindowSeconds"]) {
        let at = path.child("stabilizationWindowSeconds");
        if seconds < 0 {
            errors.invalid(&at, seconds, "must be greater than or equal to zero");
        }
        if seconds > LONGEST_WINDOW_SECONDS {
            let detail = format!("must be less than or equal to {LONGEST_WINDOW_SECONDS}");
            errors.invalid(&at, seconds, detail);
        }
    }
    let supported = ["Disabled", "Max", "Min"];
    errors.optional_one_of(&path.child("selectPolicy"), rules.get("selectPolicy"), &supported);
    let policies = list_at(rules, &["policies"]);
    let list = path.child("policies");
    if policies.is_empty() {
        errors.required(&list, "must specify at least one Policy");
    }
    for (i, policy) in policies.iter().enumerate() {
        let item = list.index(i);
        let kind = text(policy, "type");
        if !["Percent", "Pods"].contains(&kind) {
            errors.not_supported(&item.child("type"), kind, &["Percent", "Pods"]);
        }
        for key in ["value", "periodSeconds"] {
            let number = i64_at(policy, &[key]).unwrap_or(0);
            if number <= 0 {
                errors.invalid(&item.child(key), number, "must be greater than zero");
            }
        }
        let period = i64_at(policy, &["periodSeconds"]).unwrap_or(0);
        if period > LONGEST_PERIOD_SECONDS {
            let detail = format!("must be less than or equal to {LONGEST_PERIOD_SECONDS}");
            errors.invalid(&item.child("periodSeconds"), period, detail);
        }
    }
    if at(rules, &["tolerance"]).is_some_and(text_is_negative) {
        errors.invalid(
            &path.child("tolerance"),
            rules["tolerance"].clone(),
            "must be greater or equal to 0",
        );
    }
}

fn text_is_negative(quantity: &Value) -> bool {
    quantity.as_str().is_some_and(|text| text.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;

    fn hpa(change: impl FnOnce(&mut Value)) -> Value {
        let mut hpa = json!({"metadata": {"name": "h", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
        change(&mut hpa);
        AUTOSCALER.default(&mut hpa);
        hpa
    }

    fn lines(change: impl FnOnce(&mut Value)) -> Vec<String> {
        AUTOSCALER
            .validate(&hpa(change), None)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn defaults_and_rows() {
        let obj = hpa(|h| h["spec"]["behavior"] = json!({"scaleDown": {"stabilizationWindowSeconds": 60}}));
        assert_eq!(
            obj["spec"]["behavior"]["scaleUp"]["policies"].as_array().unwrap().len(),
            2
        );
        assert_eq!(obj["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 60);
        assert_eq!(AUTOSCALER.validate(&obj, None), vec![]);
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(
            AUTOSCALER.cells(&obj, now),
            [
                json!("h"),
                json!("Deployment/web"),
                json!("cpu: <unknown>/80%"),
                json!("1"),
                json!(3),
                json!(0),
                json!("1s")
            ]
        );
    }

    #[test]
    fn mistakes_are_reported() {
        assert_eq!(
            lines(|h| h["spec"]["minReplicas"] = json!(4)),
            ["spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"]
        );
        assert_eq!(
            lines(|h| h["spec"]["maxReplicas"] = json!(0))[0],
            "spec.maxReplicas: Invalid value: 0: must be greater than 0"
        );
        assert_eq!(
            lines(|h| h["spec"]["behavior"] =
                json!({"scaleUp": {"policies": [{"type": "x", "value": 0, "periodSeconds": 1}]}})),
            [
                "spec.behavior.scaleUp.policies[0].type: Unsupported value: \"x\": supported values: \"Percent\", \"Pods\"",
                "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero"
            ]
        );
        assert_eq!(
            lines(
                |h| h["spec"]["metrics"] = json!([{"type": "Resource", "pods": {"metric": {"name": "m"},
                "target": {"type": "AverageValue", "averageValue": "1"}}}])
            ),
            [
                "spec.metrics[0].resource: Required value: must populate information for the given metric source",
                "spec.metrics[0].pods: Forbidden: must populate the given metric source only"
            ]
        );
    }
}
