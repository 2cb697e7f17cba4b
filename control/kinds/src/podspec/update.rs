//! What may change in the specification of a pod that exists: very little.

use serde_json::Value;

use crate::path::{Errors, Path};
use crate::value::{self, at, list_at, text};

const MESSAGE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Checks the change of a pod's specification.
pub fn pod_spec(new: &Value, old: &Value, path: &Path<'_>, errors: &mut Errors) {
    for list in ["initContainers", "containers"] {
        let base = path.child(list);
        let (after, before) = (list_at(new, &[list]), list_at(old, &[list]));
        if after.len() != before.len() {
            errors.forbidden(&base, "pod updates may not add or remove containers");
            return;
        }
        for (i, (container, stored)) in after.iter().zip(before).enumerate() {
            let image = text(container, "image");
            let item = base.index(i);
            if image.trim() != image && image != text(stored, "image") {
                errors.invalid(
                    &item.child("image"),
                    image,
                    "must not have leading or trailing whitespace",
                );
            }
        }
    }
    deadline(new, old, path, errors);
    tolerations(new, old, path, errors);
    let gated = gates(new, old, path, errors);
    // What may change is made equal; then nothing else may differ.
    let mut rest = new.clone();
    for key in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        value::keep(&mut rest, old, key);
    }
    for list in ["initContainers", "containers"] {
        let before = list_at(old, &[list]);
        for (container, stored) in value::items_mut(&mut rest, list).iter_mut().zip(before) {
            value::keep(container, stored, "image");
        }
    }
    if gated {
        // A gated pod is not scheduled yet, so where it may run can still be narrowed (KEP-3838).
        value::keep(&mut rest, old, "nodeSelector");
        value::keep(&mut rest, old, "affinity");
    }
    let was_negative = value::i64_at(old, &["terminationGracePeriodSeconds"]).is_some_and(|s| s < 0);
    if was_negative && value::i64_at(new, &["terminationGracePeriodSeconds"]) == Some(1) {
        value::keep(&mut rest, old, "terminationGracePeriodSeconds");
    }
    let mut changed = Vec::new();
    differences(&rest, old, &mut String::new(), &mut changed);
    if !changed.is_empty() {
        errors.forbidden(path, format!("{MESSAGE}\nchanged: {}", changed.join(", ")));
    }
}

fn deadline(new: &Value, old: &Value, path: &Path<'_>, errors: &mut Errors) {
    let at = path.child("activeDeadlineSeconds");
    let number = |spec| value::i64_at(spec, &["activeDeadlineSeconds"]);
    match (number(new), number(old)) {
        (Some(after), Some(before)) if after > before => {
            errors.invalid(&at, after, "must be less than or equal to previous value");
        }
        (None, Some(_)) => errors.invalid(&at, Value::Null, "must not update from a positive integer to nil value"),
        _ => {}
    }
}

fn tolerations(new: &Value, old: &Value, path: &Path<'_>, errors: &mut Errors) {
    let after = list_at(new, &["tolerations"]);
    let without_seconds = |t: &Value| {
        let mut t = t.clone();
        if let Some(map) = t.as_object_mut() {
            map.remove("tolerationSeconds");
        }
        t
    };
    let lost = list_at(old, &["tolerations"]).iter().any(|before| {
        let before = without_seconds(before);
        !after.iter().any(|t| without_seconds(t) == before)
    });
    if lost {
        errors.forbidden(
            &path.child("tolerations"),
            "existing toleration can not be modified except its tolerationSeconds",
        );
    }
}

/// Checks scheduling gates; true when the pod is gated.
fn gates(new: &Value, old: &Value, path: &Path<'_>, errors: &mut Errors) -> bool {
    let before = list_at(old, &["schedulingGates"]);
    for gate in list_at(new, &["schedulingGates"]) {
        if !before.contains(gate) {
            let detail = format!(
                "only deletion is allowed, but found new scheduling gate '{}'",
                text(gate, "name")
            );
            errors.forbidden(&path.child("schedulingGates").key(text(gate, "name")), detail);
        }
    }
    !before.is_empty()
}

/// Collects the paths (relative, at most eight) at which two values differ. Null counts as absent.
fn differences(new: &Value, old: &Value, at_path: &mut String, found: &mut Vec<String>) {
    if new == old || found.len() >= 8 {
        return;
    }
    let length = at_path.len();
    match (new, old) {
        (Value::Object(a), Value::Object(b)) => {
            let removed = b.keys().filter(|k| !a.contains_key(*k));
            for key in a.keys().chain(removed) {
                if length > 0 {
                    at_path.push('.');
                }
                at_path.push_str(key);
                let get = |m: &Value| at(m, &[key]).cloned().unwrap_or(Value::Null);
                differences(&get(new), &get(old), at_path, found);
                at_path.truncate(length);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (x, y)) in a.iter().zip(b).enumerate() {
                at_path.push_str(&format!("[{i}]"));
                differences(x, y, at_path, found);
                at_path.truncate(length);
            }
        }
        _ => found.push(format!("spec.{at_path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines(new: Value) -> Vec<String> {
        let mut errors = Errors::new();
        pod_spec(&new, &old(), &Path::new("spec"), &mut errors);
        errors.into_vec().iter().map(ToString::to_string).collect()
    }

    fn old() -> Value {
        json!({"containers": [{"name": "a", "image": "b:1", "env": [{"name": "X"}]}],
            "tolerations": [{"key": "k", "operator": "Exists"}], "activeDeadlineSeconds": 10, "nodeName": "n"})
    }

    fn changed(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut new = old();
        change(&mut new);
        lines(new)
    }

    #[test]
    fn images_deadlines_and_more_tolerations_may_change() {
        assert_eq!(
            changed(|s| s["containers"][0]["image"] = json!("b:2")),
            Vec::<String>::new()
        );
        assert_eq!(changed(|s| s["activeDeadlineSeconds"] = json!(5)), Vec::<String>::new());
        let more = json!([{"key": "j", "operator": "Exists"}, {"key": "k", "operator": "Exists"}]);
        assert_eq!(changed(|s| s["tolerations"] = more), Vec::<String>::new());
    }

    #[test]
    fn nothing_else_may() {
        let lines = changed(|s| s["containers"][0]["env"][0]["value"] = json!("y"));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("spec: Forbidden: pod updates may not change fields other than `spec.containers"));
        assert!(
            lines[0].ends_with("changed: spec.containers[0].env[0].value"),
            "{}",
            lines[0]
        );
        assert_eq!(
            changed(|s| s["tolerations"] = json!([])),
            ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"]
        );
        assert_eq!(
            changed(|s| s["containers"] = json!([])),
            ["spec.containers: Forbidden: pod updates may not add or remove containers"]
        );
        assert_eq!(
            changed(|s| s["activeDeadlineSeconds"] = json!(11)),
            ["spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value"]
        );
    }
}
