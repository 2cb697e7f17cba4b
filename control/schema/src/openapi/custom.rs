//! Schemas of custom resources.

use serde_json::{Map, Value, json};

use super::Version;
use crate::Resource;

/// A custom resource as documents show it.
#[derive(Clone, Debug)]
pub struct Custom {
    /// Its facts.
    pub resource: Resource,
    /// Its schema, as its definition states it.
    pub schema: Value,
    /// Changes when any of this does.
    pub revision: String,
}

/// The words of a schema that version 2 of the specification has as well, and clients understand.
const OF_VERSION_2: [&str; 7] = [
    "additionalProperties",
    "description",
    "enum",
    "format",
    "items",
    "properties",
    "required",
];

/// The name of the schema of a kind: `com.example.v1.Widget` for a `Widget` of `example.com/v1`.
pub(super) fn name(group: &str, version: &str, kind: &str) -> String {
    let mut parts: Vec<&str> = group.split('.').collect();
    parts.reverse();
    format!("{}.{version}.{kind}", parts.join("."))
}

/// The names and schemas of the kind and of its list.
pub(super) fn schemas(version: Version, custom: &Custom) -> [(String, Value); 2] {
    let facts = &custom.resource;
    let meta = |name: &str| {
        let ty = crate::type_named(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}"));
        let reference = ty.map_or(Value::Null, |ty| version.reference(ty.name()));
        match version {
            Version::V2 => json!({ "$ref": reference }),
            Version::V3 => json!({ "allOf": [{ "$ref": reference }] }),
        }
    };
    let marks = |kind: &str| json!([{ "group": facts.group, "kind": kind, "version": facts.version }]);
    let describe = |key: &str| {
        let text = match key {
            "apiVersion" => "APIVersion defines the versioned schema of this representation of an object.",
            _ => "Kind is a string value representing the REST resource this object represents.",
        };
        json!({ "type": "string", "description": text })
    };
    let mut schema = match version {
        Version::V2 => reduced(&custom.schema),
        Version::V3 => custom.schema.clone(),
    };
    let preserves = schema["x-kubernetes-preserve-unknown-fields"] == true && schema.get("properties").is_none();
    if let (Some(map), false) = (schema.as_object_mut(), preserves && version == Version::V2) {
        map.insert("type".into(), "object".into());
        let properties = map.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            properties.insert("apiVersion".into(), describe("apiVersion"));
            properties.insert("kind".into(), describe("kind"));
            let mut metadata = meta("ObjectMeta");
            metadata["description"] = "Standard object's metadata.".into();
            properties.insert("metadata".into(), metadata);
        }
    }
    schema["x-kubernetes-group-version-kind"] = marks(&facts.kind);
    let own = name(&facts.group, &facts.version, &facts.kind);
    let item = json!({ "$ref": version.reference(&own) });
    let list_kind = facts.list_kind();
    let list = json!({
        "description": format!("{list_kind} is a list of {}", facts.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": describe("apiVersion"),
            "kind": describe("kind"),
            "metadata": meta("ListMeta"),
            "items": { "type": "array", "items": item },
        },
        "x-kubernetes-group-version-kind": marks(&list_kind),
    });
    [(own, schema), (name(&facts.group, &facts.version, &list_kind), list)]
}

/// What version 2 can say of a schema. A value that may be null or of several types may be anything there.
fn reduced(schema: &Value) -> Value {
    let Some(words) = schema.as_object() else {
        return json!({});
    };
    let flag = |key: &str| words.get(key) == Some(&Value::Bool(true));
    let anything = flag("nullable") || flag("x-kubernetes-int-or-string");
    let mut kept = Map::new();
    for (key, value) in words {
        let value = match key.as_str() {
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                properties.map(|(name, below)| (name.clone(), reduced(below))).collect()
            }
            "items" => reduced(value),
            "additionalProperties" if value.is_object() => reduced(value),
            "additionalProperties" => continue,
            _ => value.clone(),
        };
        let structure = matches!(
            key.as_str(),
            "properties" | "items" | "additionalProperties" | "required" | "enum"
        );
        if anything && structure {
            continue;
        }
        let preserved = key == "type" && flag("x-kubernetes-preserve-unknown-fields");
        let known = OF_VERSION_2.contains(&key.as_str()) || key.starts_with("x-kubernetes-");
        if known && key != "x-kubernetes-validations" || (key == "type" && !anything && !preserved) {
            kept.insert(key.clone(), value);
        }
    }
    Value::Object(kept)
}
