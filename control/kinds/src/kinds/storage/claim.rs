//! PersistentVolumeClaims.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{MODES, VOLUME_MODE, class, modes, old_class, phase};
use crate::cells::Cell;
use crate::context::Context;
use crate::declared::{Declared, NewStatus, PLAIN};
use crate::invalid::Denied;
use crate::path::{Errors, Path};
use crate::quantity::Quantity;
use crate::rules::{Check, rule, subdomain};
use crate::table::{AGE, NAME, shows};
use crate::value::{at, fill, keep, object_mut, str_at, strings, text};
use crate::warnings::Warnings;

const SPEC: Path<'static> = Path::new("spec");

/// PersistentVolumeClaims.
pub static CLAIM: Declared = Declared {
    new_status: NewStatus::Phase("Pending"),
    columns: &[
        NAME,
        shows(
            "Status",
            Cell::By(|claim, _| phase(claim).into()),
            "Whether the claim has a volume",
        ),
        shows("Volume", Cell::Text("spec.volumeName", ""), "The volume the claim has"),
        shows("Capacity", Cell::By(capacity), "Size of the volume"),
        shows("Access Modes", Cell::By(access), "How the volume may be mounted"),
        shows(
            "StorageClass",
            Cell::By(|claim, _| class(claim).into()),
            "Class of the volume",
        ),
        shows(
            "VolumeAttributesClass",
            Cell::Text("spec.volumeAttributesClassName", "<unset>"),
            "Class of the volume's attributes",
        ),
        AGE,
        VOLUME_MODE,
    ],
    rules: &[
        rule(
            "spec.accessModes",
            Check::Required("at least 1 access mode is required"),
        ),
        rule("spec.accessModes[*]", Check::OneOf(&MODES)),
        rule("spec.selector", Check::Selector),
        rule("spec.storageClassName", Check::Text(subdomain)),
        rule("spec.volumeAttributesClassName", Check::Text(subdomain)),
        rule("spec.volumeMode", Check::AnyOf(&["Block", "Filesystem"])),
        rule("spec.dataSource.name", Check::Required("")),
        rule("spec.dataSource.kind", Check::Required("")),
        rule("spec.dataSourceRef.name", Check::Required("")),
        rule("spec.dataSourceRef.kind", Check::Required("")),
    ],
    more_defaults: default_claim,
    prepare,
    more_rules,
    warn: |claim, _, warnings| {
        if let (Some(metadata), Some(spec)) = (at(claim, &["metadata"]), at(claim, &["spec"])) {
            old_class(metadata, warnings);
            claim_warnings(spec, &SPEC, warnings);
        }
    },
    ..PLAIN
};

/// Warns about the size in the specification of a claim, by itself or in a template.
pub fn claim_warnings(spec: &Value, path: &Path<'_>, warnings: &mut Warnings) {
    if let Some(resources) = at(spec, &["resources"]) {
        warnings.fractions(resources, &["storage"], &path.child("resources"));
    }
}

/// Fills a claim, by itself or in a template of a StatefulSet.
pub fn default_claim(claim: &mut Value) {
    if let Some(status) = object_mut(claim, "status")
        && status.get("phase").and_then(Value::as_str).is_none_or(str::is_empty)
    {
        status.insert("phase".into(), "Pending".into());
    }
    if let Some(spec) = claim.get_mut("spec").filter(|s| s.is_object()) {
        fill(spec, "volumeMode", "Filesystem");
    }
}

/// `dataSource` and `dataSourceRef` say the same, unless the latter names another namespace.
fn prepare(_cx: &Context<'_>, claim: &mut Value, old: Option<&Value>) -> Result<(), Denied> {
    let Some(spec) = claim.get_mut("spec").filter(|s| s.is_object() && old.is_none()) else {
        return Ok(());
    };
    let (source, reference) = (
        at(spec, &["dataSource"]).cloned(),
        at(spec, &["dataSourceRef"]).cloned(),
    );
    match (source, reference) {
        (Some(source), None) => fill(spec, "dataSourceRef", source),
        (None, Some(reference)) if at(&reference, &["namespace"]).is_none() => {
            fill(spec, "dataSource", reference);
        }
        _ => {}
    }
    Ok(())
}

fn more_rules(claim: &Value, old: Option<&Value>, errors: &mut Errors) {
    let empty = json!({});
    let spec = at(claim, &["spec"]).unwrap_or(&empty);
    let given: Vec<&str> = strings(spec, &["accessModes"]).collect();
    if given.len() > 1 && given.contains(&"ReadWriteOncePod") {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.forbidden(&SPEC.child("accessModes"), detail);
    }
    let resources = SPEC.child("resources");
    match at(spec, &["resources", "requests", "storage"]).map(Quantity::from_value) {
        None => errors.required(&resources.key("storage"), ""),
        Some(Ok(size)) if size.sign() <= 0 => {
            errors.invalid(&resources.key("storage"), size.to_string(), "must be greater than zero");
        }
        Some(_) => {}
    }
    for key in ["dataSource", "dataSourceRef"] {
        let Some(source) = at(spec, &[key]) else { continue };
        let kind = text(source, "kind");
        if str_at(source, &["apiGroup"]).is_none() && !kind.is_empty() && kind != "PersistentVolumeClaim" {
            let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.invalid(&SPEC.child(key), kind, detail);
        }
    }
    if let Some(old) = old {
        change(claim, spec, old, errors);
    }
}

/// A claim stays as it is, except that it may grow once it has its volume.
fn change(claim: &Value, spec: &Value, old: &Value, errors: &mut Errors) {
    let empty = json!({});
    let stored = at(old, &["spec"]).unwrap_or(&empty);
    let mut rest = spec.clone();
    if str_at(stored, &["volumeName"]).is_none() {
        // The controller binds it.
        keep(&mut rest, stored, "volumeName");
        if at(stored, &["storageClassName"]).is_none() {
            // A class that became the default one later may still be filled in (KEP-3333).
            keep(&mut rest, stored, "storageClassName");
        }
    }
    let bound = str_at(claim, &["status", "phase"]) == Some("Bound");
    let before = at(stored, &["resources", "requests", "storage"]);
    if bound
        && let Some(before) = before
        && let Some(requests) = rest.pointer_mut("/resources/requests").and_then(Value::as_object_mut)
    {
        requests.insert("storage".into(), before.clone());
    }
    keep(&mut rest, stored, "volumeAttributesClassName");
    if rest != *stored {
        errors.forbidden(
            &SPEC,
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        );
    }
    let size = |value: Option<&Value>| value.and_then(|v| Quantity::from_value(v).ok()).unwrap_or_default();
    let after = size(at(spec, &["resources", "requests", "storage"]));
    if after < size(before) && after <= size(at(claim, &["status", "capacity", "storage"])) {
        let at = SPEC.child("resources.requests.storage");
        errors.forbidden(&at, "field can not be less than status.capacity");
    }
    let attributes = |spec: &Value| str_at(spec, &["volumeAttributesClassName"]).map(str::to_owned);
    if attributes(stored).is_some() && attributes(spec).is_none() {
        let at = SPEC.child("volumeAttributesClassName");
        errors.forbidden(&at, "update from non-nil value to nil is forbidden");
    }
}

fn capacity(claim: &Value, _now: Timestamp) -> Value {
    match str_at(claim, &["spec", "volumeName"]) {
        Some(_) => str_at(claim, &["status", "capacity", "storage"]).unwrap_or("0").into(),
        None => "".into(),
    }
}

fn access(claim: &Value, _now: Timestamp) -> Value {
    match str_at(claim, &["spec", "volumeName"]) {
        Some(_) => modes(claim, &["status", "accessModes"]).into(),
        None => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;

    fn claim() -> Value {
        let mut claim = json!({"metadata": {"name": "c", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "fast"}});
        CLAIM.default(&mut claim);
        claim
    }

    fn lines(new: &Value, old: Option<&Value>) -> Vec<String> {
        CLAIM.validate(new, old).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rows_of_bound_and_unbound_claims() {
        let mut obj = claim();
        let now = "2026-01-01T00:00:03Z".parse().unwrap();
        assert_eq!(
            CLAIM.cells(&obj, now),
            ["c", "Pending", "", "", "", "fast", "<unset>", "3s", "Filesystem"]
        );
        obj["spec"]["volumeName"] = json!("pv");
        obj["status"] =
            json!({"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadOnlyMany", "ReadWriteOnce"]});
        assert_eq!(CLAIM.cells(&obj, now)[1..5], ["Bound", "pv", "1Gi", "RWO,ROX"]);
    }

    #[test]
    fn mistakes_are_reported() {
        assert_eq!(lines(&claim(), None), Vec::<String>::new());
        assert_eq!(
            lines(&json!({"spec": {}}), None),
            [
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value"
            ]
        );
    }

    #[test]
    fn claims_only_grow_and_only_when_bound() {
        let old = claim();
        let mut new = old.clone();
        new["spec"]["volumeName"] = json!("pv");
        assert_eq!(lines(&new, Some(&old)), Vec::<String>::new());
        let mut bigger = old.clone();
        bigger["spec"]["resources"]["requests"]["storage"] = json!("2Gi");
        assert!(lines(&bigger, Some(&old))[0].starts_with("spec: Forbidden: spec is immutable after creation"));
        let mut bound = new.clone();
        bound["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
        let mut grown = bound.clone();
        grown["spec"]["resources"]["requests"]["storage"] = json!("2Gi");
        assert_eq!(lines(&grown, Some(&bound)), Vec::<String>::new());
        grown["spec"]["resources"]["requests"]["storage"] = json!("500Mi");
        assert_eq!(
            lines(&grown, Some(&bound)),
            ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
        );
    }
}
