//! StorageClasses and VolumeAttributesClasses.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::cells::Cell;
use crate::declared::{Declared, PLAIN};
use crate::names;
use crate::path::{Errors, Path};
use crate::rules::{Check, qualified, rule, text as text_default};
use crate::table::{AGE, named, says, shows};
use crate::value::{list_at, map_at, str_at, strings, text};
use crate::walk;
use crate::warnings::old_node_label;

const MOST_PARAMETERS: usize = 512;
const PARAMETERS_BYTES: usize = 256 * 1024;

/// StorageClasses.
pub static STORAGE_CLASS: Declared = Declared {
    columns: &[
        named(Cell::By(|class, _| {
            name(class, "storageclass.kubernetes.io/is-default-class")
        })),
        shows(
            "Provisioner",
            Cell::Text("provisioner", ""),
            "Who makes volumes of the class",
        ),
        shows(
            "ReclaimPolicy",
            Cell::Text("reclaimPolicy", "Delete"),
            "What becomes of a volume when its claim goes",
        ),
        shows(
            "VolumeBindingMode",
            Cell::Text("volumeBindingMode", "Immediate"),
            "When a claim gets its volume",
        ),
        says(
            "AllowVolumeExpansion",
            Cell::Flag("allowVolumeExpansion", false),
            "Whether claims may grow",
        ),
        AGE,
    ],
    defaults: &[
        text_default("reclaimPolicy", "Delete"),
        text_default("volumeBindingMode", "Immediate"),
    ],
    rules: &[
        rule("provisioner", Check::Required("")),
        rule("provisioner", Check::Text(provisioner)),
        rule("reclaimPolicy", Check::AnyOf(&["Delete", "Retain"])),
        rule(
            "volumeBindingMode",
            Check::OneOf(&["Immediate", "WaitForFirstConsumer"]),
        ),
        rule("parameters", Check::Fixed("updates to parameters are forbidden.")),
        rule("provisioner", Check::Fixed("updates to provisioner are forbidden.")),
        rule("reclaimPolicy", Check::Fixed("updates to reclaimPolicy are forbidden.")),
        rule("volumeBindingMode", Check::Immutable),
        rule("allowedTopologies[*].matchLabelExpressions", Check::Unique(&["key"])),
        rule("allowedTopologies[*].matchLabelExpressions[*].key", Check::Required("")),
        rule(
            "allowedTopologies[*].matchLabelExpressions[*].key",
            Check::Text(qualified),
        ),
        rule(
            "allowedTopologies[*].matchLabelExpressions[*].values",
            Check::Required(""),
        ),
        rule(
            "allowedTopologies[*].matchLabelExpressions[*].values",
            Check::Unique(&[]),
        ),
    ],
    more_rules: |class, _, errors| {
        parameters(class, errors);
        topologies(class, errors);
    },
    warn: |class, _, warnings| {
        walk::each(
            class,
            "allowedTopologies[*].matchLabelExpressions[*].key",
            &mut |key, path| {
                if let Some(text) = key.and_then(Value::as_str).and_then(old_node_label) {
                    warnings.at(path, text);
                }
            },
        );
    },
    ..PLAIN
};

/// VolumeAttributesClasses.
pub static ATTRIBUTES_CLASS: Declared = Declared {
    columns: &[
        named(Cell::By(|class, _| {
            name(class, "volumeattributesclass.kubernetes.io/is-default-class")
        })),
        shows("DriverName", Cell::Text("driverName", ""), "Driver of the volumes"),
        AGE,
    ],
    rules: &[
        rule("driverName", Check::Required("")),
        rule("driverName", Check::Text(names::csi_driver_errors)),
        rule("parameters", Check::Required("")),
        rule("driverName", Check::Fixed("updates to driverName are forbidden.")),
        rule("parameters", Check::Fixed("updates to parameters are forbidden.")),
    ],
    more_rules: |class, _, errors| parameters(class, errors),
    ..PLAIN
};

/// The name of a class, and whether it is the default one.
fn name(class: &Value, annotation: &str) -> Value {
    let name = str_at(class, &["metadata", "name"]).unwrap_or("");
    match str_at(class, &["metadata", "annotations", annotation]) {
        Some("true") => format!("{name} (default)").into(),
        _ => name.into(),
    }
}

fn provisioner(text: &str) -> Vec<String> {
    names::qualified_name_errors(&text.to_lowercase())
}

/// No two terms allow the same (kube's `validateAllowedTopologies`).
fn topologies(class: &Value, errors: &mut Errors) {
    let list = Path::new("allowedTopologies");
    let terms = list_at(class, &["allowedTopologies"]);
    for (i, term) in terms.iter().enumerate() {
        if terms[..i].iter().any(|before| allowed(before) == allowed(term)) {
            errors.duplicate(&list.index(i).child("matchLabelExpressions"), "");
        }
    }
}

fn allowed(term: &Value) -> BTreeMap<&str, BTreeSet<&str>> {
    let expressions = list_at(term, &["matchLabelExpressions"]).iter();
    expressions
        .map(|it| (text(it, "key"), strings(it, &["values"]).collect()))
        .collect()
}

fn parameters(class: &Value, errors: &mut Errors) {
    let Some(given) = map_at(class, &["parameters"]) else {
        return;
    };
    let path = Path::new("parameters");
    if given.len() > MOST_PARAMETERS {
        errors.too_long(&path, MOST_PARAMETERS);
    }
    let mut bytes = 0;
    for (key, value) in given {
        if key.is_empty() {
            errors.invalid(&path, "", "field can not be empty.");
        }
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > PARAMETERS_BYTES {
        errors.too_long(&path, PARAMETERS_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;
    use serde_json::json;

    #[test]
    fn classes_are_filled_shown_and_fixed() {
        let mut old = json!({"metadata": {"name": "fast", "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "example.com/nfs"});
        STORAGE_CLASS.default(&mut old);
        let now = "2026-01-01T00:00:03Z".parse().unwrap();
        assert_eq!(
            STORAGE_CLASS.cells(&old, now),
            [
                json!("fast (default)"),
                json!("example.com/nfs"),
                json!("Delete"),
                json!("Immediate"),
                json!(false),
                json!("3s")
            ]
        );
        assert_eq!(STORAGE_CLASS.columns()[0].format, "name");
        let mut new = old.clone();
        new["allowVolumeExpansion"] = json!(true);
        assert_eq!(STORAGE_CLASS.validate(&new, Some(&old)), vec![]);
        new["provisioner"] = json!("other");
        let lines: Vec<String> = STORAGE_CLASS
            .validate(&new, Some(&old))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(lines, ["provisioner: Forbidden: updates to provisioner are forbidden."]);
    }
}
