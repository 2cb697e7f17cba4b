//! When each node was last heard of, by this machine's clock: the clocks of nodes are not to be trusted.

use crate::objects::{Lease, Node};
use barepod_client::types::{MicroTime, Time};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// The namespace of the Leases that nodes renew.
const LEASES: &str = "kube-node-lease";

#[derive(Default)]
pub(super) struct Heartbeats {
    nodes: HashMap<String, Heard>,
}

struct Heard {
    at: Instant,
    renewed: Option<MicroTime>,
    posted: Option<(String, Option<Time>)>,
}

impl Heartbeats {
    /// How long the node has been silent; the time counts from when it was first asked for.
    pub(super) fn silence(&mut self, node: &str, now: Instant) -> Duration {
        now.saturating_duration_since(self.of(node, now).at)
    }

    fn of(&mut self, node: &str, now: Instant) -> &mut Heard {
        self.nodes.entry(node.to_owned()).or_insert(Heard {
            at: now,
            renewed: None,
            posted: None,
        })
    }

    /// Takes in a Lease; says whether a silence ended that was at least `grace` long.
    pub(super) fn lease(&mut self, lease: &Lease, now: Instant, grace: Duration) -> Option<String> {
        if lease.metadata.namespace.as_deref() != Some(LEASES) {
            return None;
        }
        let renewed = lease.spec.renew_time.clone()?;
        let node = lease.metadata.name.clone()?;
        let heard = self.of(&node, now);
        if heard.renewed.as_ref() == Some(&renewed) {
            return None;
        }
        let was_silent = now.saturating_duration_since(heard.at) >= grace;
        heard.renewed = Some(renewed);
        heard.at = now;
        was_silent.then_some(node)
    }

    /// Takes in a status; one that is not Unknown and new was posted by the node itself.
    pub(super) fn node(&mut self, node: &Node, now: Instant) {
        let ready = super::conditions::condition(node, "Ready");
        let posted = ready.map(|c| (c.status.clone(), c.last_heartbeat_time.clone()));
        let heard = self.of(node.metadata.name.as_deref().unwrap_or_default(), now);
        if heard.posted != posted {
            if posted.as_ref().is_some_and(|(status, _)| status != "Unknown") {
                heard.at = now;
            }
            heard.posted = posted;
        }
    }

    pub(super) fn forget(&mut self, node: &str) {
        self.nodes.remove(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const GRACE: Duration = Duration::from_secs(40);

    fn lease(namespace: &str, renewed: &str) -> Lease {
        let metadata = json!({"name": "n", "namespace": namespace});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"renewTime": renewed}})).unwrap()
    }

    #[test]
    fn a_node_that_reports_itself_again_is_alive() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let node = |status: &str| -> Node {
            let ready = json!({"type": "Ready", "status": status, "lastHeartbeatTime": "2026-01-01T00:00:00Z"});
            serde_json::from_value(json!({"metadata": {"name": "n"}, "status": {"conditions": [ready]}})).unwrap()
        };
        let mut heartbeats = Heartbeats::default();
        heartbeats.node(&node("True"), at(0));
        heartbeats.node(&node("True"), at(50));
        assert_eq!(heartbeats.silence("n", at(50)), Duration::from_secs(50));
        heartbeats.node(&node("Unknown"), at(51));
        assert_eq!(heartbeats.silence("n", at(51)), Duration::from_secs(51), "that was us");
        heartbeats.node(&node("True"), at(60));
        assert_eq!(heartbeats.silence("n", at(61)), Duration::from_secs(1));
    }

    #[test]
    fn counts_from_the_last_new_renewal() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut heartbeats = Heartbeats::default();
        assert_eq!(
            heartbeats.lease(&lease(LEASES, "2026-01-01T00:00:00.000000Z"), at(0), GRACE),
            None
        );
        assert_eq!(heartbeats.silence("n", at(30)), Duration::from_secs(30));
        heartbeats.lease(&lease(LEASES, "2026-01-01T00:00:00.000000Z"), at(30), GRACE);
        assert_eq!(
            heartbeats.silence("n", at(31)),
            Duration::from_secs(31),
            "the same renewal again is no sign of life"
        );
        heartbeats.lease(&lease("elsewhere", "2026-01-01T00:00:09.000000Z"), at(32), GRACE);
        let back = heartbeats.lease(&lease(LEASES, "2026-01-01T00:00:10.000000Z"), at(41), GRACE);
        assert_eq!(back.as_deref(), Some("n"));
        assert_eq!(heartbeats.silence("n", at(42)), Duration::from_secs(1));
    }
}
