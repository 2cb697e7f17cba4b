//! The status of an owner, and whether it differs from the written one.

use super::owner::Replicated;
use super::plan::Counts;
use barepod_client::types::Time;
use jiff::Timestamp;
use serde_json::{Value, json};

/// A failure to create or delete pods, reported as the condition ReplicaFailure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// The merge patch for the status subresource; `None` if nothing changed.
pub(super) fn patch<K: Replicated>(
    owner: &K,
    counts: &Counts,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Option<Value> {
    let old = owner.status();
    let mut wanted = json!({
        "replicas": counts.replicas,
        "fullyLabeledReplicas": counts.fully_labeled,
        "readyReplicas": counts.ready,
        "availableReplicas": counts.available,
        "observedGeneration": owner.meta().generation.unwrap_or(0),
    });
    let changed = [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
    ]
    .iter()
    .any(|field| old.get(*field).and_then(Value::as_i64).unwrap_or(0) != wanted[*field].as_i64().unwrap_or(0));
    let conditions = conditions(&old, failure, now);
    let conditions_changed = conditions.is_some();
    if let Some(conditions) = conditions {
        wanted["conditions"] = conditions;
    }
    // A status that was never written must say so once, even if all counts are zero.
    let unwritten = old.get("observedGeneration").is_none() && owner.meta().generation.is_some();
    (changed || conditions_changed || unwritten).then(|| json!({ "status": wanted }))
}

/// The new list of conditions if ReplicaFailure appears, changes or goes.
fn conditions(old: &Value, failure: Option<&Failure>, now: Timestamp) -> Option<Value> {
    let old: &[Value] = old
        .get("conditions")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice);
    let is_failure = |c: &&Value| c["type"] == "ReplicaFailure";
    let known = old.iter().find(is_failure);
    let same = match (known, failure) {
        (None, None) => true,
        // The message names the pod that could not be made, which is another one every time.
        (Some(known), Some(failure)) => known["reason"] == failure.reason,
        _ => false,
    };
    if same {
        return None;
    }
    let mut list: Vec<Value> = old.iter().filter(|c| !is_failure(c)).cloned().collect();
    list.extend(failure.map(|failure| {
        json!({
            "type": "ReplicaFailure", "status": "True", "reason": failure.reason, "message": failure.message,
            "lastTransitionTime": Time(now),
        })
    }));
    Some(Value::Array(list))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::ReplicaSet;

    fn set(status: Value) -> ReplicaSet {
        serde_json::from_value(json!({"metadata": {"name": "r", "generation": 2}, "status": status})).unwrap()
    }

    const COUNTS: Counts = Counts {
        replicas: 2,
        fully_labeled: 2,
        ready: 1,
        available: 1,
        recheck: None,
    };

    #[test]
    fn writes_only_what_changed() {
        let now = Timestamp::UNIX_EPOCH;
        let same = json!({
            "replicas": 2, "fullyLabeledReplicas": 2, "readyReplicas": 1, "availableReplicas": 1, "observedGeneration": 2,
        });
        assert!(patch(&set(same), &COUNTS, None, now).is_none());
        let change = patch(&set(json!({"replicas": 2})), &COUNTS, None, now).unwrap();
        assert_eq!(change["status"]["readyReplicas"], 1);
        assert!(change["status"].get("conditions").is_none());
    }

    #[test]
    fn reports_a_failure_once_and_takes_it_back() {
        let now = Timestamp::UNIX_EPOCH;
        let failure = Failure {
            reason: "FailedCreate",
            message: "no".into(),
        };
        let change = patch(&set(json!({})), &COUNTS, Some(&failure), now).unwrap();
        let failed = set(change["status"].clone());
        assert!(patch(&failed, &COUNTS, Some(&failure), now).is_none());
        let again = Failure {
            message: "not this one either".into(),
            ..failure
        };
        assert!(patch(&failed, &COUNTS, Some(&again), now).is_none());
        let cleared = patch(&failed, &COUNTS, None, now).unwrap();
        assert_eq!(cleared["status"]["conditions"], json!([]));
    }
}
