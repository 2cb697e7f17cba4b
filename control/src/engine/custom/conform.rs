//! Bringing a custom object into the form of its schema.

use barepod_schema::check::{self, TypeMismatch};
use barepod_schema::structural::Schema;
use barepod_schema::type_named;
use serde_json::Value;

/// Removes what the schema does not know, and says where it was. Metadata is the same for all kinds.
pub(crate) fn conform(schema: &Schema, object: &mut Value) -> Result<Vec<String>, TypeMismatch> {
    let mut unknown = schema.prune(object);
    let Some(ty) = type_named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta") else {
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
