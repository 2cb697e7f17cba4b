//! From the JSON of a definition to a [`Schema`].

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Schema, Type};
use crate::ListType;

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
        }
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
