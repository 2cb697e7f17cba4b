//! What every object has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Time;

/// Labels, or annotations.
pub type Labels = BTreeMap<String, String>;

api_struct! {
    /// Metadata of an object.
    #[derive(Deserialize)]
    pub struct ObjectMeta {} optional {
        name: String,
        namespace: String,
        uid: String,
        resource_version: String,
        generation: i64,
        creation_timestamp: Time,
        deletion_timestamp: Time,
        deletion_grace_period_seconds: i64,
        labels: Labels,
        annotations: Labels,
        owner_references: Vec<OwnerReference>,
        finalizers: Vec<String>,
    }
}

impl ObjectMeta {
    /// The name; empty while it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The namespace; empty for an object without one.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    /// The uid; empty while it has none.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.uid.as_deref().unwrap_or_default()
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// The value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

api_struct! {
    /// Who an object belongs to.
    #[derive(Eq, Serialize, Deserialize)]
    pub struct OwnerReference {
        api_version: String,
        kind: String,
        name: String,
        uid: String,
    } optional {
        controller: bool,
        block_owner_deletion: bool,
    }
}

api_struct! {
    /// Names an object, or a part of one.
    #[derive(Eq, Serialize, Deserialize)]
    pub struct ObjectReference {} optional {
        api_version: String,
        kind: String,
        namespace: String,
        name: String,
        uid: String,
        resource_version: String,
        field_path: String,
    }
}
