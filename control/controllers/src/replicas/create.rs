//! Creates pods from a template: in growing batches, so that a refusal costs few requests and a hundred pods little time.

use super::Replicas;
use super::owner::Replicated;
use super::status::Failure;
use crate::api::Error;
use crate::objects::Pod;
use crate::owner as owners;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::sync::Arc;

const FIRST_BATCH: usize = 8;

/// The body of a request that creates one pod of `owner`. The server adds the random end of the name, so that the same
/// bytes serve for every pod.
pub(super) fn pod<K: Replicated>(owner: &K) -> Value {
    let template = owner.template();
    let mut metadata = serde_json::Map::new();
    for field in ["labels", "annotations", "finalizers"] {
        match template.pointer(&format!("/metadata/{field}")) {
            None | Some(Value::Null) => {}
            Some(value) => drop(metadata.insert(field.to_owned(), value.clone())),
        }
    }
    let name = owner.meta().name.as_deref().unwrap_or_default();
    metadata.insert("generateName".into(), format!("{name}-").into());
    metadata.insert("namespace".into(), owner.meta().namespace.clone().into());
    metadata.insert("ownerReferences".into(), json!([owners::reference(owner)]));
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template.get("spec").cloned().unwrap_or_default(),
    })
}

impl<K: Replicated> Replicas<K> {
    pub(super) async fn create_pods(&self, owner: &K, count: usize) -> Result<(), (Failure, Error)> {
        let failed = |error: Error| {
            (
                Failure {
                    reason: "FailedCreate",
                    message: error.message(),
                },
                error,
            )
        };
        let body =
            serde_json::to_vec(&pod(owner)).map_err(|e| failed(Error::invalid("pod template", e.to_string())))?;
        let mut left = count;
        let mut batch = FIRST_BATCH;
        while left > 0 {
            let size = batch.min(left);
            let mut failure = None;
            for result in join_all((0..size).map(|_| self.create_pod(owner, &body))).await {
                failure = failure.or(result.err());
            }
            match failure {
                None => {}
                // Its end is near, and the pods are not missed.
                Some(error) if error.is_namespace_terminating() => return Ok(()),
                Some(error) => {
                    self.events
                        .warning(owner, "FailedCreate", format!("Error creating: {}", error.message()));
                    return Err(failed(error));
                }
            }
            left -= size;
            batch *= 2;
        }
        Ok(())
    }

    async fn create_pod(&self, owner: &K, body: &[u8]) -> Result<Arc<Pod>, Error> {
        let namespace = owner.meta().namespace.as_deref().unwrap_or_default();
        let pod = self
            .writer
            .create::<Pod>(&self.context.pods, namespace, body.to_vec())
            .await?;
        self.events
            .normal(owner, "SuccessfulCreate", format!("Created pod: {}", pod.name()));
        Ok(pod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::ReplicaSet;

    #[test]
    fn takes_over_the_whole_template() {
        let set: ReplicaSet = serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "ns", "uid": "u"},
            "spec": {"template": {
                "metadata": {"labels": {"app": "a"}, "creationTimestamp": null, "annotations": null},
                "spec": {"containers": [{"name": "c", "fieldOfTheFuture": 1}]},
            }},
        }))
        .unwrap();
        let pod = pod(&set);
        assert_eq!(pod["metadata"]["generateName"], "web-1-");
        assert_eq!(pod["metadata"]["labels"]["app"], "a");
        assert!(pod["metadata"].get("annotations").is_none());
        assert_eq!(pod["metadata"]["ownerReferences"][0]["controller"], true);
        assert_eq!(pod["metadata"]["ownerReferences"][0]["apiVersion"], "apps/v1");
        assert_eq!(pod["spec"]["containers"][0]["fieldOfTheFuture"], 1);
    }
}
