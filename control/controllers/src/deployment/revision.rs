//! The numbering of rollouts, kept in annotations that `kubectl rollout history` and `undo` read.

use super::limits::limits;
use super::sets::Sets;
use crate::objects::{Deployment, ReplicaSet};
use crate::selector::Labels;
use barepod_client::types::ObjectMeta;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of a Deployment that its ReplicaSets do not take over.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
];

/// The most characters of history kept.
const HISTORY_LENGTH: usize = 2000;

fn annotation<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(name).map(String::as_str)
}

/// The revision an object says it is; zero if none.
pub(super) fn revision(meta: &ObjectMeta) -> i64 {
    annotation(meta, REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
}

/// The revision the new ReplicaSet must have.
pub(super) fn next(sets: &Sets) -> i64 {
    sets.old.iter().map(|s| revision(&s.metadata)).max().unwrap_or(0) + 1
}

/// The size of the Deployment when it last sized this ReplicaSet.
pub(super) fn desired(set: &ReplicaSet) -> Option<i32> {
    annotation(&set.metadata, DESIRED)?.parse().ok()
}

/// The largest sum of pods allowed when it last sized this ReplicaSet.
pub(super) fn maximum(set: &ReplicaSet) -> Option<i32> {
    annotation(&set.metadata, MAXIMUM)?.parse().ok()
}

/// The annotations that record a sizing, as far as they differ from those of `set`.
pub(super) fn sizing(deployment: &Deployment, set: Option<&ReplicaSet>) -> Labels {
    let wanted = deployment.replicas();
    let sizing = [
        (DESIRED, wanted.to_string()),
        (MAXIMUM, (wanted + limits(deployment).surge).to_string()),
    ];
    sizing
        .into_iter()
        .filter(|(name, value)| set.and_then(|s| annotation(&s.metadata, name)) != Some(value))
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The annotations the new ReplicaSet lacks: those of the Deployment, and its revision.
pub(super) fn missing(deployment: &Deployment, set: Option<&ReplicaSet>, next: i64) -> Labels {
    let has = |name: &str| set.and_then(|s| annotation(&s.metadata, name));
    let mut missing: Labels = deployment
        .metadata
        .annotations
        .iter()
        .flatten()
        .filter(|(name, value)| !OWN.contains(&name.as_str()) && has(name) != Some(value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let before = set.map_or(0, |s| revision(&s.metadata));
    if before < next {
        missing.insert(REVISION.to_owned(), next.to_string());
        if before > 0 {
            missing.insert(HISTORY.to_owned(), history(has(HISTORY), before));
        }
    }
    missing
}

fn history(earlier: Option<&str>, add: i64) -> String {
    let mut entries: Vec<String> = earlier.unwrap_or_default().split(',').map(str::to_owned).collect();
    entries.retain(|e| !e.is_empty());
    entries.push(add.to_string());
    while entries.join(",").len() > HISTORY_LENGTH {
        entries.remove(0);
    }
    entries.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn takes_over_annotations_but_not_its_own() {
        let deployment: Deployment = serde_json::from_value(json!({"metadata": {"annotations": {
            "kubernetes.io/change-cause": "because", REVISION: "7", "kubectl.kubernetes.io/last-applied-configuration": "{}",
        }}}))
        .unwrap();
        let missing = missing(&deployment, None, 3);
        assert_eq!(missing.len(), 2);
        assert_eq!(missing["kubernetes.io/change-cause"], "because");
        assert_eq!(missing[REVISION], "3");
    }

    #[test]
    fn a_revived_revision_remembers_its_history() {
        let set: ReplicaSet =
            serde_json::from_value(json!({"metadata": {"annotations": {REVISION: "2", HISTORY: "1"}}})).unwrap();
        let missing = missing(&Deployment::default(), Some(&set), 4);
        assert_eq!(missing[REVISION], "4");
        assert_eq!(missing[HISTORY], "1,2");
        assert!(super::missing(&Deployment::default(), Some(&set), 2).is_empty());
    }
}
