//! Drops old ReplicaSets beyond the history limit once a rollout is complete.

use super::plan::Step;
use super::revision;
use super::sets::Sets;
use super::status::is_complete;
use crate::objects::Deployment;

pub(super) fn plan(deployment: &Deployment, sets: &Sets) -> Vec<Step> {
    let Some(limit) = deployment
        .spec
        .revision_history_limit
        .and_then(|l| usize::try_from(l).ok())
    else {
        return Vec::new();
    };
    if !deployment.spec.paused && !is_complete(deployment, sets) {
        return Vec::new();
    }
    let mut old: Vec<_> = sets
        .old
        .iter()
        .filter(|s| s.metadata.deletion_timestamp.is_none())
        .collect();
    let surplus = old.len().saturating_sub(limit);
    old.sort_by_key(|s| revision::revision(&s.metadata));
    old.into_iter()
        .take(surplus)
        .filter(|s| s.replicas() == 0 && s.status.replicas == 0)
        .map(|s| Step::Delete(s.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::{deployment, set};
    use super::*;
    use serde_json::json;

    #[test]
    fn keeps_the_newest_up_to_the_limit() {
        let mut d = deployment(1, json!({}));
        d.spec.revision_history_limit = Some(1);
        let old = vec![set("a", 0, 0, 1), set("b", 0, 0, 1)];
        let sets = Sets {
            new: Some(set("new", 1, 1, 1)),
            old: old.clone(),
        };
        let steps = plan(&d, &sets);
        assert!(
            matches!(steps.as_slice(), [Step::Delete(s)] if s.name() == "a"),
            "{steps:?}"
        );
        let running = Sets {
            new: Some(set("new", 1, 0, 1)),
            old,
        };
        assert!(plan(&d, &running).is_empty(), "not while the rollout goes on");
    }
}
