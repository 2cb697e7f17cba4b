//! Gives every namespace its `default` ServiceAccount.
//!
//! Input: changes of namespaces and the loss of an account. Output: ServiceAccounts.

use crate::api::{Error, Writer};
use crate::context::Context;
use crate::informer::Key;
use crate::objects::Namespace;
use crate::queue::{Again, Queue};
use serde_json::json;
use std::sync::Arc;

const NAME: &str = "service-account-controller";
const ACCOUNT: &str = "default";

/// The ServiceAccount controller; keys are namespaces.
pub(crate) struct ServiceAccounts {
    context: Arc<Context>,
    writer: Writer,
    queue: Queue<Key>,
}

/// Whether objects can be made in the namespace.
pub(crate) fn is_open(namespace: &Namespace) -> bool {
    let phase = namespace.status.phase.as_deref();
    namespace.metadata.deletion_timestamp.is_none() && phase != Some("Terminating")
}

impl ServiceAccounts {
    pub(crate) fn new(context: &Arc<Context>) -> Arc<Self> {
        let writer = Writer::new(context.client.clone(), NAME);
        let controller = Arc::new(Self {
            context: context.clone(),
            writer,
            queue: Queue::new(context.options.queues.named(NAME)),
        });
        let this = controller.clone();
        context.namespaces.on_change(move |change| {
            if let Some(namespace) = &change.new {
                this.queue.add(Key::of(&namespace.metadata));
            }
        });
        let this = controller.clone();
        context.service_accounts.on_change(move |change| {
            if let (Some(old), None) = (&change.old, &change.new) {
                this.queue
                    .add(Key::cluster(old.metadata.namespace.as_deref().unwrap_or_default()));
            }
        });
        controller
    }

    /// Works until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        self.context.namespaces.synced().await;
        self.context.service_accounts.synced().await;
        let this = &self;
        self.queue
            .drive(NAME, 4, |key| async move { this.reconcile(&key).await })
            .await;
    }

    async fn reconcile(&self, key: &Key) -> Result<Again, Error> {
        let open = self.context.namespaces.get(key).is_some_and(|ns| is_open(&ns));
        if !open || self.context.service_accounts.find(key.name(), ACCOUNT).is_some() {
            return Ok(None);
        }
        let body = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": key.name()},
        });
        match self
            .writer
            .create_value(&self.context.service_accounts, key.name(), &body)
            .await
        {
            Err(error) if error.is_already_exists() || error.is_namespace_terminating() => Ok(None),
            other => other.map(|_| None),
        }
    }
}
