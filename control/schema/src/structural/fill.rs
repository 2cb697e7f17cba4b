//! Filling in what is absent.

use serde_json::Value;

use super::Schema;

impl Schema {
    /// Removes nulls where there may be none, and fills in defaults.
    pub fn fill(&self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|name, below| {
                    let schema = self.field(name);
                    !below.is_null() || schema.is_none_or(|schema| schema.nullable || self.preserves(schema))
                });
                for (name, schema) in &self.properties {
                    if let Some(default) = &schema.default
                        && !map.contains_key(name)
                    {
                        map.insert(name.clone(), default.clone());
                    }
                }
                for (name, below) in map {
                    if let Some(schema) = self.field(name) {
                        schema.fill(below);
                    }
                }
            }
            Value::Array(list) => {
                let Some(schema) = &self.items else { return };
                for item in list {
                    if item.is_null()
                        && !schema.nullable
                        && let Some(default) = &schema.default
                    {
                        *item = default.clone();
                    }
                    schema.fill(item);
                }
            }
            _ => {}
        }
    }

    /// Whether anything is filled in anywhere.
    pub fn has_defaults(&self) -> bool {
        self.default.is_some()
            || self.properties.values().any(Schema::has_defaults)
            || self.additional.as_deref().is_some_and(Schema::has_defaults)
            || self.items.as_deref().is_some_and(Schema::has_defaults)
    }

    /// A null stays where nothing is known of the value.
    fn preserves(&self, below: &Schema) -> bool {
        below.preserves_unknown && below.kind == super::Type::Any
    }
}
