//! Lists whose items differ: sets, and maps written as lists.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Fault, Problem, Schema, Trail};
use crate::ListType;

impl Schema {
    pub(super) fn unique_below(
        &self,
        value: &Value,
        old: Option<&Value>,
        trail: &mut Trail,
        problems: &mut Vec<Problem>,
    ) {
        if old == Some(value) {
            return;
        }
        match value {
            Value::Object(map) => {
                for (name, below) in map {
                    if let Some(schema) = self.field(name) {
                        let old = old.and_then(|old| old.get(name));
                        trail.field(name, |trail| schema.unique_below(below, old, trail, problems));
                    }
                }
            }
            Value::Array(list) => {
                let mut seen = HashSet::new();
                for (at, item) in list.iter().enumerate() {
                    let identity = match self.list_type {
                        Some(ListType::Set) => Some(item.clone()),
                        Some(ListType::Map) => self.identity(item),
                        _ => None,
                    };
                    if let Some(identity) = identity
                        && !seen.insert(identity.to_string())
                    {
                        let field = trail.item(at, |trail| trail.shown());
                        problems.push(Problem {
                            field,
                            fault: Fault::Duplicate,
                            value: identity,
                            detail: String::new(),
                        });
                    }
                    if let Some(schema) = &self.items {
                        let old = self.counterpart(item, old);
                        trail.item(at, |trail| schema.unique_below(item, old, trail, problems));
                    }
                }
            }
            _ => {}
        }
    }

    /// The keys of an item, in one order.
    fn identity(&self, item: &Value) -> Option<Value> {
        let item = item.as_object()?;
        let keys = self.list_keys.iter();
        let keys = keys.filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
        Some(Value::Object(keys.collect::<Map<_, _>>()))
    }
}
