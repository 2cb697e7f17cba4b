//! What the controllers read of a Deployment.

use super::{nullable, resource};
use crate::informer::{IndexId, Object};
use k8s_openapi::api::apps::v1::{DeploymentStatus, DeploymentStrategy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

resource!(Deployment, "apps", "v1", "deployments");

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
