//! Checks of `metadata`, the same for every kind.

use serde_json::{Map, Value};

use crate::invalid::Invalid;
use crate::labels;
use crate::names::{self, NameRule};
use crate::path::{Errors, Path};
use crate::value;

const METADATA: Path<'static> = Path::new("metadata");
const ANNOTATIONS_LIMIT_BYTES: usize = 256 * 1024;

/// Field errors of `metadata`: name, generateName, labels, annotations, owner references, finalizers.
///
/// Whether a namespace has to be set depends on the resource's scope, which the engine knows; here only its syntax
/// is checked.
pub fn validate_object_meta(obj: &Value, rule: NameRule) -> Vec<Invalid> {
    let mut errors = Errors::new();
    let empty = Value::Null;
    let metadata = obj.get("metadata").unwrap_or(&empty);
    let prefix = value::text(metadata, "generateName");
    if !prefix.is_empty() {
        errors.invalid_each(&METADATA.child("generateName"), prefix, rule.errors(prefix, true));
    }
    let name = value::text(metadata, "name");
    if name.is_empty() {
        errors.required(&METADATA.child("name"), "name or generateName is required");
    } else {
        errors.invalid_each(&METADATA.child("name"), name, rule.errors(name, false));
    }
    let namespace = value::text(metadata, "namespace");
    if !namespace.is_empty() {
        errors.invalid_each(&METADATA.child("namespace"), namespace, names::label_errors(namespace));
    }
    errors.not_negative(&METADATA.child("generation"), value::i64_at(metadata, &["generation"]));
    free_fields(metadata, &mut errors);
    errors.into_vec()
}

/// What clients may write at any time: labels, annotations, owners, finalizers.
fn free_fields(metadata: &Value, errors: &mut Errors) {
    let (labels_path, annotations_path) = (METADATA.child("labels"), METADATA.child("annotations"));
    labels::validate(value::map_at(metadata, &["labels"]), &labels_path, errors);
    annotations(value::map_at(metadata, &["annotations"]), &annotations_path, errors);
    owner_references(metadata, errors);
    finalizers(metadata, errors);
}

/// Checks a map of annotations: keys (in any case), and their size together.
pub fn annotations(annotations: Option<&Map<String, Value>>, path: &Path<'_>, errors: &mut Errors) {
    let mut size = 0;
    for (key, v) in annotations.into_iter().flatten() {
        let mut messages = names::qualified_name_errors(key);
        if !messages.is_empty() {
            // Upper case is allowed in the prefix of an annotation's key, other than in a label's.
            messages = names::qualified_name_errors(&key.to_lowercase());
        }
        errors.invalid_each(path, key, messages);
        size += key.len() + v.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_LIMIT_BYTES {
        errors.too_long(path, ANNOTATIONS_LIMIT_BYTES);
    }
}

fn owner_references(metadata: &Value, errors: &mut Errors) {
    let list = METADATA.child("ownerReferences");
    let owners = value::list_at(metadata, &["ownerReferences"]);
    let mut controller: Option<&str> = None;
    for (i, owner) in owners.iter().enumerate() {
        let item = list.index(i);
        let api_version = value::text(owner, "apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if version.is_empty() {
            errors.invalid(&item.child("apiVersion"), api_version, "version must not be empty");
        }
        for key in ["kind", "name", "uid"] {
            if value::text(owner, key).is_empty() {
                errors.invalid(&item.child(key), "", "must not be empty");
            }
        }
        let kind = value::text(owner, "kind");
        if kind == "Event" && (group.is_empty() || group == "events.k8s.io") {
            errors.invalid(
                &item,
                owner.clone(),
                format!("{api_version}, Kind=Event is disallowed from being an owner"),
            );
        }
        if owner.get("controller").and_then(Value::as_bool) == Some(true) {
            let name = value::text(owner, "name");
            match controller {
                None => controller = Some(name),
                Some(first) => errors.invalid(
                    &list,
                    owners.to_vec(),
                    format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} \
                         and {name}"
                    ),
                ),
            }
        }
    }
}

fn finalizers(metadata: &Value, errors: &mut Errors) {
    let path = METADATA.child("finalizers");
    let (mut orphan, mut foreground) = (false, false);
    for finalizer in value::strings(metadata, &["finalizers"]) {
        errors.invalid_each(&path, finalizer, names::qualified_name_errors(finalizer));
        orphan |= finalizer == crate::delete::ORPHAN;
        foreground |= finalizer == crate::delete::FOREGROUND;
    }
    if orphan && foreground {
        let list = value::list_at(metadata, &["finalizers"]).to_vec();
        errors.invalid(
            &path,
            list,
            "finalizer orphan and foregroundDeletion cannot be both set",
        );
    }
}

/// Field errors of finalizers that do not say whose they are, which most kinds do not take.
pub fn validate_finalizers(obj: &Value) -> Vec<Invalid> {
    let mut errors = Errors::new();
    for finalizer in value::strings(obj, &["metadata", "finalizers"]) {
        whose(finalizer, &METADATA.child("finalizers"), &mut errors);
    }
    errors.into_vec()
}

/// Checks one finalizer: a qualified name with a prefix, or one of the few standard names.
pub fn finalizer_name(finalizer: &str, path: &Path<'_>, errors: &mut Errors) {
    errors.invalid_each(path, finalizer, names::qualified_name_errors(finalizer));
    whose(finalizer, path, errors);
}

fn whose(finalizer: &str, path: &Path<'_>, errors: &mut Errors) {
    let standard = ["kubernetes", crate::delete::ORPHAN, crate::delete::FOREGROUND].contains(&finalizer);
    if !finalizer.contains('/') && !standard {
        errors.invalid(
            path,
            finalizer,
            "name is neither a standard finalizer name nor is it fully qualified",
        );
    }
}

/// Field errors of a change of `metadata`: what clients may write is well-formed, what identifies the object stays.
pub fn validate_object_meta_update(new: &Value, old: &Value) -> Vec<Invalid> {
    let mut errors = Errors::new();
    let empty = Value::Null;
    let after = new.get("metadata").unwrap_or(&empty);
    let before = old.get("metadata").unwrap_or(&empty);
    if value::at(before, &["deletionTimestamp"]).is_some() {
        let added: Vec<String> = value::strings(after, &["finalizers"])
            .filter(|f| !value::strings(before, &["finalizers"]).any(|b| b == *f))
            .map(|f| format!("\"{f}\""))
            .collect();
        if !added.is_empty() {
            errors.forbidden(
                &METADATA.child("finalizers"),
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers \
                     []string{{{}}}",
                    added.join(", ")
                ),
            );
        }
    }
    free_fields(after, &mut errors);
    let generation = |m| value::i64_at(m, &["generation"]).unwrap_or(0);
    if generation(after) < generation(before) {
        errors.invalid(
            &METADATA.child("generation"),
            generation(after),
            "must not be decremented",
        );
    }
    for key in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        errors.immutable(&METADATA.child(key), after.get(key), before.get(key));
    }
    errors.into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines(obj: &Value) -> Vec<String> {
        let errors = validate_object_meta(obj, NameRule::Subdomain);
        errors
            .iter()
            .chain(&validate_finalizers(obj))
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn good_metadata_has_no_errors() {
        let obj = json!({"metadata": {
            "name": "web-1.x", "namespace": "default",
            "labels": {"app.kubernetes.io/name": "web"},
            "annotations": {"Example.com/Key": "any text at all\n"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": true}],
            "finalizers": ["example.com/x", "foregroundDeletion"],
        }});
        assert_eq!(lines(&obj), Vec::<String>::new());
    }

    #[test]
    fn bad_metadata_is_worded_as_users_know() {
        assert_eq!(
            lines(&json!({})),
            ["metadata.name: Required value: name or generateName is required"]
        );
        let obj = json!({"metadata": {"name": "A", "labels": {"a": "b c"}, "finalizers": ["mine"]}});
        let lines = lines(&obj);
        assert!(lines[0].starts_with(r#"metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain must"#));
        assert!(lines[1].starts_with(r#"metadata.labels: Invalid value: "b c": a valid label must be an empty"#));
        assert!(lines[2].starts_with(r#"metadata.finalizers: Invalid value: "mine": name is neither"#));
    }

    #[test]
    fn owners_and_annotation_size_are_checked() {
        let owner =
            |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": "u", "controller": true});
        let obj = json!({"metadata": {"name": "a", "ownerReferences": [owner("x"), owner("y")]}});
        assert!(lines(&obj)[0].contains("Found \"true\" in references for x and y"));
        let obj = json!({"metadata": {"name": "a", "annotations": {"a": "x".repeat(300_000)}}});
        assert_eq!(
            lines(&obj),
            ["metadata.annotations: Too long: may not be more than 262144 bytes"]
        );
    }

    #[test]
    fn changed_labels_are_checked_too() {
        let old = json!({"metadata": {"name": "a"}});
        let new = json!({"metadata": {"name": "a", "labels": {"a": "b c"}}});
        assert_eq!(validate_object_meta_update(&new, &old).len(), 1);
        assert_eq!(validate_object_meta_update(&old, &old), vec![]);
    }

    #[test]
    fn identity_is_immutable() {
        let old = json!({"metadata": {"name": "a", "uid": "1", "deletionTimestamp": "t", "finalizers": ["a/b"]}});
        let new =
            json!({"metadata": {"name": "a", "uid": "2", "deletionTimestamp": "t", "finalizers": ["a/b", "a/c"]}});
        let lines: Vec<String> = validate_object_meta_update(&new, &old)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            lines,
            [
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found \
                 new finalizers []string{\"a/c\"}",
                "metadata.uid: Invalid value: \"2\": field is immutable"
            ]
        );
    }
}
