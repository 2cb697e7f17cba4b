//! The conditions of a node that is silent, and the taints that follow from conditions.

use crate::objects::Node;
use barepod_client::types::Time;
use barepod_client::types::{NodeCondition, Taint};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The conditions a node reports about itself.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// Taints with the effect NoSchedule: condition, its status, key of the taint.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

pub(super) fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.conditions.iter().find(|c| c.type_ == kind)
}

/// The strategic merge patch that makes the conditions of a silent node Unknown; `None` if they are.
pub(super) fn unknown(node: &Node, now: Timestamp) -> Option<Value> {
    let changed: Vec<Value> = REPORTED
        .iter()
        .filter_map(|kind| {
            let old = condition(node, kind);
            if old.is_some_and(|c| c.status == "Unknown") {
                return None;
            }
            let (reason, message) = match old {
                Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
                None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
            };
            let heartbeat = old
                .and_then(|c| c.last_heartbeat_time.clone())
                .or(node.metadata.creation_timestamp.clone());
            Some(json!({
                "type": kind, "status": "Unknown", "reason": reason, "message": message,
                "lastHeartbeatTime": heartbeat, "lastTransitionTime": Time(now),
            }))
        })
        .collect();
    (!changed.is_empty()).then(|| json!({"status": {"conditions": changed}}))
}

/// The taints the node should have; `None` if it has them. Taints of others stay.
pub(super) fn taints(node: &Node, now: Timestamp) -> Option<Vec<Taint>> {
    let present = node.spec.taints.clone();
    let ready = condition(node, "Ready").map(|c| c.status.as_str());
    let mut wanted: Vec<(&str, &str)> = BY_CONDITION
        .iter()
        .filter(|(kind, status, _)| condition(node, kind).is_some_and(|c| c.status == *status))
        .map(|(_, _, key)| (*key, "NoSchedule"))
        .collect();
    match ready {
        Some("False") => wanted.push((NOT_READY, "NoExecute")),
        Some("Unknown") => wanted.push((UNREACHABLE, "NoExecute")),
        _ => {}
    }
    if node.spec.unschedulable == Some(true) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let ours = |taint: &Taint| {
        let readiness = taint.key == NOT_READY || taint.key == UNREACHABLE;
        // A node that has not reported yet keeps the taint it was registered with.
        let reported = !readiness || ready.is_some();
        let known = readiness || taint.key == UNSCHEDULABLE || BY_CONDITION.iter().any(|(_, _, key)| *key == taint.key);
        known && reported && matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
    };
    let is = |taint: &Taint, (key, effect): &(&str, &str)| taint.key == *key && taint.effect == *effect;
    let mut result: Vec<Taint> = present
        .iter()
        .filter(|t| !ours(t) || wanted.iter().any(|w| is(t, w)))
        .cloned()
        .collect();
    for want in &wanted {
        if !result.iter().any(|t| is(t, want)) {
            result.push(Taint {
                key: want.0.to_owned(),
                effect: want.1.to_owned(),
                value: None,
                time_added: (want.1 == "NoExecute").then_some(Time(now)),
            });
        }
    }
    (result != present).then_some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ready: Option<&str>, spec: Value) -> Node {
        let conditions: Vec<Value> = ready
            .map(|s| json!({"type": "Ready", "status": s}))
            .into_iter()
            .collect();
        serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": spec, "status": {"conditions": conditions}}))
            .unwrap()
    }

    fn keys(taints: &[Taint]) -> Vec<String> {
        taints
            .iter()
            .map(|t| format!("{}:{}", t.key.rsplit('/').next().unwrap(), t.effect))
            .collect()
    }

    #[test]
    fn follows_readiness() {
        let now = Timestamp::UNIX_EPOCH;
        let silent = taints(&node(Some("Unknown"), json!({})), now).unwrap();
        assert_eq!(keys(&silent), ["unreachable:NoSchedule", "unreachable:NoExecute"]);
        assert!(silent[0].time_added.is_none() && silent[1].time_added.is_some());
        let back = taints(&node(Some("True"), json!({"taints": silent.clone()})), now).unwrap();
        assert!(back.is_empty());
        assert!(taints(&node(Some("Unknown"), json!({"taints": silent})), now).is_none());
        assert!(taints(&node(Some("True"), json!({})), now).is_none());
    }

    #[test]
    fn keeps_the_taints_of_others_and_of_registration() {
        let now = Timestamp::UNIX_EPOCH;
        let own = json!({"taints": [{"key": "team", "value": "x", "effect": "NoSchedule"}], "unschedulable": true});
        let both = taints(&node(Some("True"), own), now).unwrap();
        assert_eq!(keys(&both), ["team:NoSchedule", "unschedulable:NoSchedule"]);
        let registered = json!({"taints": [{"key": NOT_READY, "effect": "NoSchedule"}]});
        assert!(taints(&node(None, registered.clone()), now).is_none());
        assert_eq!(taints(&node(Some("True"), registered), now), Some(vec![]));
    }

    #[test]
    fn silence_makes_conditions_unknown_once() {
        let now = Timestamp::UNIX_EPOCH;
        let patch = unknown(&node(Some("True"), json!({})), now).unwrap();
        let list = patch["status"]["conditions"].as_array().unwrap();
        assert_eq!(list.len(), 4);
        assert_eq!(list[0]["reason"], "NodeStatusUnknown");
        assert_eq!(list[1]["reason"], "NodeStatusNeverUpdated");
        let done: Node = serde_json::from_value(json!({"metadata": {"name": "n"}, "status": patch["status"]})).unwrap();
        assert!(unknown(&done, now).is_none());
    }
}
