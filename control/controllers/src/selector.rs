//! Label selectors, matched in place.

use barepod_client::types::LabelSelector;
use std::collections::BTreeMap;

/// Labels of an object, as they are in its metadata.
pub(crate) type Labels = BTreeMap<String, String>;

/// Whether every label of `wanted` is there. An empty set matches everything.
pub(crate) fn has_all(wanted: &Labels, labels: Option<&Labels>) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.and_then(|l| l.get(key)) == Some(value))
}

/// Whether the selector matches; one without any requirement matches everything.
pub(crate) fn matches(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    let equal = selector
        .match_labels
        .as_ref()
        .is_none_or(|wanted| has_all(wanted, labels));
    equal
        && selector.match_expressions.iter().flatten().all(|r| {
            let value = labels.and_then(|l| l.get(&r.key));
            let listed = |v: &String| r.values.as_ref().is_some_and(|values| values.contains(v));
            match r.operator.as_str() {
                "In" => value.is_some_and(listed),
                "NotIn" => !value.is_some_and(listed),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// Whether the selector has no requirement.
pub(crate) fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn matches_labels_and_expressions() {
        let selector: LabelSelector = serde_json::from_value(json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["a", "b"]},
                {"key": "old", "operator": "DoesNotExist"},
                {"key": "zone", "operator": "NotIn", "values": ["z"]},
            ],
        }))
        .unwrap();
        let labels = |v: serde_json::Value| serde_json::from_value::<Labels>(v).unwrap();
        assert!(matches(&selector, Some(&labels(json!({"app": "web", "tier": "b"})))));
        assert!(!matches(&selector, Some(&labels(json!({"app": "web", "tier": "c"})))));
        assert!(!matches(
            &selector,
            Some(&labels(json!({"app": "web", "tier": "b", "old": ""})))
        ));
        assert!(!matches(
            &selector,
            Some(&labels(json!({"app": "web", "tier": "a", "zone": "z"})))
        ));
        assert!(!matches(&selector, None));
        assert!(is_empty(&LabelSelector::default()));
    }
}
