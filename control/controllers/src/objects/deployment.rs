//! What the controllers read of a Deployment.

use super::nullable;
use crate::informer::{IndexId, Object};
use barepod_client::types::{IntOrString, LabelSelector, ObjectMeta, Time};
use barepod_client::{api_struct, object};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

object!(Deployment, "apps", "v1", "deployments");

/// A Deployment; its template is kept as it came.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Deployment {
    pub(crate) metadata: ObjectMeta,
    #[serde(deserialize_with = "nullable")]
    pub(crate) spec: DeploymentSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: DeploymentStatus,
}

/// The wanted state of a rollout.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeploymentSpec {
    pub(crate) replicas: Option<i32>,
    pub(crate) min_ready_seconds: Option<i32>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) paused: bool,
    pub(crate) progress_deadline_seconds: Option<i32>,
    pub(crate) revision_history_limit: Option<i32>,
    pub(crate) selector: LabelSelector,
    pub(crate) strategy: Option<DeploymentStrategy>,
    pub(crate) template: Arc<Value>,
}

api_struct! {
    /// How old pods are replaced.
    #[derive(Deserialize)]
    pub(crate) struct DeploymentStrategy {} optional {
        #[serde(rename = "type")]
        type_: String,
        rolling_update: RollingUpdate,
    }
}

api_struct! {
    /// How far a rolling update may go at a time.
    #[derive(Deserialize)]
    pub(crate) struct RollingUpdate {} optional {
        max_surge: IntOrString,
        max_unavailable: IntOrString,
    }
}

api_struct! {
    /// How far a rollout is.
    #[derive(Serialize, Deserialize)]
    pub(crate) struct DeploymentStatus {} optional {
        observed_generation: i64,
        replicas: i32,
        updated_replicas: i32,
        ready_replicas: i32,
        available_replicas: i32,
        unavailable_replicas: i32,
        terminating_replicas: i32,
        collision_count: i32,
        conditions: Vec<DeploymentCondition>,
    }
}

api_struct! {
    /// One thing that is so of a rollout, or not.
    #[derive(Serialize, Deserialize)]
    pub(crate) struct DeploymentCondition {
        #[serde(rename = "type")]
        type_: String,
        status: String,
    } optional {
        reason: String,
        message: String,
        last_update_time: Time,
        last_transition_time: Time,
    }
}

impl Deployment {
    /// By namespace.
    pub(crate) const BY_NAMESPACE: IndexId = IndexId(0);

    pub(crate) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub(crate) fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The wanted number of pods; one unless said otherwise.
    pub(crate) fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    pub(crate) fn is_recreate(&self) -> bool {
        self.spec.strategy.as_ref().and_then(|s| s.type_.as_deref()) == Some("Recreate")
    }
}

impl Object for Deployment {
    fn index(&self, add: &mut dyn FnMut(IndexId, &str)) {
        add(Self::BY_NAMESPACE, self.namespace());
    }
}
