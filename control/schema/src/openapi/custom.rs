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

/// The name of the schema of a kind: `com.example.v1.Widget` for a `Widget` of `example.com/v1`.
pub(super) fn name(group: &str, version: &str, kind: &str) -> String {
    let mut parts: Vec<&str> = group.split('.').collect();
    parts.reverse();
    format!("{}.{version}.{kind}", parts.join("."))
}

/// The names and schemas of the kind and of its list.
pub(super) fn schemas(version: Version, custom: &Custom) -> [(String, Value); 2] {
    let facts = &custom.resource;
    let marks = |kind: &str| json!([{ "group": facts.group, "kind": kind, "version": facts.version }]);
    // Of a kind with unknown fields kubectl takes what version 2 tells for all there is.
    let untold = custom.schema.is_null() || version == Version::V2 && flag(&custom.schema, PRESERVES);
    let mut schema = if untold {
        json!({ "type": "object" })
    } else {
        let mut schema = match version {
            Version::V2 => reduced(&custom.schema),
            Version::V3 => custom.schema.clone(),
        };
        with_embedded(version, &mut schema);
        add_own(version, &mut schema);
        schema
    };
    schema["x-kubernetes-group-version-kind"] = marks(&facts.kind);
    let own = name(&facts.group, &facts.version, &facts.kind);
    let item = json!({ "$ref": version.reference(&own) });
    let list_kind = facts.list_kind();
    let mut properties = own_properties(meta(version, "ListMeta"));
    properties.insert("items".to_owned(), json!({ "type": "array", "items": item }));
    let list = json!({
        "description": format!("{list_kind} is a list of {}", facts.kind),
        "type": "object",
        "required": ["items"],
        "properties": properties,
        "x-kubernetes-group-version-kind": marks(&list_kind),
    });
    [(own, schema), (name(&facts.group, &facts.version, &list_kind), list)]
}

const PRESERVES: &str = "x-kubernetes-preserve-unknown-fields";

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

/// A reference to the metadata of objects or of lists.
fn meta(version: Version, name: &str) -> Value {
    let ty = crate::type_named(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}"));
    let reference = ty.map_or(Value::Null, |ty| version.reference(ty.name()));
    match version {
        Version::V2 => json!({ "$ref": reference }),
        Version::V3 => json!({ "allOf": [{ "$ref": reference }] }),
    }
}

fn describe(key: &str) -> Value {
    let text = match key {
        "apiVersion" => "APIVersion defines the versioned schema of this representation of an object.",
        _ => "Kind is a string value representing the REST resource this object represents.",
    };
    json!({ "type": "string", "description": text })
}

/// What every object has, and every list.
fn own_properties(metadata: Value) -> Map<String, Value> {
    let kind = ["apiVersion", "kind"].map(|key| (key.to_owned(), describe(key)));
    kind.into_iter().chain([("metadata".to_owned(), metadata)]).collect()
}

/// Adds what every object has.
fn add_own(version: Version, schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    let properties = map.entry("properties").or_insert_with(|| json!({}));
    let mut metadata = meta(version, "ObjectMeta");
    metadata["description"] = "Standard object's metadata.".into();
    if let Some(properties) = properties.as_object_mut() {
        properties.extend(own_properties(metadata));
    }
}

/// Gives the resources inside of a resource what every object has.
fn with_embedded(version: Version, schema: &mut Value) {
    for key in ["items", "additionalProperties"] {
        if let Some(below) = schema.get_mut(key) {
            with_embedded(version, below);
        }
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(|below| with_embedded(version, below));
    }
    let untold = version == Version::V2 && flag(schema, PRESERVES);
    if untold || !flag(schema, "x-kubernetes-embedded-resource") {
        return;
    }
    add_own(version, schema);
    let mut required = schema["required"].as_array().cloned().unwrap_or_default();
    for key in ["kind", "apiVersion"].map(Value::from) {
        if !required.contains(&key) {
            required.push(key);
        }
    }
    schema["required"] = required.into();
}

/// What version 2 can say of a schema: apiextensions-apiserver's `ToStructuralOpenAPIV2`. A value that may be null may be
/// anything there, and is not required.
fn reduced(schema: &Value) -> Value {
    let Some(words) = schema.as_object() else {
        return json!({});
    };
    let (nullable, preserves) = (flag(schema, "nullable"), flag(schema, PRESERVES));
    let mut kept = Map::new();
    for (key, value) in words {
        let value = match key.as_str() {
            "allOf" | "anyOf" | "oneOf" | "not" | "nullable" => continue,
            "items" | "properties" if nullable || preserves => continue,
            "type" if nullable => continue,
            "type" if value == "object" && preserves => continue,
            "type" if value == "array" && (preserves || !words.contains_key("items")) => continue,
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                properties.map(|(name, below)| (name.clone(), reduced(below))).collect()
            }
            "items" | "additionalProperties" if value.is_object() => reduced(value),
            "required" => {
                let below = |name: &str| words.get("properties").and_then(|all| all.get(name));
                let may_be_null = |name: &&Value| name.as_str().and_then(below).is_some_and(|it| flag(it, "nullable"));
                let all_may = words.get("additionalProperties").is_some_and(|it| flag(it, "nullable"));
                let names = value.as_array().into_iter().flatten();
                let names: Vec<_> = names.filter(|name| !all_may && !may_be_null(name)).cloned().collect();
                if names.is_empty() {
                    continue;
                }
                names.into()
            }
            _ => value.clone(),
        };
        kept.insert(key.clone(), value);
    }
    Value::Object(kept)
}
