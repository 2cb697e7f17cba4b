//! Spreads a change of a Deployment's size over the ReplicaSets that have pods, in proportion.

use super::limits::limits;
use super::plan::Step;
use super::revision;
use super::sets::Sets;
use crate::objects::{Deployment, ReplicaSet};
use std::cmp::Reverse;
use std::sync::Arc;

/// Whether the Deployment was resized since it last sized its ReplicaSets.
pub(super) fn is_due(deployment: &Deployment, sets: &Sets) -> bool {
    sets.active()
        .iter()
        .any(|set| revision::desired(set).is_some_and(|size| size != deployment.replicas()))
}

/// The steps that bring the sum of all ReplicaSets to the Deployment's size.
pub(super) fn plan(deployment: &Deployment, sets: &Sets) -> Vec<Step> {
    let wanted = deployment.replicas();
    if let Some(only) = sets.active_or_latest() {
        return Step::scale(deployment, &only, wanted).into_iter().collect();
    }
    if sets.new.as_ref().is_some_and(|new| is_saturated(deployment, new)) {
        return sets
            .old_active()
            .iter()
            .filter_map(|set| Step::scale(deployment, set, 0))
            .collect();
    }
    if deployment.is_recreate() {
        return Vec::new();
    }
    proportional(deployment, sets)
}

fn is_saturated(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let wanted = deployment.replicas();
    set.replicas() == wanted && revision::desired(set) == Some(wanted) && set.available() == wanted
}

fn proportional(deployment: &Deployment, sets: &Sets) -> Vec<Step> {
    let wanted = deployment.replicas();
    let allowed = if wanted > 0 {
        wanted + limits(deployment).surge
    } else {
        0
    };
    let to_add = allowed - sets.wanted();
    // Larger sets first; of equal ones the newer when growing, the older when shrinking.
    let mut active: Vec<(usize, Arc<ReplicaSet>)> = sets.active().into_iter().enumerate().collect();
    match to_add > 0 {
        true => active.sort_by_key(|(age, set)| (Reverse(set.replicas()), Reverse(*age))),
        false => active.sort_by_key(|(age, set)| (Reverse(set.replicas()), *age)),
    }
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::with_capacity(active.len());
    for (_, set) in &active {
        let share = share(deployment, set, to_add, added);
        added += share;
        sizes.push(set.replicas() + share);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    active
        .iter()
        .zip(sizes)
        .filter_map(|((_, set), size)| Step::scale(deployment, set, size))
        .collect()
}

/// What `set` gains or loses so that it keeps its share of the sum.
fn share(deployment: &Deployment, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
    if to_add == 0 || set.replicas() == 0 {
        return 0;
    }
    let left = to_add - added;
    let fraction = if deployment.replicas() == 0 {
        -set.replicas()
    } else {
        let total = i64::from(deployment.replicas() + limits(deployment).surge);
        let before = i64::from(revision::maximum(set).or(deployment.status.replicas).unwrap_or(0)).max(1);
        let exact = i64::from(set.replicas()) * total;
        let rounded = (2 * exact + before) / (2 * before);
        i32::try_from(rounded).unwrap_or(i32::MAX) - set.replicas()
    };
    if to_add > 0 {
        fraction.min(left)
    } else {
        fraction.max(left)
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::{deployment, set, sizes};
    use super::*;
    use serde_json::json;

    #[test]
    fn a_single_set_takes_the_whole_size() {
        let d = deployment(5, json!({}));
        let sets = Sets {
            new: Some(set("new", 3, 3, 3)),
            old: vec![set("old", 0, 0, 3)],
        };
        assert!(is_due(&d, &sets));
        assert_eq!(sizes(&plan(&d, &sets)), [("new".to_owned(), 5)]);
    }

    #[test]
    fn growth_during_a_rollout_is_shared() {
        // 10 wanted with a surge of 3 of which 8 are old and 5 new; now 20 are wanted.
        let d = deployment(20, json!({"maxSurge": 3, "maxUnavailable": 2}));
        let sets = Sets {
            new: Some(set("new", 5, 5, 10)),
            old: vec![set("old", 8, 8, 10)],
        };
        let sizes = sizes(&plan(&d, &sets));
        let total: i32 = sizes.iter().map(|(_, size)| size).sum();
        assert_eq!(total, 23);
        assert_eq!(sizes[0], ("old".to_owned(), 14));
        assert_eq!(sizes[1], ("new".to_owned(), 9));
    }

    #[test]
    fn to_nothing() {
        let d = deployment(0, json!({}));
        let sets = Sets {
            new: Some(set("new", 5, 5, 10)),
            old: vec![set("old", 8, 8, 10)],
        };
        assert!(sizes(&plan(&d, &sets)).iter().all(|(_, size)| *size == 0));
    }
}
