//! Keeps the Endpoints object of Services with a selector, for clients that do not read EndpointSlices.

use super::{backends, subsets};
use crate::api::{Error, Part, Writer};
use crate::context::Context;
use crate::informer::Key;
use crate::objects::EndpointSubset;
use crate::objects::{Endpoints, Pod, SERVICES_BY_NAMESPACE, Service};
use crate::queue::{Again, Queue};
use crate::selector::Labels;
use barepod_client::DeleteOptions;
use serde_json::{Value, json};
use std::sync::Arc;

const NAME: &str = "endpoint-controller";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// The Endpoints controller.
pub(crate) struct EndpointsController {
    context: Arc<Context>,
    writer: Writer,
    queue: Queue<Key>,
}

impl EndpointsController {
    pub(crate) fn new(context: &Arc<Context>) -> Arc<Self> {
        let writer = Writer::new(context.client.clone(), NAME);
        let controller = Arc::new(Self {
            context: context.clone(),
            writer,
            queue: Queue::new(context.options.queues.named(NAME)),
        });
        let this = controller.clone();
        context.services.on_change(move |change| {
            if let Some(service) = change.any() {
                this.queue.add(Key::of(&service.metadata));
            }
        });
        let this = controller.clone();
        context.pods.on_change(move |change| {
            if backends::matters(change) {
                change.sides().for_each(|pod| this.pod_changed(pod));
            }
        });
        let this = controller.clone();
        context.endpoints.on_change(move |change| {
            // Ours only: what people write for a Service without a selector stays as it is.
            if let Some(endpoints) = change.any()
                && endpoints.metadata.label(MANAGED_BY).is_some()
            {
                this.queue.add(Key::of(&endpoints.metadata));
            }
        });
        controller
    }

    /// Works until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        self.context.services.synced().await;
        self.context.pods.synced().await;
        self.context.endpoints.synced().await;
        let this = &self;
        self.queue
            .drive(NAME, 4, |key| async move { this.reconcile(&key).await })
            .await;
    }

    fn pod_changed(&self, pod: &Pod) {
        for service in self.context.services.by(SERVICES_BY_NAMESPACE, pod.namespace()) {
            if backends::selects(&service, pod) {
                self.queue.add(Key::of(&service.metadata));
            }
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Again, Error> {
        let existing = self.context.endpoints.get(key);
        let Some(service) = self.context.services.get(key) else {
            if let Some(left) = existing {
                let uid = left.metadata.uid();
                self.writer
                    .delete(&self.context.endpoints, key, uid, DeleteOptions::default())
                    .await?;
            }
            return Ok(None);
        };
        if service.metadata.deletion_timestamp.is_some() || !backends::is_selected_by_pods(&service) {
            return Ok(None);
        }
        let pods = self.context.pods.by(Pod::BY_NAMESPACE, key.namespace());
        let pods: Vec<Arc<Pod>> = pods
            .into_iter()
            .filter(|pod| backends::selects(&service, pod))
            .collect();
        let wanted = subsets::subsets(&service, &pods);
        let result = match existing {
            None => self.create(key, &service, &wanted).await,
            Some(existing) => match change(&service, &wanted, &existing) {
                None => Ok(()),
                Some(patch) => self
                    .writer
                    .merge(&self.context.endpoints, key, Part::Main, &patch)
                    .await
                    .map(drop),
            },
        };
        match result {
            Err(error) if error.is_namespace_terminating() => Ok(None),
            other => other.map(|()| None),
        }
    }

    async fn create(&self, key: &Key, service: &Service, wanted: &[EndpointSubset]) -> Result<(), Error> {
        let body = json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": key.name(), "namespace": key.namespace(), "labels": labels(service)},
            "subsets": wanted,
        });
        self.writer
            .create_value(&self.context.endpoints, key.namespace(), &body)
            .await
            .map(drop)
    }
}

fn labels(service: &Service) -> Labels {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if backends::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), NAME.to_owned());
    labels
}

/// The merge patch that brings an Endpoints object up to date.
fn change(service: &Service, wanted: &[EndpointSubset], existing: &Endpoints) -> Option<Value> {
    let mut patch = json!({});
    if existing.subsets.as_deref().unwrap_or_default() != wanted {
        patch["subsets"] = json!(wanted);
    }
    let lacks: Labels = labels(service)
        .into_iter()
        .filter(|(k, v)| existing.metadata.label(k) != Some(v))
        .collect();
    if !lacks.is_empty() {
        patch["metadata"]["labels"] = json!(lacks);
    }
    if patch.as_object().is_some_and(|p| p.is_empty()) {
        return None;
    }
    patch["metadata"]["resourceVersion"] = json!(existing.metadata.resource_version);
    Some(patch)
}

#[cfg(test)]
mod tests {
    use super::super::backends::tests::{pod, service};
    use super::*;

    #[test]
    fn patches_only_what_differs() {
        let service = service(json!({}));
        let wanted = subsets::subsets(&service, &[pod("a", "10.244.0.2", true)]);
        let mut existing = Endpoints::default();
        let patch = change(&service, &wanted, &existing).unwrap();
        assert!(patch.get("subsets").is_some());
        assert_eq!(patch["metadata"]["labels"]["team"], "x");
        existing.metadata.labels = Some(labels(&service));
        existing.subsets = Some(wanted.clone());
        assert!(change(&service, &wanted, &existing).is_none());
        assert!(
            change(&service, &[], &existing)
                .unwrap()
                .get("metadata")
                .unwrap()
                .get("labels")
                .is_none()
        );
    }
}
