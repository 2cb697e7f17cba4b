//! RuntimeClasses.

use serde_json::Value;

use crate::cells::Cell;
use crate::declared::{Declared, PLAIN};
use crate::path::{Errors, Path};
use crate::podspec::{resources, scheduling};
use crate::rules::{Check, label, rule};
use crate::table::{AGE, NAME, shows};
use crate::value::map_at;
use crate::warnings::old_node_label;

/// RuntimeClasses.
pub static RUNTIME_CLASS: Declared = Declared {
    create_on_update: true,
    unconditional_update: false,
    columns: &[
        NAME,
        shows(
            "Handler",
            Cell::Text("handler", ""),
            "What the node runs pods of the class with",
        ),
        AGE,
    ],
    rules: &[
        rule("handler", Check::Required("")),
        rule("handler", Check::Text(label)),
        rule("handler", Check::Immutable),
        rule("scheduling.nodeSelector", Check::Labels),
        rule("scheduling.tolerations", Check::Unique(&[])),
        rule("scheduling.tolerations[*]", Check::By(scheduling::toleration)),
    ],
    more_defaults: |class| {
        if let Some(overhead) = class.get_mut("overhead").and_then(|o| o.get_mut("podFixed")) {
            resources::canonicalize_list(overhead);
        }
    },
    more_rules: |class, _, errors| overhead(class, errors),
    warn: |class, _, warnings| {
        let labels = map_at(class, &["scheduling", "nodeSelector"]);
        for text in labels
            .into_iter()
            .flat_map(serde_json::Map::keys)
            .filter_map(|key| old_node_label(key))
        {
            warnings.at(&Path::new("scheduling.nodeSelector"), text);
        }
    },
    ..PLAIN
};

fn overhead(class: &Value, errors: &mut Errors) {
    let path = Path::new("overhead.podFixed");
    for (name, amount) in map_at(class, &["overhead", "podFixed"]).into_iter().flatten() {
        resources::container_resource_name(name, &path.key(name), errors);
        resources::amount(name, amount, &path.key(name), errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;
    use serde_json::json;

    #[test]
    fn handlers_are_labels_and_stay() {
        let old = json!({"metadata": {"name": "r", "creationTimestamp": "2026-01-01T00:00:00Z"}, "handler": "kata"});
        assert_eq!(RUNTIME_CLASS.validate(&old, None), vec![]);
        let new = json!({"handler": "Kata", "overhead": {"podFixed": {"cpu": "-1"}}});
        let fields: Vec<String> = RUNTIME_CLASS
            .validate(&new, Some(&old))
            .into_iter()
            .map(|e| e.field)
            .collect();
        assert_eq!(fields, ["handler", "handler", "overhead.podFixed[cpu]"]);
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(RUNTIME_CLASS.cells(&old, now), ["r", "kata", "1s"]);
    }
}
