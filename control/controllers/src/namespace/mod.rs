//! Empties and releases namespaces that are being deleted.
//!
//! Input: changes of namespaces, and the loss of objects in a terminating one. Output: deletions, conditions, and the
//! removal of the `kubernetes` finalizer from `spec.finalizers`.

mod plan;
mod sweep;

use crate::api::{Error, Part, Writer};
use crate::context::Context;
use crate::informer::Key;
use crate::objects::Namespace;
use crate::queue::{Again, Queue};
use jiff::Timestamp;
use plan::Remains;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const NAME: &str = "namespace-controller";
const FINALIZER: &str = "kubernetes";

/// When to look again even if nothing was heard: a deletion may fail on the side of the server.
const RECHECK: Duration = Duration::from_secs(15);

/// The Namespace controller.
pub(crate) struct Namespaces {
    context: Arc<Context>,
    writer: Writer,
    queue: Queue<Key>,
}

impl Namespaces {
    pub(crate) fn new(context: &Arc<Context>) -> Arc<Self> {
        let writer = Writer::new(context.client.clone(), NAME);
        let controller = Arc::new(Self {
            context: context.clone(),
            writer,
            queue: Queue::new(context.options.queues.named(NAME)),
        });
        let this = controller.clone();
        context.namespaces.on_change(move |change| {
            // Its own conditions are no news.
            let begins = |ns: &Arc<Namespace>| is_leaving(ns);
            if let Some(namespace) = change.new.as_ref().filter(|ns| begins(ns))
                && !change.old.as_ref().is_some_and(begins)
            {
                this.queue.add(Key::of(&namespace.metadata));
            }
        });
        controller
    }

    /// Hears that an object of a namespace is gone.
    pub(crate) fn lost_object(&self, namespace: &str) {
        let key = Key::cluster(namespace);
        if self.context.namespaces.get(&key).is_some_and(|ns| is_leaving(&ns)) {
            self.queue.add(key);
        }
    }

    /// Works until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        self.context.namespaces.synced().await;
        let this = &self;
        self.queue
            .drive(NAME, 4, |key| async move { this.reconcile(&key).await })
            .await;
    }

    async fn reconcile(&self, key: &Key) -> Result<Again, Error> {
        let Some(namespace) = self.context.namespaces.get(key).filter(|ns| is_leaving(ns)) else {
            return Ok(None);
        };
        let remains = sweep::sweep(self.writer.client(), key.name()).await;
        self.report(key, &namespace, &remains).await?;
        if !remains.is_empty() {
            return Ok(Some(RECHECK));
        }
        self.finalize(key, &namespace).await?;
        Ok(None)
    }

    async fn report(&self, key: &Key, namespace: &Namespace, remains: &Remains) -> Result<(), Error> {
        let known = &namespace.status.conditions;
        // An empty namespace that nobody else holds is gone in a moment: saying so would cost a write for nobody.
        let held = namespace.spec.finalizers.iter().any(|f| f != FINALIZER);
        if known.is_empty() && remains.is_empty() && !held {
            return Ok(());
        }
        let Some(conditions) = plan::conditions(known, remains, Timestamp::now()) else {
            return Ok(());
        };
        let patch = json!({"status": {"conditions": conditions}});
        match self
            .writer
            .strategic(&self.context.namespaces, key, Part::Status, &patch)
            .await
        {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// The subresource wants the whole object, so that it is read anew, with every field.
    async fn finalize(&self, key: &Key, namespace: &Namespace) -> Result<(), Error> {
        let Some(mut live) = self.writer.get_value::<Namespace>(key).await? else {
            return Ok(());
        };
        if live.pointer("/metadata/uid").and_then(Value::as_str) != namespace.metadata.uid.as_deref() {
            return Ok(());
        }
        let Some(finalizers) = live.pointer_mut("/spec/finalizers").and_then(Value::as_array_mut) else {
            return Ok(());
        };
        let before = finalizers.len();
        finalizers.retain(|f| f != FINALIZER);
        if finalizers.len() == before {
            return Ok(());
        }
        match self.writer.put::<Namespace>(key, "finalize", &live).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether it is being deleted and waits for this controller.
fn is_leaving(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_some() && namespace.spec.finalizers.iter().any(|f| f == FINALIZER)
}
