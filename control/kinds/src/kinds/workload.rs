//! What ReplicationControllers, ReplicaSets and Deployments share: replicas, a selector, a pod template.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::cells::Cell;
use crate::labels;
use crate::path::{Errors, Path};
use crate::podspec::{self, template};
use crate::strategy::{Column, ScalePaths};
use crate::table::{AGE, NAME, age, name, number, shows_wide, wide};
use crate::value::{at, fill, i64_at, list_at, map_at, text};
use crate::warnings::Warnings;

pub(super) const SPEC: Path<'static> = Path::new("spec");
pub(super) const CONTAINERS: Column = wide("Containers", "Names of the template's containers");
pub(super) const IMAGES: Column = wide("Images", "Images of the template's containers");
pub(super) const SELECTOR: Column = wide("Selector", "Label selector of the pods");
/// As [`CONTAINERS`], [`IMAGES`] and [`SELECTOR`], with their cells.
pub(super) const CONTAINERS_OF_TEMPLATE: Column = shows_wide(
    "Containers",
    Cell::Each("spec.template.spec.containers", "name"),
    "Names of the template's containers",
);
pub(super) const IMAGES_OF_TEMPLATE: Column = shows_wide(
    "Images",
    Cell::Each("spec.template.spec.containers", "image"),
    "Images of the template's containers",
);
pub(super) const SELECTOR_OF_SPEC: Column = shows_wide(
    "Selector",
    Cell::Selector("spec.selector"),
    "Label selector of the pods",
);

pub(super) static SCALE: ScalePaths = ScalePaths {
    spec_replicas: Cow::Borrowed(".spec.replicas"),
    status_replicas: Cow::Borrowed(".status.replicas"),
    label_selector: Some(Cow::Borrowed(".spec.selector")),
};

/// One replica unless told otherwise, and the template's defaults.
pub(super) fn default(obj: &mut Value) {
    let Some(spec) = obj.get_mut("spec").filter(|s| s.is_object()) else {
        return;
    };
    fill(spec, "replicas", 1);
    if let Some(template) = spec.get_mut("template") {
        template::default(template);
    }
}

/// Replaces the status of a new object.
pub(super) fn set_status(obj: &mut Value, status: Value) {
    if let Some(map) = obj.as_object_mut() {
        map.insert("status".into(), status);
    }
}

/// Checks `replicas` and `minReadySeconds`.
pub(super) fn numbers(obj: &Value, errors: &mut Errors) {
    for key in ["replicas", "minReadySeconds"] {
        errors.not_negative(&SPEC.child(key), i64_at(obj, &["spec", key]));
    }
}

/// Checks the template of an object whose selector is a `LabelSelector`.
pub(super) fn selector_and_template(obj: &Value, kind: &str, owner: &str, errors: &mut Errors) {
    let path = SPEC.child("selector");
    let selector = at(obj, &["spec", "selector"]);
    match selector {
        None => errors.required(&path, ""),
        Some(selector) => {
            labels::validate_selector(selector, &path, errors);
            if labels::is_empty(selector) {
                let detail = format!("empty selector is invalid for {kind}");
                errors.invalid(&path, selector.clone(), detail);
            }
        }
    }
    let path = SPEC.child("template");
    let empty = Value::Object(Map::new());
    let template = at(obj, &["spec", "template"]).unwrap_or(&empty);
    if let Some(selector) = selector.filter(|s| !labels::is_empty(s)) {
        let matches = labels::selector_matches(selector, template::template_labels(template));
        template::selected(matches, template, &path, errors);
    }
    template::validate(template, owner, &path, errors);
}

/// Reports a changed selector.
pub(super) fn selector_is_immutable(new: &Value, old: &Value, errors: &mut Errors) {
    let selector = |obj| at(obj, &["spec", "selector"]);
    errors.immutable(&SPEC.child("selector"), selector(new), selector(old));
}

/// Whether an object is new or has another specification than before.
pub(super) fn is_news(new: &Value, old: Option<&Value>) -> bool {
    let generation = |obj| i64_at(obj, &["metadata", "generation"]);
    old.is_none_or(|old| generation(old) != generation(new))
}

/// What pods and their host names are called.
pub(super) const POD_NAMES: &str = "Pod names and hostnames";

/// Warns about the name of a new object, which its pods take on.
pub(super) fn warn_of_name(new: &Value, old: Option<&Value>, warnings: &mut Warnings) {
    if old.is_none() {
        warnings.host_name(new, POD_NAMES);
    }
}

/// Warns about the template of an object that is new or changed.
pub(super) fn warn_of_template(new: &Value, old: Option<&Value>, warnings: &mut Warnings) {
    if let Some(template) = at(new, &["spec", "template"]).filter(|_| is_news(new, old)) {
        podspec::warnings::template(template, &SPEC.child("template"), warnings);
    }
}

/// Warns about the name and the template.
pub(super) fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let mut warnings = Warnings::default();
    warn_of_name(new, old, &mut warnings);
    warn_of_template(new, old, &mut warnings);
    warnings.into_vec()
}

/// Checks counters of a status, none of which may be negative or exceed the replicas.
pub(super) fn status_counts(new: &Value, errors: &mut Errors) {
    let path = Path::new("status");
    let count = |key| i64_at(new, &["status", key]);
    let keys = [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
    ];
    for key in keys {
        errors.not_negative(&path.child(key), count(key));
    }
    let replicas = count("replicas").unwrap_or(0);
    for key in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
        if let Some(n) = count(key).filter(|n| *n > replicas) {
            errors.invalid(&path.child(key), n, "cannot be greater than status.replicas");
        }
    }
    if let Some(available) = count("availableReplicas")
        && available > count("readyReplicas").unwrap_or(0)
    {
        errors.invalid(
            &path.child("availableReplicas"),
            available,
            "cannot be greater than readyReplicas",
        );
    }
}

/// The wide cells: container names, images, and the selector.
pub(super) fn wide_cells(obj: &Value) -> [Value; 3] {
    let containers = list_at(obj, &["spec", "template", "spec", "containers"]);
    let join = |key: &str| containers.iter().map(|c| text(c, key)).collect::<Vec<_>>().join(",");
    let selector = at(obj, &["spec", "selector"]);
    let selector = match selector {
        // A plain map of labels, as ReplicationControllers have it.
        Some(s) if at(s, &["matchLabels"]).is_none() && at(s, &["matchExpressions"]).is_none() => {
            labels::cell(s.as_object())
        }
        Some(s) => Some(crate::scale::selector_text(s))
            .filter(|t| !t.is_empty())
            .unwrap_or_else(|| "<none>".into()),
        None => "<none>".into(),
    };
    [join("name").into(), join("image").into(), selector.into()]
}

/// The columns of kinds that keep a number of pods alike.
pub(super) const SET_COLUMNS: &[Column] = &[
    NAME,
    number("Desired", "Wanted pods"),
    number("Current", "Pods there are"),
    number("Ready", "Pods that are ready"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

/// The cells of [`SET_COLUMNS`].
pub(super) fn set_cells(obj: &Value, now: Timestamp) -> Vec<Value> {
    let [containers, images, selector] = wide_cells(obj);
    vec![
        name(obj),
        count(obj, &["spec", "replicas"]).into(),
        count(obj, &["status", "replicas"]).into(),
        count(obj, &["status", "readyReplicas"]).into(),
        age(obj, now),
        containers,
        images,
        selector,
    ]
}

/// A counter of the status or the specification for a cell; absent is 0.
pub(super) fn count(obj: &Value, path: &[&str]) -> i64 {
    i64_at(obj, path).unwrap_or(0)
}

/// The labels of an object's template.
pub(super) fn labels_of_template(obj: &Value) -> Option<Map<String, Value>> {
    map_at(obj, &["spec", "template", "metadata", "labels"])
        .filter(|l| !l.is_empty())
        .cloned()
}

/// The observed replicas as text, for field selectors.
pub(super) fn status_replicas(obj: &Value) -> String {
    i64_at(obj, &["status", "replicas"]).unwrap_or(0).to_string()
}
