//! The part of an object that selectors need, derived once and kept with the stored object.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use barepod_store::{Cached, Object};
use serde_json::Value;

use super::registry::Kind;

/// Labels and selectable fields of an object.
#[derive(Debug)]
pub struct Head {
    labels: Box<[(Box<str>, Box<str>)]>,
    fields: Vec<(Cow<'static, str>, Box<str>)>,
    value: OnceLock<Arc<Value>>,
}

impl Head {
    /// Derives it from a parsed object.
    pub fn new(kind: &Kind, object: &Value) -> Self {
        let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
        let labels = labels.into_iter().flatten();
        let metadata = |key: &str| object.pointer(key).and_then(Value::as_str).unwrap_or("").into();
        let mut fields = vec![("metadata.name".into(), metadata("/metadata/name"))];
        if kind.resource.namespaced {
            fields.push(("metadata.namespace".into(), metadata("/metadata/namespace")));
        }
        let own = kind.strategy.selectable_fields(object).into_iter();
        fields.extend(own.map(|(name, value)| (name, value.into_boxed_str())));
        Head {
            labels: labels
                .filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into())))
                .collect(),
            fields,
            value: OnceLock::new(),
        }
    }

    /// As the store keeps it.
    pub fn cached(self) -> Cached {
        Arc::new(self)
    }

    /// The head of a stored object.
    pub fn of(kind: &Kind, object: &Object) -> Arc<Head> {
        let cached = object.cached(|object| Arc::new(Head::new(kind, &parse(object))));
        // Only this type is ever kept with objects.
        Arc::downcast(cached.clone()).unwrap_or_else(|_| Arc::new(Head::new(kind, &parse(object))))
    }

    /// A label's value.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels
            .iter()
            .find(|(key, _)| &**key == name)
            .map(|(_, value)| &**value)
    }

    /// A selectable field's value.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| &**value)
    }

    /// The parsed object, kept from now on: for the few kinds that strategies look up again and again.
    pub fn value(&self, object: &Object) -> &Arc<Value> {
        self.value.get_or_init(|| Arc::new(parse(object)))
    }
}

/// The object as a JSON value. What the engine stored is always JSON.
pub fn parse(object: &Object) -> Value {
    serde_json::from_slice(object.bytes()).unwrap_or_else(|error| {
        tracing::error!(key = object.key(), %error, "a stored object is not JSON");
        Value::Null
    })
}
