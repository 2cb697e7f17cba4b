//! Schemas of types.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::descriptions::{Descriptions, TypeDescriptions};
use super::{Version, kind_type};
use crate::{Container, Field, Item, ListType, PatchStrategy, Resource, TypeKind, TypeRef};

/// Every type that these resources speak, with all that those refer to, by name.
pub(super) fn closure(of: &[&Resource]) -> impl Iterator<Item = TypeRef> {
    let mut found = BTreeMap::new();
    let mut open: Vec<TypeRef> = of
        .iter()
        .flat_map(|resource| {
            let kind = |kind: &str| kind_type(&resource.group, &resource.version, kind);
            let subresources = resource
                .subresources
                .iter()
                .filter_map(|sub| kind_type(&sub.group, &sub.version, &sub.kind));
            [
                kind(&resource.kind),
                kind(&resource.list_kind()),
                kind("DeleteOptions").or_else(|| kind_type("", "v1", "DeleteOptions")),
                kind("Status"),
                patch_type(),
                // What lists of custom resources refer to, and others have anyway.
                crate::type_named("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"),
                crate::type_named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
            ]
            .into_iter()
            .flatten()
            .chain(subresources)
            .collect::<Vec<_>>()
        })
        .chain(kind_type("", "v1", "Status"))
        .collect();
    while let Some(ty) = open.pop() {
        if found.insert(ty.name(), ty).is_none() {
            open.extend(ty.fields().iter().filter_map(Field::item_type));
        }
    }
    found.into_values()
}

/// The type that stands for any patch.
pub(super) fn patch_type() -> Option<TypeRef> {
    crate::type_named("io.k8s.apimachinery.pkg.apis.meta.v1.Patch")
}

/// The schema of a type.
pub(super) fn schema(
    version: Version,
    ty: TypeRef,
    descriptions: &Descriptions<'_>,
    group_version: Option<(&str, &str)>,
) -> Value {
    let mut schema = match (ty.kind(), version) {
        (TypeKind::Quantity, Version::V3) => json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] }),
        (TypeKind::Quantity, Version::V2) => json!({ "type": "string" }),
        (TypeKind::IntOrString, Version::V3) => {
            json!({ "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] })
        }
        (TypeKind::IntOrString, Version::V2) => json!({ "format": "int-or-string", "type": "string" }),
        (TypeKind::Time | TypeKind::MicroTime, _) => json!({ "type": "string", "format": "date-time" }),
        (TypeKind::Raw, _) if ty.short_name() == "JSON" => json!({}),
        (TypeKind::Raw | TypeKind::Any, _) => json!({ "type": "object" }),
        (TypeKind::SchemaOrArray | TypeKind::SchemaOrBool | TypeKind::SchemaOrStrings, _) => json!({}),
        (TypeKind::Struct | TypeKind::Inline, _) => {
            let described = descriptions.get(ty.name());
            let properties: Map<String, Value> = ty
                .fields()
                .iter()
                .map(|field| (field.name.to_owned(), property(version, field, described)))
                .collect();
            let required: Vec<&str> = ty
                .fields()
                .iter()
                .filter(|field| field.required)
                .map(|field| field.name)
                .collect();
            let mut schema = json!({ "type": "object" });
            if !properties.is_empty() {
                schema["properties"] = Value::Object(properties);
            }
            if !required.is_empty() {
                schema["required"] = json!(required);
            }
            schema
        }
    };
    if let Some(text) = description(ty, descriptions) {
        schema["description"] = Value::String(text);
    }
    if ty.is_atomic() {
        schema["x-kubernetes-map-type"] = json!("atomic");
    }
    let mut kinds: Vec<Value> = ty
        .kinds()
        .map(|(group, version, kind)| json!({ "group": group, "kind": kind, "version": version }))
        .collect();
    if ty.is_everywhere()
        && let Some((group, version)) = group_version
    {
        kinds.push(json!({ "group": group, "kind": ty.short_name(), "version": version }));
    }
    if !kinds.is_empty() {
        schema["x-kubernetes-group-version-kind"] = Value::Array(kinds);
    }
    schema
}

fn description(ty: TypeRef, descriptions: &Descriptions<'_>) -> Option<String> {
    if let Some(text) = descriptions.get(ty.name()).and_then(TypeDescriptions::text) {
        return Some(text);
    }
    let item = ty.short_name().strip_suffix("List")?;
    Some(format!("{}List is a list of {item} objects.", item))
}

fn property(version: Version, field: &Field, described: Option<&TypeDescriptions<'_>>) -> Value {
    let mut property = match field.container {
        Container::One => item(version, field.item),
        Container::List => json!({ "type": "array", "items": item(version, field.item) }),
        Container::Map => json!({ "type": "object", "additionalProperties": item(version, field.item) }),
        Container::MapOfLists => {
            json!({ "type": "object", "additionalProperties": { "type": "array", "items": item(version, field.item) } })
        }
    };
    let mut marks = Map::new();
    if let Some(text) = described.and_then(|described| described.field(field.name)) {
        marks.insert("description".to_owned(), Value::String(text));
    }
    if !field.default.is_empty() && version == Version::V3 {
        marks.insert(
            "default".to_owned(),
            serde_json::from_str(field.default).expect("a default of the table is JSON"),
        );
    }
    let list_type = match (field.container, field.list_type) {
        (_, ListType::Unstated) => None,
        (_, ListType::Atomic) => Some("atomic"),
        (_, ListType::Set) => Some("set"),
        (Container::List, ListType::Map) => Some("map"),
        (_, ListType::Map) => Some("granular"),
    };
    if let Some(list_type) = list_type {
        let key = if field.container == Container::List {
            "x-kubernetes-list-type"
        } else {
            "x-kubernetes-map-type"
        };
        marks.insert(key.to_owned(), Value::from(list_type));
    }
    if !field.keys.is_empty() {
        marks.insert("x-kubernetes-list-map-keys".to_owned(), json!(field.keys));
    }
    if let Some(strategy) = strategy(field.patch_strategy) {
        marks.insert("x-kubernetes-patch-strategy".to_owned(), Value::from(strategy));
    }
    if !field.merge_key.is_empty() {
        marks.insert("x-kubernetes-patch-merge-key".to_owned(), Value::from(field.merge_key));
    }
    if marks.is_empty() {
        return property;
    }
    // Nothing may stand beside a reference in version 3.
    if version == Version::V3 && property.get("$ref").is_some() {
        property = json!({ "allOf": [property] });
    }
    if let Value::Object(property) = &mut property {
        property.extend(marks);
    }
    property
}

fn strategy(strategy: PatchStrategy) -> Option<&'static str> {
    match strategy {
        PatchStrategy::Unstated => None,
        PatchStrategy::Merge => Some("merge"),
        PatchStrategy::Replace => Some("replace"),
        PatchStrategy::RetainKeys => Some("retainKeys"),
        PatchStrategy::MergeRetainKeys => Some("merge,retainKeys"),
    }
}

fn item(version: Version, item: Item) -> Value {
    match item {
        Item::String => json!({ "type": "string" }),
        Item::Bytes => json!({ "type": "string", "format": "byte" }),
        Item::Bool => json!({ "type": "boolean" }),
        Item::Int32 => json!({ "type": "integer", "format": "int32" }),
        Item::Int64 => json!({ "type": "integer", "format": "int64" }),
        Item::Double => json!({ "type": "number", "format": "double" }),
        Item::Type(ty) => json!({ "$ref": version.reference(ty.name()) }),
    }
}
