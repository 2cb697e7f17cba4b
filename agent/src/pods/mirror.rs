//! Mirror pods: what the API shows of static pods. They are made and removed to follow the manifests; their status is
//! the static pods'.

use std::sync::Arc;

use barepod_client::{Client, DeleteOptions, Error, Object, Request};
use serde_json::{Value, json};

use super::shape;
use crate::kinds::Pod;

/// Set on a mirror pod, with the hash of its static pod.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
/// Set on a static pod: the hash of its manifest.
pub const HASH: &str = "kubernetes.io/config.hash";
/// Set on every pod that does not come from the API.
pub const SOURCE: &str = "kubernetes.io/config.source";

/// The hash a mirror pod carries; `None` for other pods.
pub fn mirrored_hash(pod: &Pod) -> Option<&str> {
    pod.metadata.annotation(MIRROR)
}

fn hash(pod: &Pod) -> Option<&str> {
    pod.metadata.annotation(HASH)
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
pub async fn act(client: Client, step: Step, node: Option<(String, String)>) -> Result<(), Error> {
    let request = match step {
        Step::Keep => return Ok(()),
        Step::Create(pod) => {
            let body = mirror_of(&pod, node);
            let path = Pod::RESOURCE.collection(shape::namespace(&pod));
            Request::create(path, body.to_string().into_bytes())
        }
        Step::Delete(mirror) => delete(&mirror),
    };
    match client.send(request).await {
        Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
        result => result,
    }
}

/// Deletes this very object for good.
pub fn delete(pod: &Pod) -> Request {
    let path = Pod::RESOURCE.path(shape::namespace(pod), shape::name(pod));
    let options = DeleteOptions::default().grace_period(0).uid(shape::uid(pod));
    Request::delete(path, &options)
}

/// The object to create, with every field of the manifest; `node` is the node's name and UID.
fn mirror_of(pod: &Pod, node: Option<(String, String)>) -> Value {
    let mut mirror: Value = serde_json::from_str(pod.text.as_str()).expect("the pod was read from this text");
    mirror["apiVersion"] = json!("v1");
    mirror["kind"] = json!("Pod");
    let meta = &mut mirror["metadata"];
    if let Some(meta) = meta.as_object_mut() {
        meta.remove("uid");
        meta.remove("resourceVersion");
    }
    meta["annotations"][MIRROR] = json!(hash(pod).unwrap_or_default());
    meta["ownerReferences"] = match node {
        Some((name, uid)) => {
            json!([{"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid, "controller": true}])
        }
        None => Value::Null,
    };
    mirror
}

#[cfg(test)]
mod tests {
    use super::*;
    use barepod_client::Read;

    fn pod(annotations: Value) -> Arc<Pod> {
        let text = json!({"metadata": {"name": "p", "uid": "u", "annotations": annotations}, "spec": {"x": 1}});
        Arc::new(Pod::read(&text.to_string()).unwrap())
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
        assert_eq!(mirrored_hash(&Pod::read(&mirror.to_string()).unwrap()), Some("1"));
        assert!(mirror["metadata"].get("uid").is_none());
        assert_eq!(mirror["metadata"]["ownerReferences"][0]["uid"], "node-uid");
        assert_eq!(
            mirror["spec"]["x"], 1,
            "what the agent does not read is there all the same"
        );
    }
}
