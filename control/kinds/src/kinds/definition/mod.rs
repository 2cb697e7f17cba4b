//! CustomResourceDefinitions.

mod accepted;
mod schema;
mod spec;
mod structure;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::conditions;
use crate::context::Context;
use crate::declared::{Declared, NewStatus, PLAIN, SPEC};
use crate::delete::{self, DeleteMode, DeleteOptions};
use crate::invalid::Denied;
use crate::path::{Errors, Path};
use crate::rules::number;
use crate::value::{at, bool_at, fill, list_at, object_mut, str_at, strings, text};

use accepted::accept;

/// Holds a definition until its objects are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// Says who approved a definition in a group of the project.
const APPROVAL: &str = "api-approved.kubernetes.io";

/// CustomResourceDefinitions.
pub static DEFINITION: Declared = Declared {
    generation: SPEC,
    new_status: NewStatus::Empty,
    status_alone: true,
    unconditional_update: false,
    bare_finalizers: true,
    // The names of one are accepted in view of the names of all others.
    serial: true,
    defaults: &[number("spec.conversion.webhook.clientConfig.service.port", 443)],
    more_defaults: default,
    prepare,
    more_rules,
    more_status_rules: |definition, _, errors| stored_versions(definition, errors),
    delete,
    ..PLAIN
};

fn default(definition: &mut Value) {
    let Some(spec) = definition.get_mut("spec") else { return };
    if at(spec, &["conversion"]).is_none()
        && let Some(spec) = spec.as_object_mut()
    {
        spec.insert("conversion".into(), json!({"strategy": "None"}));
    }
    let Some(names) = spec.get_mut("names") else { return };
    let kind = text(names, "kind").to_owned();
    if !kind.is_empty() {
        fill(names, "singular", kind.to_lowercase());
        fill(names, "listKind", format!("{kind}List"));
    }
}

fn prepare(cx: &Context<'_>, definition: &mut Value, old: Option<&Value>) -> Result<(), Denied> {
    let storage = storage_version(definition).unwrap_or("").to_owned();
    if old.is_none()
        && let Some(map) = definition.as_object_mut()
    {
        map.insert(
            "status".into(),
            json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": [], "storedVersions": []}),
        );
    }
    if let Some(status) = object_mut(definition, "status")
        && let Some(list) = status.get_mut("storedVersions").and_then(Value::as_array_mut)
        && !storage.is_empty()
        && !list.contains(&storage.as_str().into())
    {
        list.push(storage.into());
    }
    let others = cx
        .cluster
        .list("apiextensions.k8s.io", "customresourcedefinitions", None);
    accept(definition, &others, cx.now);
    Ok(())
}

/// The name of the version that objects are stored in.
pub fn storage_version(definition: &Value) -> Option<&str> {
    let versions = list_at(definition, &["spec", "versions"]).iter();
    let mut stored = versions.filter(|version| bool_at(version, &["storage"]));
    stored.next().map(|version| text(version, "name"))
}

/// Whether a schema says what values are made of outside of what only restricts them (KEP-1402).
pub fn is_structural(schema: &Value) -> bool {
    structure::faults(schema, &Path::new("")).is_empty()
}

fn more_rules(definition: &Value, old: Option<&Value>, errors: &mut Errors) {
    let empty = Value::Object(Map::new());
    let spec = at(definition, &["spec"]).unwrap_or(&empty);
    let (plural, group) = (str_at(spec, &["names", "plural"]).unwrap_or(""), text(spec, "group"));
    let name = str_at(definition, &["metadata", "name"]).unwrap_or("");
    if old.is_none() && name != format!("{plural}.{group}") {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.invalid(&Path::new("metadata.name"), name, detail);
    }
    spec::check(spec, errors);
    if let Some(old) = old {
        let before = at(old, &["spec"]).unwrap_or(&empty);
        let mut immutable = |path: &[&str]| {
            let shown = format!("spec.{}", path.join("."));
            errors.immutable(&Path::new(&shown), at(spec, path), at(before, path));
        };
        if conditions::is_true(old, "Established") {
            immutable(&["scope"]);
            immutable(&["names", "kind"]);
        }
        immutable(&["group"]);
        immutable(&["names", "plural"]);
    }
    stored_versions(definition, errors);
    approved(definition, old, errors);
    let preserves = |definition: &Value| bool_at(definition, &["spec", "preserveUnknownFields"]);
    if preserves(definition) && !old.is_some_and(preserves) {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema \
                      instead";
        errors.invalid(&Path::new("spec.preserveUnknownFields"), true, detail);
    }
}

/// Every version that objects may be stored in is still there.
fn stored_versions(definition: &Value, errors: &mut Errors) {
    let path = Path::new("status.storedVersions");
    let stored: Vec<&str> = strings(definition, &["status", "storedVersions"]).collect();
    if stored.is_empty() {
        errors.invalid(&path, json!(stored), "must have at least one stored version");
        return;
    }
    if let Some(storage) = storage_version(definition).filter(|storage| !stored.contains(storage)) {
        let detail = format!("must have the storage version {storage}");
        errors.invalid(&path, json!(stored), detail);
    }
    let versions = list_at(definition, &["spec", "versions"]);
    for (i, name) in stored.into_iter().enumerate() {
        if !versions.iter().any(|version| text(version, "name") == name) {
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions \
                 until a storage migration ensures no data remains persisted in {name} and removes {name} from \
                 status.storedVersions"
            );
            errors.invalid(&path.index(i), name, detail);
        }
    }
}

/// Whether the group belongs to the project, whose review a definition in it needs.
fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group == *domain || group.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')))
}

/// What the annotation of a definition in a protected group says; `None` where it need not say anything.
fn approval(definition: &Value) -> Option<&str> {
    let group = str_at(definition, &["spec", "group"]).unwrap_or("");
    is_protected(group).then(|| str_at(definition, &["metadata", "annotations", APPROVAL]).unwrap_or(""))
}

fn approved(definition: &Value, old: Option<&Value>, errors: &mut Errors) {
    let Some(given) = approval(definition) else { return };
    if old.is_some_and(|old| approval(old) == Some(given)) {
        return;
    }
    let path = Path::new("metadata.annotations");
    let path = path.key(APPROVAL);
    if given.is_empty() {
        let detail = format!(
            "protected groups must have approval annotation {APPROVAL:?}, see \
             https://github.com/kubernetes/enhancements/pull/1111"
        );
        errors.required(&path, &detail);
    } else if !given.starts_with("unapproved") && !given.contains("://") {
        let detail = "protected groups must have approval annotation \"api-approved.kubernetes.io\" with either a URL \
                      or a reason starting with \"unapproved\", see \
                      https://github.com/kubernetes/enhancements/pull/1111";
        errors.invalid(&path, given, detail);
    }
}

/// A definition stays until somebody has removed its objects.
fn delete(definition: &Value, options: &DeleteOptions, now: Timestamp) -> DeleteMode {
    if at(definition, &["metadata", "deletionTimestamp"]).is_some() {
        return delete::generic(definition, options, now);
    }
    let mut held = definition.clone();
    if let Some(metadata) = object_mut(&mut held, "metadata") {
        let list = metadata.entry("finalizers").or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut()
            && !list.contains(&FINALIZER.into())
        {
            list.push(FINALIZER.into());
        }
    }
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    conditions::set(
        &mut held,
        "Terminating",
        "True",
        "InstanceDeletionPending",
        message,
        now,
    );
    delete::generic(&held, options, now)
}

#[cfg(test)]
mod tests;
