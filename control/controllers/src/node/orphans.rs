//! Removes pods whose node is gone: nobody else would ever confirm their end.
//!
//! Input: pods and the loss of nodes. Output: forced deletions, after a time in which the node may come back.

use crate::api::{Error, Part, Writer};
use crate::context::Context;
use crate::informer::Key;
use crate::objects::{Node, Pod};
use crate::pods::disrupt;
use crate::queue::{Again, Queue};
use crate::sync::lock;
use barepod_client::DeleteOptions;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

const NAME: &str = "pod-garbage-collector";

/// The collector; keys are pods.
pub(crate) struct Orphans {
    context: Arc<Context>,
    writer: Writer,
    queue: Queue<Key>,
    /// Nodes that pods name but that do not exist, since when.
    missing: Mutex<HashMap<String, Instant>>,
}

impl Orphans {
    pub(crate) fn new(context: &Arc<Context>) -> Arc<Self> {
        let controller = Arc::new(Self {
            context: context.clone(),
            writer: Writer::new(context.client.clone(), NAME),
            queue: Queue::new(context.options.queues.named(NAME)),
            missing: Mutex::default(),
        });
        let this = controller.clone();
        context.nodes.on_change(move |change| {
            let Some(node) = change.any() else { return };
            let name = node.metadata.name.as_deref().unwrap_or_default();
            match &change.new {
                Some(_) => drop(lock(&this.missing).remove(name)),
                None => {
                    for pod in this.context.pods.by(Pod::BY_NODE, name) {
                        this.queue.add(Key::of(&pod.metadata));
                    }
                }
            }
        });
        let this = controller.clone();
        context.pods.on_change(move |change| {
            let Some(pod) = &change.new else {
                // Whoever names the same node later waits as long.
                if let Some(node) = change.old.as_ref().and_then(|pod| pod.node())
                    && this.context.pods.by(Pod::BY_NODE, node).is_empty()
                {
                    lock(&this.missing).remove(node);
                }
                return;
            };
            let lost = match pod.node() {
                Some(node) => this.context.nodes.get(&Key::cluster(node)).is_none(),
                None => pod.is_deleting(),
            };
            if lost {
                this.queue.add(Key::of(&pod.metadata));
            }
        });
        controller
    }

    /// Works until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        self.context.nodes.synced().await;
        self.context.pods.synced().await;
        let this = &self;
        self.queue
            .drive(NAME, 16, |key| async move { this.reconcile(&key).await })
            .await;
    }

    async fn reconcile(&self, key: &Key) -> Result<Again, Error> {
        let Some(pod) = self.context.pods.get(key) else {
            return Ok(None);
        };
        let message = match pod.node() {
            None if pod.is_deleting() => "PodGC: unscheduled and terminating",
            None => return Ok(None),
            Some(node) => match self.wait_for(node).await? {
                Lost::No => return Ok(None),
                Lost::Maybe(wait) => return Ok(Some(wait)),
                Lost::Yes => "PodGC: node no longer exists",
            },
        };
        tracing::info!(pod = %key, reason = message, "removing a pod by force");
        if !pod.is_finished() {
            let patch = json!({"status": {"phase": "Failed"}});
            match self.writer.merge(&self.context.pods, key, Part::Status, &patch).await {
                Err(error) if error.is_not_found() => return Ok(None),
                other => drop(other?),
            }
        }
        let now = DeleteOptions::default().grace_period(0);
        disrupt(&self.writer, &self.context.pods, &pod, "DeletionByPodGC", message, now).await?;
        Ok(None)
    }

    async fn wait_for(&self, node: &str) -> Result<Lost, Error> {
        let key = Key::cluster(node);
        if self.context.nodes.get(&key).is_some() {
            return Ok(Lost::No);
        }
        let since = *lock(&self.missing).entry(node.to_owned()).or_insert_with(Instant::now);
        let grace = self.context.options.orphan_pod_grace;
        let waited = since.elapsed();
        if waited < grace {
            return Ok(Lost::Maybe(grace - waited));
        }
        // The cache may be behind.
        match self.writer.get_live::<Node>(&key).await? {
            Some(_) => Ok(Lost::No),
            None => Ok(Lost::Yes),
        }
    }
}

enum Lost {
    No,
    Maybe(Duration),
    Yes,
}
