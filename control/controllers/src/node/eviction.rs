//! Removes pods from nodes with NoExecute taints they do not tolerate, or no longer.
//!
//! Input: taints of nodes, tolerations of pods. Output: deletions. One timer per pod that tolerates a taint for a time.

use super::conditions::{NOT_READY, UNREACHABLE};
use crate::api::{Error, Writer};
use crate::context::Context;
use crate::informer::Key;
use crate::objects::{Node, Pod};
use crate::pods::disrupt;
use crate::queue::{Again, Queue};
use crate::recorder::Events;
use crate::scheduler::tolerates;
use barepod_client::DeleteOptions;
use barepod_client::types::Taint;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

const NAME: &str = "taint-eviction-controller";

/// The taint eviction controller; keys are pods.
pub(crate) struct Eviction {
    context: Arc<Context>,
    writer: Writer,
    events: Events,
    queue: Queue<Key>,
}

impl Eviction {
    pub(crate) fn new(context: &Arc<Context>) -> Arc<Self> {
        let controller = Arc::new(Self {
            context: context.clone(),
            writer: Writer::new(context.client.clone(), NAME),
            events: context.recorder.of(NAME),
            queue: Queue::new(context.options.queues.named(NAME)),
        });
        let this = controller.clone();
        context.nodes.on_change(move |change| {
            let of = |node: &Option<Arc<Node>>| node.as_ref().map(|n| no_execute(n)).unwrap_or_default();
            let Some(node) = &change.new else { return };
            let taints = of(&change.new);
            if !taints.is_empty() && taints != of(&change.old) {
                for pod in this
                    .context
                    .pods
                    .by(Pod::BY_NODE, node.metadata.name.as_deref().unwrap_or_default())
                {
                    this.queue.add(Key::of(&pod.metadata));
                }
            }
        });
        let this = controller.clone();
        context.pods.on_change(move |change| {
            let Some(pod) = &change.new else { return };
            let moved = change.old.as_ref().is_none_or(|old| {
                old.spec.node_name != pod.spec.node_name || old.spec.tolerations != pod.spec.tolerations
            });
            let tainted = |node| {
                this.context
                    .nodes
                    .get(&Key::cluster(node))
                    .is_some_and(|n| !no_execute(&n).is_empty())
            };
            if moved && pod.node().is_some_and(tainted) {
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
        let Some(pod) = self.context.pods.get(key).filter(|p| !p.is_deleting()) else {
            return Ok(None);
        };
        let Some(node) = pod.node().and_then(|n| self.context.nodes.get(&Key::cluster(n))) else {
            return Ok(None);
        };
        let bound = self.context.options.pod_eviction_timeout;
        let Some(wait) = evict_in(&pod, &no_execute(&node), bound, Timestamp::now()) else {
            return Ok(None);
        };
        if !wait.is_zero() {
            return Ok(Some(wait));
        }
        self.events
            .normal(&*pod, "TaintManagerEviction", format!("Marking for deletion Pod {key}"));
        let message = "Taint manager: deleting due to NoExecute taint";
        let params = DeleteOptions::default();
        disrupt(
            &self.writer,
            &self.context.pods,
            &pod,
            "DeletionByTaintManager",
            message,
            params,
        )
        .await?;
        Ok(None)
    }
}

fn no_execute(node: &Node) -> Vec<Taint> {
    let taints = &node.spec.taints;
    taints.iter().filter(|t| t.effect == "NoExecute").cloned().collect()
}

/// When the pod must go; `None` if it may stay for ever. `bound` shortens the time it tolerates a node that is down.
fn evict_in(pod: &Pod, taints: &[Taint], bound: Option<Duration>, now: Timestamp) -> Option<Duration> {
    let mut soonest: Option<Duration> = None;
    for taint in taints {
        let tolerated = pod.spec.tolerations.iter().filter(|t| tolerates(t, taint));
        let times: Vec<Option<i64>> = tolerated.map(|t| t.toleration_seconds).collect();
        if times.is_empty() {
            return Some(Duration::ZERO);
        }
        // Of several tolerations for one taint the shortest counts.
        let Some(seconds) = times.into_iter().flatten().min() else {
            continue;
        };
        let mut allowed = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        if matches!(taint.key.as_str(), NOT_READY | UNREACHABLE) {
            allowed = bound.map_or(allowed, |bound| allowed.min(bound));
        }
        let since = taint.time_added.as_ref().map_or(now, |t| t.0);
        let waited = Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO);
        let left = allowed.saturating_sub(waited);
        soonest = Some(soonest.map_or(left, |known| known.min(left)));
    }
    soonest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(tolerations: Value) -> Pod {
        serde_json::from_value(json!({"spec": {"tolerations": tolerations}})).unwrap()
    }

    fn taint(key: &str) -> Taint {
        let value = json!({"key": key, "effect": "NoExecute", "timeAdded": "1970-01-01T00:00:00Z"});
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn counts_from_the_time_of_the_taint() {
        let for_a_while = pod(json!([{"key": UNREACHABLE, "operator": "Exists", "tolerationSeconds": 300}]));
        let now = Timestamp::from_second(100).unwrap();
        let taints = [taint(UNREACHABLE)];
        assert_eq!(
            evict_in(&for_a_while, &taints, None, now),
            Some(Duration::from_secs(200))
        );
        let bound = Some(Duration::from_secs(5));
        assert_eq!(evict_in(&for_a_while, &taints, bound, now), Some(Duration::ZERO));
        assert_eq!(evict_in(&for_a_while, &[], None, now), None);
    }

    #[test]
    fn at_once_or_never() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(
            evict_in(&pod(json!([])), &[taint("k")], None, now),
            Some(Duration::ZERO)
        );
        let for_ever = pod(json!([{"operator": "Exists"}]));
        let bound = Some(Duration::from_secs(5));
        assert_eq!(evict_in(&for_ever, &[taint("k"), taint(UNREACHABLE)], bound, now), None);
    }
}
