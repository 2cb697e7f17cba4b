//! Whether a schema says only what schemas of custom resources may say.

use serde_json::{Map, Value, json};

use super::structure;
use crate::path::{Errors, Path};
use crate::value::{at, bool_at, list_at, map_at, str_at, strings, text};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const OF_OBJECTS: [&str; 3] = ["apiVersion", "kind", "metadata"];
const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];
/// Words that OpenAPI has and custom resources have not.
const UNSUPPORTED: [&str; 6] = [
    "$ref",
    "additionalItems",
    "definitions",
    "dependencies",
    "id",
    "patternProperties",
];

/// What is known of the place of a schema.
#[derive(Clone, Copy)]
struct Place<'a> {
    root: bool,
    /// Inside of what every object of the API has.
    of_object: bool,
    /// Why there may be no default.
    no_default: Option<&'a str>,
}

pub(super) fn check(schema: &Value, status: bool, path: &Path<'_>, errors: &mut Errors) {
    if status && !matches!(text(schema, "type"), "" | "object") {
        let detail = "only \"object\" is allowed as the type at the root of the schema if the status subresource is \
                      enabled";
        errors.invalid(&path.child("type"), text(schema, "type"), detail);
    }
    if bool_at(schema, &["nullable"]) {
        errors.forbidden(&path.child("nullable"), "nullable cannot be true at the root");
    }
    errors.extend(structure::faults(schema, path));
    let place = Place {
        root: true,
        of_object: false,
        no_default: None,
    };
    below(schema, place, path, errors);
}

fn below(schema: &Value, place: Place<'_>, path: &Path<'_>, errors: &mut Errors) {
    words(schema, place, path, errors);
    let inner = Place { root: false, ..place };
    let embedded = bool_at(schema, &["x-kubernetes-embedded-resource"]);
    let properties = path.child("properties");
    if let Some(additional) = at(schema, &["additionalProperties"]) {
        let path = path.child("additionalProperties");
        let stated = map_at(schema, &["properties"]).is_some_and(|map| !map.is_empty());
        if stated && *additional != true {
            let detail = "additionalProperties and properties are mutual exclusive";
            errors.forbidden(&path, detail);
        }
        if additional.is_object() {
            let place = Place {
                no_default: place
                    .of_object
                    .then_some("inside additionalProperties applying to object metadata")
                    .or(place.no_default),
                ..inner
            };
            below(additional, place, &path, errors);
        }
    }
    for (name, property) in map_at(schema, &["properties"]).into_iter().flatten() {
        let reason = format!("in top-level {name}");
        let mut there = inner;
        if (place.root || embedded) && OF_OBJECTS.contains(&name.as_str()) {
            there.of_object = true;
            if place.root {
                there.no_default = Some(&reason);
            }
        }
        below(property, there, &properties.key(name), errors);
    }
    for key in ["items", "not"] {
        if let Some(schema) = at(schema, &[key]).filter(|schema| schema.is_object()) {
            below(schema, inner, &path.child(key), errors);
        }
    }
    for key in ["allOf", "oneOf", "anyOf"] {
        let list = path.child(key);
        for (i, schema) in list_at(schema, &[key]).iter().enumerate() {
            below(schema, inner, &list.index(i), errors);
        }
    }
    kinds_of_lists(schema, path, errors);
    map_keys(schema, path, errors);
    rules(schema, path, errors);
}

/// Words that may not be there, or not with this value.
fn words(schema: &Value, place: Place<'_>, path: &Path<'_>, errors: &mut Errors) {
    let kind = text(schema, "type");
    if kind == "null" {
        let detail = "type cannot be set to null, use nullable as an alternative";
        errors.forbidden(&path.child("type"), detail);
    }
    errors.optional_one_of(&path.child("type"), schema.get("type"), &TYPES);
    if let Some(reason) = place.no_default
        && at(schema, &["default"]).is_some()
    {
        errors.forbidden(&path.child("default"), format!("must not be set {reason}"));
    }
    for word in UNSUPPORTED {
        if at(schema, &[word]).is_some() {
            errors.forbidden(&path.child(word), format!("{word} is not supported"));
        }
    }
    if at(schema, &["items"]).is_some_and(Value::is_array) {
        errors.forbidden(&path.child("items"), "items must be a schema object and not an array");
    }
    if bool_at(schema, &["uniqueItems"]) {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.forbidden(&path.child("uniqueItems"), detail);
    }
    if place.of_object && bool_at(schema, &["x-kubernetes-embedded-resource"]) {
        let detail = "must not be used inside of resource meta";
        errors.forbidden(&path.child("x-kubernetes-embedded-resource"), detail);
    }
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let at = path.child("x-kubernetes-preserve-unknown-fields");
        errors.invalid(&at, false, "must be true or undefined");
    }
}

/// `x-kubernetes-list-type` and `x-kubernetes-map-type`.
fn kinds_of_lists(schema: &Value, path: &Path<'_>, errors: &mut Errors) {
    let kind = text(schema, "type");
    let supported: [(&str, &str, &[&str]); 2] = [
        ("x-kubernetes-map-type", "object", &["atomic", "granular"]),
        ("x-kubernetes-list-type", "array", &["atomic", "map", "set"]),
    ];
    for (word, wanted, values) in supported {
        let Some(given) = at(schema, &[word]) else { continue };
        let at = path.child("type");
        let detail = format!("must be {wanted} if {word} is specified");
        match kind {
            "" => errors.required(&at, &detail),
            kind if kind != wanted => errors.invalid(&at, kind, detail),
            _ => {}
        }
        errors.optional_one_of(&path.child(word), Some(given), values);
    }
    let list_type = text(schema, "x-kubernetes-list-type");
    let items = at(schema, &["items"]).filter(|_| kind == "array");
    let items_path = path.child("items");
    if let (Some(items), true) = (items, matches!(list_type, "set" | "map"))
        && bool_at(items, &["nullable"])
    {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        errors.forbidden(&items_path.child("nullable"), detail);
    }
    if let (Some(items), "set") = (items, list_type) {
        let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
        let of = |word: &str| str_at(items, &[word]);
        let (list, map) = ("x-kubernetes-list-type", "x-kubernetes-map-type");
        match text(items, "type") {
            "array" if of(list).is_some_and(|kind| kind != "atomic") => {
                errors.invalid(&items_path.child(list), of(list).unwrap_or(""), detail);
            }
            "object" if of(map) != Some("atomic") => {
                errors.invalid(&items_path.child(map), of(map).map_or(Value::Null, Value::from), detail);
            }
            _ => {}
        }
    }
}

/// The keys of lists that are maps.
fn map_keys(schema: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list_type = str_at(schema, &["x-kubernetes-list-type"]);
    let keys: Vec<&str> = strings(schema, &["x-kubernetes-list-map-keys"]).collect();
    let type_path = path.child("x-kubernetes-list-type");
    let keys_path = path.child("x-kubernetes-list-map-keys");
    if !keys.is_empty() {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        match list_type {
            None => errors.required(&type_path, detail),
            Some("map") => {}
            Some(other) => errors.invalid(&type_path, other, detail),
        }
    }
    if list_type != Some("map") {
        return;
    }
    if keys.is_empty() {
        let detail = "must not be empty if x-kubernetes-list-type is map";
        errors.required(&keys_path, detail);
    }
    let items_path = path.child("items");
    let Some(items) = at(schema, &["items"]) else {
        let detail = "must have a schema if x-kubernetes-list-type is map";
        return errors.required(&items_path, detail);
    };
    if text(items, "type") != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        return errors.invalid(&items_path.child("type"), text(items, "type"), detail);
    }
    let properties = items_path.child("properties");
    let required: Vec<&str> = strings(items, &["required"]).collect();
    for (i, key) in keys.iter().enumerate() {
        let Some(property) = at(items, &["properties", key]) else {
            let detail = "entries must all be names of item properties";
            errors.invalid(&keys_path, json!(keys), detail);
            continue;
        };
        let own = properties.key(key);
        if matches!(text(property, "type"), "array" | "object") {
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            errors.invalid(&own.child("type"), text(property, "type"), detail);
        }
        if keys[..i].contains(key) {
            errors.invalid(&keys_path, json!(keys), "must not contain duplicate entries");
        }
        if !required.contains(key) && at(property, &["default"]).is_none() {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required \
                          property";
            errors.required(&own.child("default"), detail);
        }
        if bool_at(property, &["nullable"]) {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.forbidden(&own.child("nullable"), detail);
        }
    }
}

/// `x-kubernetes-validations`, as far as they can be judged without the rules' language.
fn rules(schema: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("x-kubernetes-validations");
    let empty = Map::new();
    for (i, rule) in list_at(schema, &["x-kubernetes-validations"]).iter().enumerate() {
        let item = list.index(i);
        let given = rule.as_object().unwrap_or(&empty);
        let blank =
            |key: &str| given.contains_key(key) && text(rule, key).trim().is_empty() && !text(rule, key).is_empty();
        let lines = |key: &str| text(rule, key).trim().contains(['\n', '\r']);
        let message = item.child("message");
        if text(rule, "rule").trim().is_empty() {
            errors.required(&item.child("rule"), "rule is not specified");
        } else if blank("message") {
            let detail = "message must be non-empty if specified";
            errors.invalid(&message, text(rule, "message"), detail);
        } else if lines("message") {
            let detail = "message must not contain line breaks";
            errors.invalid(&message, text(rule, "message"), detail);
        } else if lines("rule") && text(rule, "message").trim().is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            errors.required(&message, detail);
        }
        if blank("messageExpression") {
            let detail = "messageExpression must be non-empty if specified";
            errors.required(&item.child("messageExpression"), detail);
        }
        errors.optional_one_of(&item.child("reason"), rule.get("reason"), &REASONS);
        if blank("fieldPath") {
            let detail = "fieldPath must be non-empty if specified";
            errors.invalid(&item.child("fieldPath"), text(rule, "fieldPath"), detail);
        }
    }
}
