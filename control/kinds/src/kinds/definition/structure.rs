//! Whether a schema is structural: what a value is made of is said outside of anything that only restricts it
//! (KEP-1402).

use serde_json::{Value, json};

use crate::invalid::Invalid;
use crate::path::{Errors, Path};
use crate::value::{at, bool_at, list_at, map_at, text};

/// Where in an object a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// The words that combine schemas which restrict a value.
const JUNCTORS: [&str; 3] = ["anyOf", "allOf", "oneOf"];

pub(super) fn faults(schema: &Value, path: &Path<'_>) -> Vec<Invalid> {
    let mut found = Errors::new();
    invariants(schema, Level::Root, path, &mut found);
    complete(schema, path, &mut found);
    let mut found = found.into_vec();
    found.sort_by_cached_key(ToString::to_string);
    found
}

fn invariants(schema: &Value, level: Level, path: &Path<'_>, errors: &mut Errors) {
    let kind = text(schema, "type");
    let flag = |key: &str| bool_at(schema, &[key]);
    let (embedded, int_or_string) = (
        flag("x-kubernetes-embedded-resource"),
        flag("x-kubernetes-int-or-string"),
    );
    let preserves = flag("x-kubernetes-preserve-unknown-fields");
    match at(schema, &["items"]) {
        Some(items) => invariants(items, Level::Item, &path.child("items"), errors),
        None if kind == "array" => errors.required(&path.child("items"), "must be specified"),
        None => {}
    }
    let properties = path.child("properties");
    for (name, below) in map_at(schema, &["properties"]).into_iter().flatten() {
        invariants(below, Level::Field, &properties.key(name), errors);
    }
    if let Some(additional) = at(schema, &["additionalProperties"]) {
        let path = path.child("additionalProperties");
        if level == Level::Root {
            errors.forbidden(&path, "must not be used at the root");
        }
        if embedded {
            let detail = "must not be used if x-kubernetes-embedded-resource is set";
            errors.forbidden(&path, detail);
        }
        if additional.is_object() {
            invariants(additional, Level::Field, &path, errors);
        }
    }
    if int_or_string {
        for (set, key) in [
            (preserves, "x-kubernetes-preserve-unknown-fields"),
            (embedded, "x-kubernetes-embedded-resource"),
        ] {
            if set {
                let detail = "must be false if x-kubernetes-int-or-string is true";
                errors.invalid(&path.child(key), true, detail);
            }
        }
    }
    restrictions(
        schema,
        is_int_or_string(schema),
        is_all_int_or_string(schema),
        path,
        errors,
    );
    let type_path = path.child("type");
    if embedded && kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        match kind {
            "" => errors.required(&type_path, detail),
            kind => errors.invalid(&type_path, kind, detail),
        }
    } else if kind.is_empty() && !int_or_string && !preserves {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.required(&type_path, detail);
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.invalid(&type_path, kind, "must be object at the root");
    }
    if level == Level::Root || embedded {
        of_objects(schema, level, path, errors);
    }
    if embedded && !preserves && map_at(schema, &["properties"]).is_none_or(serde_json::Map::is_empty) {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without \
                      x-kubernetes-preserve-unknown-fields";
        errors.required(&properties, detail);
    }
}

/// What every object of the API has is restricted in few ways.
fn of_objects(schema: &Value, level: Level, path: &Path<'_>, errors: &mut Errors) {
    let properties = path.child("properties");
    for (name, wanted) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
        if let Some(below) = at(schema, &["properties", name])
            && text(below, "type") != wanted
        {
            let detail = format!("must be {wanted}");
            errors.invalid(&properties.key(name).child("type"), text(below, "type"), detail);
        }
    }
    let Some(metadata) = at(schema, &["properties", "metadata"]).filter(|_| level == Level::Root) else {
        return;
    };
    let names = map_at(metadata, &["properties"]).into_iter().flatten();
    let others = metadata.as_object().into_iter().flatten();
    let structural = [
        "items",
        "additionalProperties",
        "nullable",
        "title",
        "description",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-map-type",
    ];
    let more = names
        .into_iter()
        .any(|(name, _)| name != "name" && name != "generateName")
        || others
            .into_iter()
            .any(|(key, _)| structural.contains(&key.as_str()) && key != "description");
    if more {
        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.forbidden(&properties.key("metadata"), detail);
    }
}

fn int_or_string() -> Value {
    json!([{"type": "integer"}, {"type": "string"}])
}

fn is_int_or_string(schema: &Value) -> bool {
    at(schema, &["anyOf"]) == Some(&int_or_string())
}

fn is_all_int_or_string(schema: &Value) -> bool {
    list_at(schema, &["allOf"]).first().is_some_and(is_int_or_string)
}

/// Restrictions of a value, which may say nothing about what it is made of.
fn restrictions(schema: &Value, skip_any: bool, skip_first_all: bool, path: &Path<'_>, errors: &mut Errors) {
    for junctor in JUNCTORS {
        if junctor == "anyOf" && skip_any {
            continue;
        }
        let list = path.child(junctor);
        for (i, below) in list_at(schema, &[junctor]).iter().enumerate() {
            let skip = junctor == "allOf" && skip_first_all && i == 0;
            restriction(below, skip, &list.index(i), errors);
        }
    }
    if let Some(below) = at(schema, &["not"]) {
        restriction(below, false, &path.child("not"), errors);
    }
}

fn restriction(schema: &Value, skip_any: bool, path: &Path<'_>, errors: &mut Errors) {
    restrictions(schema, skip_any, false, path, errors);
    if let Some(items) = at(schema, &["items"]) {
        restriction(items, false, &path.child("items"), errors);
    }
    let properties = path.child("properties");
    for (name, below) in map_at(schema, &["properties"]).into_iter().flatten() {
        restriction(below, false, &properties.key(name), errors);
    }
    for (key, detail) in [
        ("type", "must be empty to be structural"),
        ("additionalProperties", "must be undefined to be structural"),
        ("default", "must be undefined to be structural"),
        ("title", "must be empty to be structural"),
        ("description", "must be empty to be structural"),
        ("nullable", "must be false to be structural"),
        ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
        ("x-kubernetes-embedded-resource", "must be false to be structural"),
        ("x-kubernetes-int-or-string", "must be false to be structural"),
        ("x-kubernetes-list-map-keys", "must be empty to be structural"),
        ("x-kubernetes-list-type", "must be undefined to be structural"),
        ("x-kubernetes-map-type", "must be undefined to be structural"),
    ] {
        let set = at(schema, &[key]).is_some_and(|value| value != false && value != "");
        if set {
            errors.forbidden(&path.child(key), detail);
        }
    }
    if at(schema, &["properties", "metadata"]).is_some() {
        let detail = "must not be specified in a nested context";
        errors.forbidden(&properties.key("metadata"), detail);
    }
}

/// Every field that is restricted is also stated.
fn complete(schema: &Value, path: &Path<'_>, errors: &mut Errors) {
    restricted(schema, schema, path, path, errors);
    if let Some(items) = at(schema, &["items"]) {
        complete(items, &path.child("items"), errors);
    }
    let properties = path.child("properties");
    for (name, below) in map_at(schema, &["properties"]).into_iter().flatten() {
        complete(below, &properties.key(name), errors);
    }
    if let Some(below) = at(schema, &["additionalProperties"]).filter(|below| below.is_object()) {
        complete(below, &path.child("additionalProperties"), errors);
    }
}

/// Goes through the restrictions inside `schema` beside the schema that states the value.
fn restricted(schema: &Value, stated: &Value, stated_path: &Path<'_>, path: &Path<'_>, errors: &mut Errors) {
    for junctor in JUNCTORS {
        let list = path.child(junctor);
        for (i, below) in list_at(schema, &[junctor]).iter().enumerate() {
            known(below, stated, stated_path, &list.index(i), errors);
        }
    }
    if let Some(below) = at(schema, &["not"]) {
        known(below, stated, stated_path, &path.child("not"), errors);
    }
}

fn known(restriction: &Value, stated: &Value, stated_path: &Path<'_>, path: &Path<'_>, errors: &mut Errors) {
    restricted(restriction, stated, stated_path, path, errors);
    let mut part = |restriction: &Value, stated: Option<&Value>, stated_path: &Path<'_>, path: &Path<'_>| match stated {
        Some(stated) => known(restriction, stated, stated_path, path, errors),
        None => errors.required(stated_path, &format!("because it is defined in {path}")),
    };
    if let Some(items) = at(restriction, &["items"]) {
        let own = stated_path.child("items");
        part(items, at(stated, &["items"]), &own, &path.child("items"));
    }
    let (own, inside) = (stated_path.child("properties"), path.child("properties"));
    for (name, below) in map_at(restriction, &["properties"]).into_iter().flatten() {
        part(
            below,
            at(stated, &["properties", name]),
            &own.key(name),
            &inside.key(name),
        );
    }
}
