//! Pod templates of workloads: labels that the selector must match, and what a template may not say.

use serde_json::{Map, Value};

use super::{defaults, validate};
use crate::labels;
use crate::meta;
use crate::path::{Errors, Path};
use crate::value::{self, at, object_mut};

/// Workloads and where their pod templates are.
const PATHS: [(&str, &str, &[&str]); 8] = [
    ("", "podtemplates", &["template"]),
    ("", "replicationcontrollers", &["spec", "template"]),
    ("apps", "daemonsets", &["spec", "template"]),
    ("apps", "deployments", &["spec", "template"]),
    ("apps", "replicasets", &["spec", "template"]),
    ("apps", "statefulsets", &["spec", "template"]),
    ("batch", "cronjobs", &["spec", "jobTemplate", "spec", "template"]),
    ("batch", "jobs", &["spec", "template"]),
];

/// Where the pod template of a resource is.
pub fn path(group: &str, resource: &str) -> Option<&'static [&'static str]> {
    let found = PATHS.iter().find(|(of, plural, _)| (*of, *plural) == (group, resource));
    found.map(|(_, _, path)| *path)
}

/// Fills a template's defaults. `template` is the field of the workload's spec.
pub fn default(template: &mut Value) {
    if !template.is_object() {
        return;
    }
    let _ = object_mut(template, "metadata");
    if let Some(spec) = template.get_mut("spec") {
        defaults::pod_spec(spec);
        // Templates are prepared like pods: a negative grace period means one second.
        positive_grace(spec);
    }
}

/// A negative grace period means one second.
pub fn positive_grace(spec: &mut Value) {
    if let Some(slot) = spec.get_mut("terminationGracePeriodSeconds")
        && slot.as_i64().is_some_and(|s| s < 0)
    {
        *slot = 1.into();
    }
}

/// The labels a template gives its pods.
pub fn template_labels(template: &Value) -> Option<&Map<String, Value>> {
    value::map_at(template, &["metadata", "labels"])
}

/// Checks a template: its labels, annotations and pod specification.
pub fn validate_any(template: &Value, path: &Path<'_>, errors: &mut Errors) {
    let metadata = path.child("metadata");
    labels::validate(template_labels(template), &metadata.child("labels"), errors);
    meta::annotations(
        value::map_at(template, &["metadata", "annotations"]),
        &metadata.child("annotations"),
        errors,
    );
    let spec_path = path.child("spec");
    let empty = Value::Object(Map::new());
    let spec = at(template, &["spec"]).unwrap_or(&empty);
    if !value::list_at(spec, &["ephemeralContainers"]).is_empty() {
        errors.forbidden(
            &spec_path.child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
    validate::pod_spec(spec, false, &spec_path, errors);
}

/// Checks a template of a workload that keeps pods running: only the restart policy `Always` is allowed. `owner` is the
/// kind for the message about `activeDeadlineSeconds`.
pub fn validate(template: &Value, owner: &str, path: &Path<'_>, errors: &mut Errors) {
    validate_any(template, path, errors);
    let spec_path = path.child("spec");
    let empty = Value::Object(Map::new());
    let spec = at(template, &["spec"]).unwrap_or(&empty);
    let policy = value::text(spec, "restartPolicy");
    if policy == "Never" || policy == "OnFailure" {
        errors.not_supported(&spec_path.child("restartPolicy"), policy, &["Always"]);
    }
    if at(spec, &["activeDeadlineSeconds"]).is_some() {
        errors.forbidden(
            &spec_path.child("activeDeadlineSeconds"),
            format!("activeDeadlineSeconds in {owner} is not Supported"),
        );
    }
}

/// Reports a template whose labels the selector does not match.
pub fn selected(matches: bool, template: &Value, path: &Path<'_>, errors: &mut Errors) {
    if !matches {
        let labels = template_labels(template).cloned().unwrap_or_default();
        errors.invalid(
            &path.child("metadata.labels"),
            labels,
            "`selector` does not match template `labels`",
        );
    }
}
