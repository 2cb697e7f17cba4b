//! What the controllers read of a ReplicationController.

use super::{ReplicaStatus, nullable};
use crate::informer::{IndexId, Object};
use barepod_client::object;
use barepod_client::types::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

object!(ReplicationController, "", "v1", "replicationcontrollers");

/// A ReplicationController; its template is kept as it came.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReplicationController {
    pub(crate) metadata: ObjectMeta,
    #[serde(deserialize_with = "nullable")]
    pub(crate) spec: ReplicationControllerSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: ReplicaStatus,
}

/// How many pods of which form.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReplicationControllerSpec {
    pub(crate) replicas: Option<i32>,
    pub(crate) min_ready_seconds: Option<i32>,
    pub(crate) selector: Option<BTreeMap<String, String>>,
    pub(crate) template: Arc<Value>,
}

impl ReplicationController {
    /// By namespace.
    pub(crate) const BY_NAMESPACE: IndexId = IndexId(0);
}

impl Object for ReplicationController {
    fn index(&self, add: &mut dyn FnMut(IndexId, &str)) {
        add(
            Self::BY_NAMESPACE,
            self.metadata.namespace.as_deref().unwrap_or_default(),
        );
    }
}
