//! Node selectors and node affinity.

use crate::objects::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use std::collections::BTreeMap;

/// Whether one of the terms matches the node.
pub(super) fn matches(selector: &NodeSelector, name: &str, labels: &BTreeMap<String, String>) -> bool {
    selector
        .node_selector_terms
        .iter()
        .any(|term| term_matches(term, name, labels))
}

/// Whether all requirements of the term hold; an empty term matches nothing.
pub(super) fn term_matches(term: &NodeSelectorTerm, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    expressions
        .iter()
        .all(|r| holds(r, labels.get(&r.key).map(String::as_str)))
        && fields
            .iter()
            .all(|r| holds(r, (r.key == "metadata.name").then_some(name)))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = |v: &str| values.iter().any(|w| w == v);
    let number = |holds: fn(i64, i64) -> bool| {
        let wanted = values.first().and_then(|v| v.parse::<i64>().ok());
        matches!((value.and_then(|v| v.parse::<i64>().ok()), wanted), (Some(v), Some(w)) if holds(v, w))
    };
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => number(|v, w| v > w),
        "Lt" => number(|v, w| v < w),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(term: Value) -> bool {
        let labels = BTreeMap::from([
            ("zone".to_owned(), "a".to_owned()),
            ("cores".to_owned(), "8".to_owned()),
        ]);
        let selector: NodeSelector = serde_json::from_value(json!({"nodeSelectorTerms": [term]})).unwrap();
        matches(&selector, "n1", &labels)
    }

    #[test]
    fn evaluates_requirements() {
        let expression = |key: &str, op: &str, values: Value| {
            check(json!({"matchExpressions": [{"key": key, "operator": op, "values": values}]}))
        };
        assert!(expression("zone", "In", json!(["a", "b"])));
        assert!(!expression("zone", "NotIn", json!(["a"])));
        assert!(expression("cores", "Gt", json!(["4"])));
        assert!(!expression("cores", "Lt", json!(["4"])));
        assert!(expression("none", "DoesNotExist", json!(null)));
        assert!(check(
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]})
        ));
        assert!(!check(json!({})));
    }
}
