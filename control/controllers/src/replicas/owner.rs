//! What ReplicaSet and ReplicationController have in common.

use crate::informer::{IndexId, Object};
use crate::objects::{ReplicaSet, ReplicationController};
use crate::selector::{self, Labels};
use serde_json::Value;

/// A kind that keeps a number of equal pods.
pub(crate) trait Replicated: Object {
    /// Field manager and event source.
    const CONTROLLER: &'static str;
    /// The index of the kind by namespace.
    const BY_NAMESPACE: IndexId;

    fn replicas(&self) -> i32;
    fn min_ready_seconds(&self) -> i32;
    fn template(&self) -> &Value;
    /// Whether a pod with these labels is one of its own; never for an empty selector.
    fn selects(&self, labels: Option<&Labels>) -> bool;
    /// The status as it was last written, as the API shows it.
    fn status(&self) -> Value;
}

impl Replicated for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset-controller";
    const BY_NAMESPACE: IndexId = ReplicaSet::BY_NAMESPACE;

    fn replicas(&self) -> i32 {
        ReplicaSet::replicas(self)
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.min_ready_seconds.unwrap_or(0)
    }

    fn template(&self) -> &Value {
        &self.spec.template
    }

    fn selects(&self, labels: Option<&Labels>) -> bool {
        !selector::is_empty(&self.spec.selector) && selector::matches(&self.spec.selector, labels)
    }

    fn status(&self) -> Value {
        serde_json::to_value(&self.status).unwrap_or_default()
    }
}

impl Replicated for ReplicationController {
    const CONTROLLER: &'static str = "replication-controller";
    const BY_NAMESPACE: IndexId = ReplicationController::BY_NAMESPACE;

    fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.min_ready_seconds.unwrap_or(0)
    }

    fn template(&self) -> &Value {
        &self.spec.template
    }

    fn selects(&self, labels: Option<&Labels>) -> bool {
        self.spec
            .selector
            .as_ref()
            .is_some_and(|s| !s.is_empty() && selector::has_all(s, labels))
    }

    fn status(&self) -> Value {
        serde_json::to_value(&self.status).unwrap_or_default()
    }
}
