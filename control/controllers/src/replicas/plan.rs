//! From the wanted number of pods and the pods that exist to what must be created, deleted and reported.

use super::owner::Replicated;
use super::rank;
use crate::objects::Pod;
use crate::pods::available_in;
use crate::selector::{self, Labels};
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// The most pods created or deleted in one go.
const BURST: usize = 500;

/// What to do about the number of pods.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) create: usize,
    pub(super) delete: Vec<Arc<Pod>>,
}

/// The counted part of the status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) replicas: usize,
    pub(super) fully_labeled: usize,
    pub(super) ready: usize,
    pub(super) available: usize,
    /// When the next ready pod becomes available.
    pub(super) recheck: Option<Duration>,
}

/// Compares the wanted number with the active pods of the owner.
pub(super) fn plan<K: Replicated>(owner: &K, active: &[Arc<Pod>], related: &[Arc<Pod>]) -> Plan {
    if owner.meta().deletion_timestamp.is_some() {
        return Plan::default();
    }
    let wanted = usize::try_from(owner.replicas()).unwrap_or(0);
    if active.len() < wanted {
        return Plan {
            create: (wanted - active.len()).min(BURST),
            delete: Vec::new(),
        };
    }
    let surplus = (active.len() - wanted).min(BURST);
    Plan {
        create: 0,
        delete: if surplus == 0 {
            Vec::new()
        } else {
            rank::victims(active, related, surplus)
        },
    }
}

/// Counts the active pods for the status.
pub(super) fn count<K: Replicated>(owner: &K, active: &[Arc<Pod>], now: Timestamp) -> Counts {
    let labels: Labels = owner
        .template()
        .pointer("/metadata/labels")
        .and_then(Value::as_object)
        .map(|l| {
            l.iter()
                .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
                .collect()
        })
        .unwrap_or_default();
    let mut counts = Counts {
        replicas: active.len(),
        ..Counts::default()
    };
    for pod in active {
        counts.fully_labeled += usize::from(selector::has_all(&labels, pod.metadata.labels.as_ref()));
        let Some(wait) = available_in(pod, owner.min_ready_seconds(), now) else {
            continue;
        };
        counts.ready += 1;
        if wait.is_zero() {
            counts.available += 1;
        } else {
            counts.recheck = Some(counts.recheck.map_or(wait, |known| known.min(wait)));
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::ReplicaSet;
    use serde_json::json;

    fn set(replicas: i32, min_ready: i32) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": "r"},
            "spec": {
                "replicas": replicas, "minReadySeconds": min_ready, "selector": {"matchLabels": {"app": "a"}},
                "template": {"metadata": {"labels": {"app": "a", "tier": "t"}}},
            },
        }))
        .unwrap()
    }

    fn pod(name: &str, ready: bool, labels: Value) -> Arc<Pod> {
        let condition = json!({
            "type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": "1970-01-01T00:00:10Z",
        });
        let object = json!({
            "metadata": {"name": name, "labels": labels}, "spec": {"nodeName": "n"},
            "status": {"phase": "Running", "conditions": [condition]},
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn creates_what_is_missing_and_no_more_than_a_burst() {
        assert_eq!(plan(&set(3, 0), &[pod("a", true, json!({}))], &[]).create, 2);
        assert_eq!(plan(&set(9000, 0), &[], &[]).create, BURST);
        let mut deleting = set(3, 0);
        deleting.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        assert_eq!(plan(&deleting, &[], &[]).create, 0);
    }

    #[test]
    fn deletes_the_surplus() {
        let pods = [
            pod("a", true, json!({})),
            pod("b", false, json!({})),
            pod("c", true, json!({})),
        ];
        let plan = plan(&set(2, 0), &pods, &pods);
        assert_eq!(plan.create, 0);
        assert_eq!(plan.delete.iter().map(|p| p.name()).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn counts_for_the_status() {
        let pods = [
            pod("a", true, json!({"app": "a", "tier": "t"})),
            pod("b", true, json!({"app": "a"})),
            pod("c", false, json!({"app": "a"})),
        ];
        let now = Timestamp::from_second(15).unwrap();
        let counts = count(&set(3, 0), &pods, now);
        assert_eq!(
            counts,
            Counts {
                replicas: 3,
                fully_labeled: 1,
                ready: 2,
                available: 2,
                recheck: None
            }
        );
        let later = count(&set(3, 20), &pods, now);
        assert_eq!((later.available, later.recheck), (0, Some(Duration::from_secs(15))));
    }
}
