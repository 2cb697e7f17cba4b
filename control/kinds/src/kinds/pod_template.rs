//! PodTemplates.

use serde_json::Value;

use super::workload;
use crate::cells::Cell;
use crate::declared::{Declared, Generation, PLAIN};
use crate::path::Path;
use crate::podspec::{self, template};
use crate::table::{NAME, shows};
use crate::value::at;

/// PodTemplates.
pub static POD_TEMPLATE: Declared = Declared {
    generation: Generation::With(&["template"]),
    columns: &[
        NAME,
        shows(
            "Containers",
            Cell::Each("template.spec.containers", "name"),
            "Names of the template's containers",
        ),
        shows(
            "Images",
            Cell::Each("template.spec.containers", "image"),
            "Images of the template's containers",
        ),
        shows(
            "Pod Labels",
            Cell::Labels("template.metadata.labels"),
            "Labels of the template's pods",
        ),
    ],
    more_defaults: |obj| {
        if let Some(template) = obj.get_mut("template") {
            template::default(template);
        }
    },
    more_rules: |obj, _, errors| {
        let empty = Value::Object(serde_json::Map::new());
        template::validate_any(at(obj, &["template"]).unwrap_or(&empty), &Path::new("template"), errors);
    },
    warn: |obj, old, warnings| {
        if let Some(template) = at(obj, &["template"]).filter(|_| workload::is_news(obj, old)) {
            podspec::warnings::template(template, &Path::new("template"), warnings);
        }
    },
    ..PLAIN
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;
    use serde_json::json;

    #[test]
    fn templates_are_filled_shown_and_checked() {
        let mut obj = json!({"metadata": {"name": "t"}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}});
        POD_TEMPLATE.default(&mut obj);
        assert_eq!(obj["template"]["spec"]["restartPolicy"], "Always");
        assert_eq!(POD_TEMPLATE.validate(&obj, None), vec![]);
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(POD_TEMPLATE.cells(&obj, now), ["t", "c", "i", "a=b"]);
        let errors = POD_TEMPLATE.validate(&json!({}), None);
        assert_eq!(errors[0].to_string(), "template.spec.containers: Required value");
    }
}
