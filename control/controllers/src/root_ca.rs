//! Publishes the certificates that sign the API server's as the ConfigMap `kube-root-ca.crt` in every namespace.
//!
//! Input: changes of namespaces and of these maps. Output: ConfigMaps.

use crate::api::{Error, Part, Writer};
use crate::context::Context;
use crate::informer::Key;
use crate::queue::{Again, Queue};
use crate::service_account::is_open;
use serde_json::json;
use std::sync::Arc;

const CONTROLLER: &str = "root-ca-certificate-publisher";
const ENTRY: &str = "ca.crt";

/// The name of the map.
pub(crate) const NAME: &str = "kube-root-ca.crt";

/// The publisher; keys are namespaces.
pub(crate) struct RootCa {
    context: Arc<Context>,
    writer: Writer,
    queue: Queue<Key>,
}

impl RootCa {
    pub(crate) fn new(context: &Arc<Context>) -> Arc<Self> {
        let writer = Writer::new(context.client.clone(), CONTROLLER);
        let controller = Arc::new(Self {
            context: context.clone(),
            writer,
            queue: Queue::new(context.options.queues.named(CONTROLLER)),
        });
        let this = controller.clone();
        context.namespaces.on_change(move |change| {
            if let Some(namespace) = &change.new {
                this.queue.add(Key::of(&namespace.metadata));
            }
        });
        let this = controller.clone();
        context.root_ca_maps.on_change(move |change| {
            if let Some(map) = change.any() {
                this.queue
                    .add(Key::cluster(map.metadata.namespace.as_deref().unwrap_or_default()));
            }
        });
        controller
    }

    /// Works until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let Some(pem) = self.context.options.root_ca_pem.clone() else {
            return;
        };
        self.context.namespaces.synced().await;
        self.context.root_ca_maps.synced().await;
        let (this, pem) = (&self, &pem);
        self.queue
            .drive(CONTROLLER, 4, |key| async move { this.reconcile(&key, pem).await })
            .await;
    }

    async fn reconcile(&self, key: &Key, pem: &str) -> Result<Again, Error> {
        if !self.context.namespaces.get(key).is_some_and(|ns| is_open(&ns)) {
            return Ok(None);
        }
        let maps = &self.context.root_ca_maps;
        let result = match maps.find(key.name(), NAME) {
            Some(map) => {
                if map
                    .data
                    .as_ref()
                    .and_then(|d| d.get(ENTRY))
                    .is_some_and(|held| held == pem)
                {
                    return Ok(None);
                }
                let patch = json!({"data": {ENTRY: pem}});
                self.writer
                    .merge(maps, &Key::new(key.name(), NAME), Part::Main, &patch)
                    .await
            }
            None => {
                let description = "The certificates that sign the API server's own, as seen from inside the cluster.";
                let body = json!({
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {
                        "name": NAME,
                        "namespace": key.name(),
                        "annotations": {"kubernetes.io/description": description},
                    },
                    "data": {ENTRY: pem},
                });
                self.writer.create_value(maps, key.name(), &body).await
            }
        };
        match result {
            Err(error) if error.is_already_exists() || error.is_namespace_terminating() => Ok(None),
            other => other.map(|_| None),
        }
    }
}
