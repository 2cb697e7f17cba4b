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
