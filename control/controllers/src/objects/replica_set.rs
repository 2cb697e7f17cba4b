//! What the controllers read of a ReplicaSet.

use super::nullable;
use crate::informer::{IndexId, Object};
use crate::owner;
use barepod_client::types::{LabelSelector, ObjectMeta, Time};
use barepod_client::{api_struct, object};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

object!(ReplicaSet, "apps", "v1", "replicasets");

/// A ReplicaSet; its template is kept as it came.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReplicaSet {
    pub(crate) metadata: ObjectMeta,
    #[serde(deserialize_with = "nullable")]
    pub(crate) spec: ReplicaSetSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: ReplicaStatus,
}

/// How many pods of which form.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReplicaSetSpec {
    pub(crate) replicas: Option<i32>,
    pub(crate) min_ready_seconds: Option<i32>,
    pub(crate) selector: LabelSelector,
    pub(crate) template: Arc<Value>,
}

api_struct! {
    /// What became of it; a ReplicationController has the same.
    #[derive(Serialize, Deserialize)]
    pub(crate) struct ReplicaStatus {
        replicas: i32,
    } optional {
        fully_labeled_replicas: i32,
        ready_replicas: i32,
        available_replicas: i32,
        observed_generation: i64,
        conditions: Vec<ReplicaCondition>,
    }
}

api_struct! {
    /// One thing that is so of it, or not.
    #[derive(Serialize, Deserialize)]
    pub(crate) struct ReplicaCondition {
        #[serde(rename = "type")]
        type_: String,
        status: String,
    } optional {
        reason: String,
        message: String,
        last_transition_time: Time,
    }
}

impl ReplicaSet {
    /// By the uid of the controlling owner.
    pub(crate) const BY_OWNER: IndexId = IndexId(0);
    /// By namespace.
    pub(crate) const BY_NAMESPACE: IndexId = IndexId(1);
    /// By namespace, only those without a controlling owner.
    pub(crate) const UNOWNED: IndexId = IndexId(2);

    pub(crate) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The wanted number of pods; one unless said otherwise.
    pub(crate) fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    pub(crate) fn available(&self) -> i32 {
        self.status.available_replicas.unwrap_or(0)
    }
}

impl Object for ReplicaSet {
    fn index(&self, add: &mut dyn FnMut(IndexId, &str)) {
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        match owner::controller(&self.metadata) {
            Some(owner) => add(Self::BY_OWNER, &owner.uid),
            None => add(Self::UNOWNED, namespace),
        }
        add(Self::BY_NAMESPACE, namespace);
    }
}
