//! From the JSON of a definition to a [`Schema`].

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::{Map, Value};

use super::{Bound, Checks, Pattern, Range, Schema, Type};
use crate::ListType;

/// The words of a schema that say more than structure.
const CHECKS: [&str; 17] = [
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
];

impl Schema {
    /// Reads `openAPIV3Schema`. What is not understood is left out; whether the schema is structural was checked when
    /// the definition was written.
    pub fn parse(schema: &Value) -> Self {
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or(false);
        let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or("");
        let int_or_string = flag("x-kubernetes-int-or-string");
        let mut list_keys: Vec<String> = strings(schema, "x-kubernetes-list-map-keys");
        list_keys.sort_unstable();
        Schema {
            kind: match text("type") {
                _ if int_or_string => Type::IntOrString,
                "object" => Type::Object,
                "array" => Type::Array,
                "string" => Type::String,
                "integer" => Type::Integer,
                "number" => Type::Number,
                "boolean" => Type::Boolean,
                _ => Type::Any,
            },
            nullable: flag("nullable"),
            properties: named(schema.get("properties")),
            additional: match schema.get("additionalProperties") {
                Some(Value::Bool(true)) => Some(Box::new(Schema {
                    preserves_unknown: true,
                    ..Schema::default()
                })),
                Some(below @ Value::Object(_)) => Some(Box::new(Schema::parse(below))),
                _ => None,
            },
            items: schema
                .get("items")
                .filter(|i| i.is_object())
                .map(|i| Box::new(Schema::parse(i))),
            default: schema.get("default").cloned(),
            preserves_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            list_type: match text("x-kubernetes-list-type") {
                "atomic" => Some(ListType::Atomic),
                "set" => Some(ListType::Set),
                "map" => Some(ListType::Map),
                _ => None,
            },
            list_keys,
            atomic_map: text("x-kubernetes-map-type") == "atomic",
            checks: schema
                .as_object()
                .filter(|words| CHECKS.iter().any(|word| words.contains_key(*word)))
                .map(|words| Box::new(checks(words))),
        }
    }
}

fn checks(words: &Map<String, Value>) -> Checks {
    let number = |key: &str| words.get(key).filter(|value| value.is_number()).cloned();
    let exclusive = |key: &str| words.get(key).and_then(Value::as_bool).unwrap_or(false);
    let count = |key: &str| words.get(key).and_then(Value::as_u64);
    let range = |least: &str, most: &str| Range {
        least: count(least),
        most: count(most),
    };
    let bound = |key: &str, exclusive_key: &str| {
        number(key).map(|value| Bound {
            value,
            exclusive: exclusive(exclusive_key),
        })
    };
    let schemas = |key: &str| {
        let list = words.get(key).and_then(Value::as_array).into_iter().flatten();
        list.map(Schema::parse).collect()
    };
    let text = |key: &str| words.get(key).and_then(Value::as_str).unwrap_or("");
    Checks {
        format: text("format").to_owned(),
        one_of_values: words.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
        pattern: words.get("pattern").and_then(Value::as_str).map(|text| Pattern {
            text: text.to_owned(),
            regex: Regex::new(text).ok(),
        }),
        minimum: bound("minimum", "exclusiveMinimum"),
        maximum: bound("maximum", "exclusiveMaximum"),
        multiple_of: number("multipleOf"),
        length: range("minLength", "maxLength"),
        items: range("minItems", "maxItems"),
        entries: range("minProperties", "maxProperties"),
        required: words
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        all_of: schemas("allOf"),
        any_of: schemas("anyOf"),
        one_of: schemas("oneOf"),
        not: words.get("not").map(|schema| Box::new(Schema::parse(schema))),
    }
}

fn named(schemas: Option<&Value>) -> BTreeMap<String, Schema> {
    let schemas = schemas.and_then(Value::as_object).into_iter().flatten();
    schemas
        .map(|(name, below)| (name.clone(), Schema::parse(below)))
        .collect()
}

fn strings(schema: &Value, key: &str) -> Vec<String> {
    let list = schema.get(key).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}
