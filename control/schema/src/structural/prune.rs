//! Removing what a schema does not know.

use serde_json::Value;

use super::{Schema, Trail};

/// What every object of the API has, whether its schema says so or not.
const OF_OBJECTS: [&str; 3] = ["apiVersion", "kind", "metadata"];

impl Schema {
    /// Removes fields that the schema of an object does not know, and says where they were.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let mut removed = Vec::new();
        self.prune_below(object, true, &mut Trail::default(), &mut removed);
        removed
    }

    /// As [`Schema::prune`], for a value that is no object of the API.
    pub fn prune_value(&self, value: &mut Value) -> Vec<String> {
        let mut removed = Vec::new();
        self.prune_below(value, false, &mut Trail::default(), &mut removed);
        removed
    }

    fn prune_below(&self, value: &mut Value, is_object: bool, trail: &mut Trail, removed: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.retain(|name, below| {
                if (is_object || self.embedded) && OF_OBJECTS.contains(&name.as_str()) {
                    return true;
                }
                trail.field(name, |trail| match self.field(name) {
                    Some(schema) => {
                        schema.prune_below(below, false, trail, removed);
                        true
                    }
                    None if self.preserves_unknown => true,
                    None => {
                        removed.push(trail.0.clone());
                        false
                    }
                })
            }),
            Value::Array(list) => {
                let Some(schema) = &self.items else { return };
                for (at, item) in list.iter_mut().enumerate() {
                    trail.item(at, |trail| schema.prune_below(item, false, trail, removed));
                }
            }
            _ => {}
        }
    }

    /// Whether there are objects of the API inside.
    pub fn embeds(&self) -> bool {
        let fields = self.properties.values();
        let inside = self.additional.iter().chain(&self.items).map(|schema| &**schema);
        self.embedded || fields.chain(inside).any(Schema::embeds)
    }

    /// Does something with the metadata of every object of the API inside an object; the path is that of the metadata.
    pub fn each_embedded(&self, object: &mut Value, act: &mut dyn FnMut(&str, &mut Value)) {
        self.embedded_below(object, &mut Trail::default(), act);
    }

    fn embedded_below(&self, value: &mut Value, trail: &mut Trail, act: &mut dyn FnMut(&str, &mut Value)) {
        match value {
            Value::Object(map) => {
                if self.embedded
                    && let Some(metadata) = map.get_mut("metadata")
                {
                    trail.field("metadata", |trail| act(&trail.0, metadata));
                }
                for (name, below) in map {
                    if let Some(schema) = self.field(name) {
                        trail.field(name, |trail| schema.embedded_below(below, trail, act));
                    }
                }
            }
            Value::Array(list) => {
                let Some(schema) = &self.items else { return };
                for (at, item) in list.iter_mut().enumerate() {
                    trail.item(at, |trail| schema.embedded_below(item, trail, act));
                }
            }
            _ => {}
        }
    }
}
