//! Roles that are the sum of others.

use barepod_schema::selector::LabelSelector;
use serde_json::Value;

/// The rules that an aggregated ClusterRole is to have, or `None` if it is not one. `roles` are all ClusterRoles in
/// the order of their names.
pub fn aggregated<'a>(role: &Value, roles: impl Iterator<Item = &'a Value> + Clone) -> Option<Vec<Value>> {
    let selectors = role.pointer("/aggregationRule/clusterRoleSelectors")?.as_array()?;
    let name = role.pointer("/metadata/name");
    let mut rules: Vec<Value> = Vec::new();
    for selector in selectors {
        // A selector that cannot be read selects nothing.
        let Ok(selector) = LabelSelector::from_value(selector) else {
            continue;
        };
        let selected = roles
            .clone()
            .filter(|other| other.pointer("/metadata/name") != name && selector.matches_object(other));
        for rule in selected.flat_map(|other| other["rules"].as_array().into_iter().flatten()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_sum_has_every_rule_once() {
        let part = |name: &str, verb: &str| json!({"metadata": {"name": name, "labels": {"to": "x"}}, "rules": [{"verbs": [verb]}, {"verbs": ["get"]}]});
        let sum = json!({"metadata": {"name": "sum", "labels": {"to": "x"}},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "x"}}]}, "rules": [{"verbs": ["old"]}]});
        let other = json!({"metadata": {"name": "other"}, "rules": [{"verbs": ["no"]}]});
        let all = [part("a", "list"), other, part("b", "watch"), sum.clone()];
        let rules = aggregated(&sum, all.iter()).unwrap();
        assert_eq!(
            rules,
            [
                json!({"verbs": ["list"]}),
                json!({"verbs": ["get"]}),
                json!({"verbs": ["watch"]})
            ]
        );
        assert_eq!(aggregated(&all[0], all.iter()), None);
    }
}
