//! Labels and label selectors inside objects: validation, matching, and their short text form.

use serde_json::{Map, Value};

use crate::names;
use crate::path::{Errors, Path};
use crate::value;

/// Checks a map of labels.
pub fn validate(labels: Option<&Map<String, Value>>, path: &Path<'_>, errors: &mut Errors) {
    for (key, v) in labels.into_iter().flatten() {
        errors.invalid_each(path, key, names::qualified_name_errors(key));
        let text = v.as_str().unwrap_or("");
        errors.invalid_each(path, text, names::label_value_errors(text));
    }
}

/// Checks a `metav1.LabelSelector`.
pub fn validate_selector(selector: &Value, path: &Path<'_>, errors: &mut Errors) {
    validate(
        value::map_at(selector, &["matchLabels"]),
        &path.child("matchLabels"),
        errors,
    );
    let list = path.child("matchExpressions");
    for (i, expression) in value::list_at(selector, &["matchExpressions"]).iter().enumerate() {
        let item = list.index(i);
        let count = value::list_at(expression, &["values"]).len();
        let operator = value::text(expression, "operator");
        match operator {
            "In" | "NotIn" if count == 0 => {
                errors.required(
                    &item.child("values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                );
            }
            "Exists" | "DoesNotExist" if count > 0 => errors.forbidden(
                &item.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.invalid(&item.child("operator"), operator, "not a valid selector operator"),
        }
        let key = value::text(expression, "key");
        errors.invalid_each(&item.child("key"), key, names::qualified_name_errors(key));
        let values = item.child("values");
        for (j, v) in value::strings(expression, &["values"]).enumerate() {
            errors.invalid_each(&values.index(j), v, names::label_value_errors(v));
        }
    }
}

/// Whether a `LabelSelector` selects everything because it says nothing.
pub fn is_empty(selector: &Value) -> bool {
    value::map_at(selector, &["matchLabels"]).is_none_or(Map::is_empty)
        && value::list_at(selector, &["matchExpressions"]).is_empty()
}

/// Whether a plain map of labels (as in a Service) is contained in `labels`.
pub fn map_matches(wanted: &Map<String, Value>, labels: Option<&Map<String, Value>>) -> bool {
    wanted.iter().all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v))
}

/// Whether a `LabelSelector` matches labels. An expression with an unknown operator matches nothing.
pub fn selector_matches(selector: &Value, labels: Option<&Map<String, Value>>) -> bool {
    let by_labels = value::map_at(selector, &["matchLabels"]).is_none_or(|wanted| map_matches(wanted, labels));
    by_labels
        && value::list_at(selector, &["matchExpressions"])
            .iter()
            .all(|expression| {
                let found = labels
                    .and_then(|l| l.get(value::text(expression, "key")))
                    .and_then(Value::as_str);
                let listed = |v: &str| value::strings(expression, &["values"]).any(|x| x == v);
                match value::text(expression, "operator") {
                    "In" => found.is_some_and(listed),
                    "NotIn" => !found.is_some_and(listed),
                    "Exists" => found.is_some(),
                    "DoesNotExist" => found.is_none(),
                    _ => false,
                }
            })
}

/// Labels as a table cell: `a=b,c=d`, or `<none>`.
pub fn cell(labels: Option<&Map<String, Value>>) -> String {
    let mut parts: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or("")))
        .collect();
    if parts.is_empty() {
        return "<none>".into();
    }
    parts.sort();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_match_labels() {
        let labels = json!({"app": "web", "tier": "front"});
        let matches = |s: Value| selector_matches(&s, labels.as_object());
        assert!(matches(json!({"matchLabels": {"app": "web"}})));
        assert!(!matches(json!({"matchLabels": {"app": "db"}})));
        assert!(matches(
            json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]})
        ));
        assert!(!matches(
            json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]})
        ));
        assert!(matches(
            json!({"matchExpressions": [{"key": "x", "operator": "NotIn", "values": ["web"]}]})
        ));
        assert!(matches(
            json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]})
        ));
        assert!(!matches(
            json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]})
        ));
        assert!(matches(json!({})));
    }

    #[test]
    fn bad_selectors_are_reported() {
        let selector = json!({"matchLabels": {"a b": "-"}, "matchExpressions": [
            {"key": "a", "operator": "In"}, {"key": "a", "operator": "Exists", "values": ["x"]},
            {"key": "", "operator": "Gt"}]});
        let mut errors = Errors::new();
        validate_selector(&selector, &Path::new("spec.selector"), &mut errors);
        let fields: Vec<String> = errors.into_vec().into_iter().map(|e| e.field).collect();
        assert_eq!(fields[..2], ["spec.selector.matchLabels", "spec.selector.matchLabels"]);
        assert_eq!(
            fields[2..5],
            [
                "spec.selector.matchExpressions[0].values",
                "spec.selector.matchExpressions[1].values",
                "spec.selector.matchExpressions[2].operator"
            ]
        );
    }

    #[test]
    fn cells_are_sorted() {
        assert_eq!(cell(json!({"b": "2", "a": "1"}).as_object()), "a=1,b=2");
        assert_eq!(cell(None), "<none>");
    }
}
