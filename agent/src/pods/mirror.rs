//! Mirror pods: what the API shows of static pods. They are made and removed to follow the manifests; their status is
//! the static pods'.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};

use super::shape;

/// Set on a mirror pod, with the hash of its static pod.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
/// Set on a static pod: the hash of its manifest.
pub const HASH: &str = "kubernetes.io/config.hash";
/// Set on every pod that does not come from the API.
pub const SOURCE: &str = "kubernetes.io/config.source";

/// The hash a mirror pod carries; `None` for other pods.
pub fn mirrored_hash(pod: &Pod) -> Option<&str> {
    pod.metadata.annotations.as_ref()?.get(MIRROR).map(String::as_str)
}

fn hash(pod: &Pod) -> Option<&str> {
    pod.metadata.annotations.as_ref()?.get(HASH).map(String::as_str)
}

/// What has to be done for a name.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing.
    Keep,
    /// Make a mirror of this static pod.
    Create(Arc<Pod>),
    /// Remove this mirror.
    Delete(Arc<Pod>),
}

/// Compares the static pod and the mirror of one name.
pub fn step(static_pod: Option<&Arc<Pod>>, mirror: Option<&Arc<Pod>>) -> Step {
    match (static_pod, mirror) {
        (None, None) => Step::Keep,
        (Some(pod), None) => Step::Create(Arc::clone(pod)),
        (Some(pod), Some(mirror))
            if mirrored_hash(mirror) == hash(pod) && mirror.metadata.deletion_timestamp.is_none() =>
        {
            Step::Keep
        }
        (_, Some(mirror)) => Step::Delete(Arc::clone(mirror)),
    }
}

/// Does it. An object that is there already, or gone already, is no error.
pub async fn act(client: Client, step: Step, node: Option<(String, String)>) -> kube::Result<()> {
    let ok = |error| match error {
        kube::Error::Api(status) if matches!(status.code, 404 | 409) => Ok(()),
        error => Err(error),
    };
    match step {
        Step::Keep => Ok(()),
        Step::Create(pod) => {
            let api = Api::<Pod>::namespaced(client, shape::namespace(&pod));
            api.create(&PostParams::default(), &mirror_of(&pod, node))
                .await
                .map(drop)
                .or_else(ok)
        }
        Step::Delete(mirror) => {
            let api = Api::<Pod>::namespaced(client, shape::namespace(&mirror));
            let preconditions = Preconditions {
                uid: mirror.metadata.uid.clone(),
                resource_version: None,
            };
            let params = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(preconditions),
                ..DeleteParams::default()
            };
            api.delete(shape::name(&mirror), &params).await.map(drop).or_else(ok)
        }
    }
}

/// The object to create; `node` is the node's name and UID.
fn mirror_of(pod: &Pod, node: Option<(String, String)>) -> Pod {
    let mut mirror = pod.clone();
    mirror.status = None;
    mirror.metadata.uid = None;
    mirror.metadata.resource_version = None;
    let hash = hash(pod).unwrap_or_default().to_owned();
    mirror
        .metadata
        .annotations
        .get_or_insert_default()
        .insert(MIRROR.into(), hash);
    mirror.metadata.owner_references = node.map(|(name, uid)| {
        vec![OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name,
            uid,
            controller: Some(true),
            block_owner_deletion: None,
        }]
    });
    mirror
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(annotations: serde_json::Value) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u", "annotations": annotations}})).unwrap(),
        )
    }

    #[test]
    fn mirrors_follow_manifests() {
        let source = pod(json!({HASH: "1"}));
        let current = pod(json!({HASH: "1", MIRROR: "1"}));
        let stale = pod(json!({MIRROR: "0"}));
        assert_eq!(step(None, None), Step::Keep);
        assert_eq!(step(Some(&source), None), Step::Create(Arc::clone(&source)));
        assert_eq!(step(Some(&source), Some(&current)), Step::Keep);
        assert_eq!(step(Some(&source), Some(&stale)), Step::Delete(Arc::clone(&stale)));
        assert_eq!(step(None, Some(&current)), Step::Delete(current));
    }

    #[test]
    fn mirror_is_owned_by_the_node() {
        let mirror = mirror_of(&pod(json!({HASH: "1"})), Some(("n".into(), "node-uid".into())));
        assert_eq!(mirrored_hash(&mirror), Some("1"));
        assert!(mirror.metadata.uid.is_none());
        assert_eq!(mirror.metadata.owner_references.unwrap()[0].uid, "node-uid");
    }
}
