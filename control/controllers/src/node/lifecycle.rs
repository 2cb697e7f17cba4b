//! Watches over the health of nodes: silent ones become Unknown, and conditions become taints.
//!
//! Input: Leases and Nodes. Output: node conditions and taints, and Ready=False on the pods of a node that is not ready.
//! One timer per node, at the moment its silence would become too long.

use super::conditions;
use super::heartbeat::Heartbeats;
use crate::api::{Error, Part, Writer};
use crate::context::Context;
use crate::informer::Key;
use crate::objects::{Node, Pod};
use crate::queue::{Again, Queue};
use crate::recorder::Events;
use crate::sync::lock;
use barepod_client::types::Time;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

const NAME: &str = "node-lifecycle-controller";

/// The node lifecycle controller.
pub(crate) struct NodeLifecycle {
    context: Arc<Context>,
    writer: Writer,
    events: Events,
    heartbeats: Mutex<Heartbeats>,
    queue: Queue<Key>,
}

impl NodeLifecycle {
    pub(crate) fn new(context: &Arc<Context>) -> Arc<Self> {
        let controller = Arc::new(Self {
            context: context.clone(),
            writer: Writer::new(context.client.clone(), NAME),
            events: context.recorder.of(NAME),
            heartbeats: Mutex::default(),
            queue: Queue::new(context.options.queues.named(NAME)),
        });
        let this = controller.clone();
        context.nodes.on_change(move |change| match (&change.old, &change.new) {
            (_, Some(node)) => {
                lock(&this.heartbeats).node(node, Instant::now());
                this.queue.add(Key::of(&node.metadata));
            }
            (Some(node), None) => {
                lock(&this.heartbeats).forget(node.metadata.name.as_deref().unwrap_or_default());
                this.events.normal(
                    &**node,
                    "RemovingNode",
                    format!("Node {} was removed", Key::of(&node.metadata)),
                );
            }
            (None, None) => {}
        });
        let this = controller.clone();
        context.leases.on_change(move |change| {
            if let Some(lease) = &change.new {
                let grace = this.context.options.node_monitor_grace;
                if let Some(node) = lock(&this.heartbeats).lease(lease, Instant::now(), grace) {
                    this.queue.add(Key::cluster(&node));
                }
            }
        });
        controller
    }

    /// Works until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        self.context.nodes.synced().await;
        self.context.leases.synced().await;
        self.context.pods.synced().await;
        let this = &self;
        self.queue
            .drive(NAME, 8, |key| async move { this.reconcile(&key).await })
            .await;
    }

    async fn reconcile(&self, key: &Key) -> Result<Again, Error> {
        let Some(mut node) = self.context.nodes.get(key) else {
            return Ok(None);
        };
        let grace = self.context.options.node_monitor_grace;
        let silence = lock(&self.heartbeats).silence(key.name(), Instant::now());
        if silence >= grace
            && let Some(patch) = conditions::unknown(&node, Timestamp::now())
        {
            tracing::info!(
                node = key.name(),
                ?silence,
                "node is silent, its condition becomes Unknown"
            );
            node = match self
                .writer
                .strategic(&self.context.nodes, key, Part::Status, &patch)
                .await
            {
                Err(error) if error.is_not_found() => return Ok(None),
                other => other?,
            };
            self.events.normal(
                &*node,
                "NodeNotReady",
                format!("Node {key} status is now: NodeNotReady"),
            );
        }
        if let Some(taints) = conditions::taints(&node, Timestamp::now()) {
            let patch = json!({
                "metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": taints},
            });
            match self.writer.merge(&self.context.nodes, key, Part::Main, &patch).await {
                Err(error) if error.is_not_found() => return Ok(None),
                other => drop(other?),
            }
        }
        if is_down(&node) {
            self.mark_pods(key).await?;
        }
        Ok((silence < grace).then(|| grace - silence))
    }

    /// Takes the pods of a node that is not ready out of the endpoints.
    async fn mark_pods(&self, node: &Key) -> Result<(), Error> {
        let pods = self.context.pods.by(Pod::BY_NODE, node.name());
        let marks = pods.iter().filter(|pod| pod.is_ready()).map(|pod| async {
            let patch = json!({"status": {"conditions": [{
                "type": "Ready", "status": "False", "reason": "NodeNotReady",
                "lastTransitionTime": Time(Timestamp::now()),
            }]}});
            self.writer
                .strategic(&self.context.pods, &Key::of(&pod.metadata), Part::Status, &patch)
                .await
        });
        for result in join_all(marks).await {
            match result {
                Err(error) if error.is_not_found() => {}
                other => drop(other?),
            }
        }
        Ok(())
    }
}

/// Whether the node said or is taken to be unable to run pods.
fn is_down(node: &Node) -> bool {
    conditions::condition(node, "Ready").is_some_and(|c| c.status != "True")
}
