//! Which pods to delete first when there are too many.

use crate::objects::Pod;
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

/// The `count` pods whose loss hurts least: not bound before bound, Pending before Running, not ready before ready,
/// cheap before dear, crowded nodes before lonely ones, ready for a short time before a long one, restarted more before
/// less, young before old. `related` are the active pods that do the same work, also those of sibling owners.
pub(super) fn victims(pods: &[Arc<Pod>], related: &[Arc<Pod>], count: usize) -> Vec<Arc<Pod>> {
    if count >= pods.len() {
        return pods.to_vec();
    }
    let mut crowd: HashMap<&str, usize> = HashMap::new();
    for pod in related {
        if let Some(node) = pod.node() {
            *crowd.entry(node).or_default() += 1;
        }
    }
    let mut ranked = pods.to_vec();
    ranked.sort_by_cached_key(|pod| {
        let neighbours = pod.node().and_then(|node| crowd.get(node)).copied().unwrap_or(0);
        let phase = match pod.phase() {
            "Running" => 2,
            "Unknown" => 1,
            _ => 0,
        };
        let created = pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |t| t.0);
        let ready_since = pod.ready_since().map_or(Timestamp::MAX, |t| t.0);
        (
            (pod.node().is_some(), phase, pod.is_ready()),
            pod.deletion_cost(),
            Reverse(neighbours),
            Reverse(ready_since),
            Reverse(pod.restarts()),
            Reverse(created),
            pod.name().to_owned(),
        )
    });
    ranked.truncate(count);
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, node: Option<&str>, phase: &str, ready_at: Option<&str>, extra: Value) -> Arc<Pod> {
        let conditions: Vec<Value> = ready_at
            .map(|at| json!({"type": "Ready", "status": "True", "lastTransitionTime": at}))
            .into_iter()
            .collect();
        let mut metadata = json!({"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"});
        metadata
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().cloned().unwrap_or_default());
        let status = json!({"phase": phase, "conditions": conditions});
        let object = json!({"metadata": metadata, "spec": {"nodeName": node}, "status": status});
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn first(pods: &[Arc<Pod>]) -> String {
        victims(pods, pods, 1)[0].name().to_owned()
    }

    const T1: Option<&str> = Some("2026-01-01T00:00:01Z");
    const T2: Option<&str> = Some("2026-01-01T00:00:02Z");

    #[test]
    fn prefers_pods_that_do_not_serve() {
        let ready = pod("ready", Some("n"), "Running", T1, json!({}));
        let running = pod("running", Some("n"), "Running", None, json!({}));
        let pending = pod("pending", Some("n"), "Pending", None, json!({}));
        let unbound = pod("unbound", None, "Pending", None, json!({}));
        assert_eq!(
            first(&[ready.clone(), running.clone(), pending.clone(), unbound]),
            "unbound"
        );
        assert_eq!(first(&[ready.clone(), running.clone(), pending]), "pending");
        assert_eq!(first(&[ready, running]), "running");
    }

    #[test]
    fn then_cost_crowd_and_age_of_readiness() {
        let cost = |c: &str| json!({"annotations": {"controller.kubernetes.io/pod-deletion-cost": c}});
        let cheap = pod("cheap", Some("n"), "Running", T1, cost("-5"));
        let dear = pod("dear", Some("n"), "Running", T2, cost("5"));
        assert_eq!(first(&[dear, cheap]), "cheap");

        let lonely = pod("lonely", Some("a"), "Running", T2, json!({}));
        let crowded = [
            pod("c1", Some("b"), "Running", T1, json!({})),
            pod("c2", Some("b"), "Running", T2, json!({})),
        ];
        assert_eq!(first(&[lonely, crowded[0].clone(), crowded[1].clone()]), "c2");
    }

    #[test]
    fn all_when_all_must_go() {
        let pods = [pod("a", None, "Pending", None, json!({}))];
        assert_eq!(victims(&pods, &pods, 3).len(), 1);
    }
}
