//! Bringing a custom object into the form of its schema.

use barepod_kinds::{Invalid, Kind, NameRule, validate_object_meta, value};
use barepod_schema::check::{self, TypeMismatch};
use barepod_schema::structural::Schema;
use barepod_schema::type_named;
use serde_json::{Value, json};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Removes what the schema does not know, and says where it was. Metadata is the same for all kinds.
pub(crate) fn conform(schema: &Schema, object: &mut Value) -> Result<Vec<String>, TypeMismatch> {
    let mut unknown = schema.prune(object);
    let Some(ty) = type_named(OBJECT_META) else {
        return Ok(unknown);
    };
    if let Some(metadata) = object.get_mut("metadata").filter(|metadata| metadata.is_object()) {
        let below = check::check(ty, metadata)?;
        unknown.extend(below.into_iter().map(|path| format!("metadata.{path}")));
    }
    // What is wrong with the metadata of an object inside an object is left to who reads that object.
    schema.each_embedded(object, &mut |path, metadata| {
        if let Ok(below) = check::check(ty, metadata) {
            unknown.extend(below.into_iter().map(|below| format!("{path}.{below}")));
        }
    });
    Ok(unknown)
}

/// What is wrong with the metadata of objects of the API inside an object
/// (kube's validateEmbeddedResource).
pub(super) fn embedded_faults(schema: &Schema, object: &mut Value) -> Vec<Invalid> {
    let mut faults = Vec::new();
    let Some(ty) = type_named(OBJECT_META) else {
        return faults;
    };
    schema.each_embedded(object, &mut |path, metadata| {
        if let Err(mismatch) = check::check(ty, metadata) {
            return faults.push(Invalid {
                field: path.to_owned(),
                kind: Kind::Invalid,
                value: metadata.clone(),
                detail: mismatch.message,
            });
        }
        let mut whole = json!({"metadata": metadata});
        // It may have none: some name is needed to check the rest.
        value::fill(&mut whole["metadata"], "name", "any");
        faults.extend(
            validate_object_meta(&whole, NameRule::PathSegment)
                .into_iter()
                .map(|mut fault| {
                    fault.field.replace_range(.."metadata".len(), path);
                    fault
                }),
        );
    });
    faults
}
