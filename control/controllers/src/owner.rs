//! Owner references.

use crate::informer::Object;
use barepod_client::types::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};

/// The owner that manages the object.
pub(crate) fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .as_ref()?
        .iter()
        .find(|o| o.controller == Some(true))
}

/// The managing owner, if it is of kind `K`.
pub(crate) fn controller_of_kind<K: Object>(meta: &ObjectMeta) -> Option<&OwnerReference> {
    let group = |api_version: &str| api_version.split_once('/').map_or("", |(group, _)| group).to_owned();
    controller(meta).filter(|o| o.kind == K::RESOURCE.kind && group(&o.api_version) == K::RESOURCE.group)
}

/// A reference that makes `owner` the managing owner and blocks its foreground deletion.
pub(crate) fn reference<K: Object>(owner: &K) -> Value {
    let meta = owner.meta();
    json!({
        "apiVersion": K::RESOURCE.api_version(),
        "kind": K::RESOURCE.kind,
        "name": meta.name,
        "uid": meta.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{Pod, ReplicaSet, ReplicationController};

    #[test]
    fn finds_the_managing_owner_by_kind_and_group() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "1"},
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "2", "controller": true},
        ]}}))
        .unwrap();
        assert_eq!(controller(&pod.metadata).unwrap().uid, "2");
        assert!(controller_of_kind::<ReplicaSet>(&pod.metadata).is_some());
        assert!(controller_of_kind::<ReplicationController>(&pod.metadata).is_none());
    }
}
