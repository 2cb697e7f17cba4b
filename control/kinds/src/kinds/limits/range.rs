//! LimitRanges.

use serde_json::{Map, Value};

use crate::declared::{Declared, PLAIN};
use crate::names;
use crate::path::{Errors, Path};
use crate::podspec::resources;
use crate::quantity::Quantity;
use crate::rules::{Check, rule};
use crate::value::{at, items_mut, list_at, map_at, object_mut, text};

/// The types that need no domain.
const TYPES: [&str; 3] = ["Container", "PersistentVolumeClaim", "Pod"];
const LISTS: [&str; 5] = ["default", "defaultRequest", "max", "maxLimitRequestRatio", "min"];

/// LimitRanges.
pub static RANGE: Declared = Declared {
    names_itself: true,
    create_on_update: true,
    rules: &[
        rule("spec.limits", Check::Unique(&["type"])),
        rule("spec.limits[*].type", Check::Required("")),
        rule("spec.limits[*].type", Check::Text(limit_type)),
    ],
    more_defaults: default,
    more_rules: |range, _, errors| {
        let list = Path::new("spec.limits");
        for (i, limit) in list_at(range, &["spec", "limits"]).iter().enumerate() {
            self::limit(limit, &list.index(i), errors);
        }
    },
    ..PLAIN
};

/// As kube's `validateLimitRangeTypeName`.
fn limit_type(text: &str) -> Vec<String> {
    let mut messages = names::qualified_name_errors(text);
    if messages.is_empty() && !text.contains('/') && !TYPES.contains(&text) {
        messages.push("must be a standard limit type or fully qualified".into());
    }
    messages
}

/// What containers get follows from what they may have.
fn default(range: &mut Value) {
    let Some(spec) = range.get_mut("spec") else { return };
    for limit in items_mut(spec, "limits") {
        for list in LISTS {
            if let Some(list) = limit.get_mut(list) {
                resources::canonicalize_list(list);
            }
        }
        if text(limit, "type") != "Container" {
            continue;
        }
        for (from, to) in [
            ("max", "default"),
            ("default", "defaultRequest"),
            ("min", "defaultRequest"),
        ] {
            let given = map_at(limit, &[from]).cloned().unwrap_or_default();
            if given.is_empty() {
                continue;
            }
            if let Some(target) = object_mut(limit, to) {
                for (name, amount) in given {
                    target.entry(name).or_insert(amount);
                }
            }
        }
    }
}

fn limit(limit: &Value, path: &Path<'_>, errors: &mut Errors) {
    let kind = text(limit, "type");
    let amounts = |list: &str| map_at(limit, &[list]).cloned().unwrap_or_default();
    if kind == "Pod" {
        for list in ["default", "defaultRequest"]
            .into_iter()
            .filter(|l| !amounts(l).is_empty())
        {
            errors.forbidden(&path.child(list), "may not be specified when `type` is 'Pod'");
        }
    }
    if kind == "PersistentVolumeClaim" {
        let given = |list| at(limit, &[list, "storage"]).is_some();
        if !given("min") && !given("max") {
            let detail = "either minimum or maximum storage value is required, but neither was provided";
            errors.required(&path.child("limits"), detail);
        }
    }
    let mut all: Vec<String> = Vec::new();
    for list in LISTS {
        for (name, _) in &amounts(list) {
            errors.invalid_each(&path.child(list).key(name), name, names::qualified_name_errors(name));
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
    }
    for name in &all {
        order(limit, name, path, errors);
    }
}

/// From the least to the most: min, the request and the limit that containers get, max.
fn order(limit: &Value, name: &str, path: &Path<'_>, errors: &mut Errors) {
    let amount =
        |list: &str| map_at(limit, &[list]).and_then(|m: &Map<String, Value>| Quantity::from_value(m.get(name)?).ok());
    let pairs = [
        ("min", "max", "min", "min value", "max value"),
        (
            "min",
            "defaultRequest",
            "defaultRequest",
            "min value",
            "default request value",
        ),
        (
            "defaultRequest",
            "max",
            "defaultRequest",
            "default request value",
            "max value",
        ),
        (
            "defaultRequest",
            "default",
            "defaultRequest",
            "default request value",
            "default limit value",
        ),
        ("min", "default", "default", "min value", "default value"),
        ("default", "max", "default", "default value", "max value"),
    ];
    for (low, high, shown, low_words, high_words) in pairs {
        if let (Some(less), Some(more), Some(value)) = (amount(low), amount(high), amount(shown))
            && less > more
        {
            let detail = format!("{low_words} {less} is greater than {high_words} {more}");
            errors.invalid(&path.child(shown).key(name), value.to_string(), detail);
        }
    }
    if let Some(ratio) = amount("maxLimitRequestRatio") {
        let at = path.child("maxLimitRequestRatio");
        if ratio < Quantity::from_units(1, ratio.format()) {
            errors.invalid(
                &at.key(name),
                ratio.to_string(),
                format!("ratio {ratio} is less than 1"),
            );
        }
    }
    let same = amount("default") != amount("defaultRequest");
    if amount("default").is_some() && amount("defaultRequest").is_some() && same && !overcommit_allowed(name) {
        let given = amount("defaultRequest").map(|q| q.to_string()).unwrap_or_default();
        let detail = format!("default value of {name} must be equal to its default request");
        errors.invalid(&path.child("defaultRequest").key(name), given, detail);
    }
}

fn overcommit_allowed(name: &str) -> bool {
    !name.starts_with("hugepages-") && (!name.contains('/') || name.starts_with("kubernetes.io/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;
    use serde_json::json;

    #[test]
    fn containers_get_what_they_may_have() {
        let mut range = json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": 1}, "min": {"cpu": "100m", "memory": "1Mi"}}]}});
        RANGE.default(&mut range);
        let limit = &range["spec"]["limits"][0];
        assert_eq!(limit["default"], json!({"cpu": "1"}));
        assert_eq!(limit["defaultRequest"], json!({"cpu": "1", "memory": "1Mi"}));
        assert_eq!(RANGE.validate(&range, None), vec![]);
    }

    #[test]
    fn mistakes_are_reported() {
        let range = json!({"spec": {"limits": [{"type": "Pod", "min": {"cpu": "2"}, "max": {"cpu": "1"}, "default": {"cpu": "1"}},
            {"type": "PersistentVolumeClaim"}]}});
        let lines: Vec<String> = RANGE.validate(&range, None).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
                "spec.limits[0].default[cpu]: Invalid value: \"1\": min value 2 is greater than default value 1",
                "spec.limits[1].limits: Required value: either minimum or maximum storage value is required, but neither \
                 was provided"
            ]
        );
    }
}
