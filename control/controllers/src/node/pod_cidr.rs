//! Gives every node its part of the pod network.
//!
//! Input: Nodes. Output: `spec.podCIDR` and `spec.podCIDRs`, each unique. One node at a time, as each choice depends on
//! all others.

use crate::api::{Error, Part, Writer};
use crate::cidr::Ipv4Cidr;
use crate::context::Context;
use crate::informer::Key;
use crate::objects::Node;
use crate::queue::{Again, Queue};
use crate::recorder::Events;
use serde_json::json;
use std::sync::Arc;

const NAME: &str = "node-ipam-controller";

/// The allocator; keys are nodes.
pub(crate) struct PodCidrs {
    context: Arc<Context>,
    writer: Writer,
    events: Events,
    queue: Queue<Key>,
}

impl PodCidrs {
    pub(crate) fn new(context: &Arc<Context>) -> Arc<Self> {
        let controller = Arc::new(Self {
            context: context.clone(),
            writer: Writer::new(context.client.clone(), NAME),
            events: context.recorder.of(NAME),
            queue: Queue::new(context.options.queues.named(NAME)),
        });
        let this = controller.clone();
        context.nodes.on_change(move |change| match &change.new {
            Some(node) => {
                if assigned(node).is_empty() {
                    this.queue.add(Key::of(&node.metadata));
                }
            }
            // A part became free for a node that found none.
            None => {
                for node in this.context.nodes.all() {
                    if assigned(&node).is_empty() {
                        this.queue.add(Key::of(&node.metadata));
                    }
                }
            }
        });
        controller
    }

    /// Works until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        self.context.nodes.synced().await;
        let this = &self;
        self.queue
            .drive(NAME, 1, |key| async move { this.reconcile(&key).await })
            .await;
    }

    async fn reconcile(&self, key: &Key) -> Result<Again, Error> {
        let Some(node) = self.context.nodes.get(key) else {
            return Ok(None);
        };
        if !assigned(&node).is_empty() || node.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let options = &self.context.options;
        let taken: Vec<Ipv4Cidr> = self.context.nodes.all().iter().flat_map(|n| assigned(n)).collect();
        let Some(part) = free_part(&options.cluster_cidr, options.node_cidr_prefix, &taken) else {
            let message = format!("no free /{} left in {}", options.node_cidr_prefix, options.cluster_cidr);
            self.events.warning(&*node, "CIDRNotAvailable", message);
            return Ok(None);
        };
        let cidr = part.to_string();
        let patch = json!({
            "metadata": {"resourceVersion": node.metadata.resource_version},
            "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
        });
        match self.writer.merge(&self.context.nodes, key, Part::Main, &patch).await {
            Err(error) if error.is_not_found() => Ok(None),
            other => other.map(|_| None),
        }
    }
}

/// The IPv4 networks a node has.
fn assigned(node: &Node) -> Vec<Ipv4Cidr> {
    let spec = &node.spec;
    spec.pod_cidrs
        .iter()
        .flatten()
        .chain(&spec.pod_cidr)
        .filter_map(|c| c.parse().ok())
        .collect()
}

/// The first part of the cluster's network that overlaps none of those taken.
fn free_part(cluster: &Ipv4Cidr, prefix: u8, taken: &[Ipv4Cidr]) -> Option<Ipv4Cidr> {
    (0..cluster.parts(prefix))
        .filter_map(|index| cluster.part(prefix, index))
        .find(|part| !taken.iter().any(|t| t.overlaps(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Ipv4Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn takes_the_first_gap() {
        let cluster = cidr("10.244.0.0/16");
        let taken = [cidr("10.244.0.0/24"), cidr("10.244.2.0/23")];
        assert_eq!(free_part(&cluster, 24, &taken), Some(cidr("10.244.1.0/24")));
        let more = [taken[0], taken[1], cidr("10.244.1.0/24")];
        assert_eq!(free_part(&cluster, 24, &more), Some(cidr("10.244.4.0/24")));
        assert_eq!(free_part(&cidr("10.0.0.0/24"), 24, &[cidr("10.0.0.0/8")]), None);
    }
}
