//! RollingUpdate: the new ReplicaSet grows within the surge, old ones shrink as far as enough pods are available.

use super::limits::limits;
use super::plan::Step;
use super::sets::Sets;
use crate::objects::Deployment;

/// How large the new ReplicaSet may be now.
pub(super) fn new_size(deployment: &Deployment, present: i32, total: i32) -> i32 {
    let wanted = deployment.replicas();
    if deployment.is_recreate() {
        return wanted;
    }
    let room = wanted + limits(deployment).surge - total;
    if room <= 0 {
        present
    } else {
        present + room.min(wanted - present).max(0)
    }
}

/// The steps of this moment; the new ReplicaSet exists.
pub(super) fn plan(deployment: &Deployment, sets: &Sets) -> Vec<Step> {
    let Some(new) = &sets.new else { return Vec::new() };
    let wanted = deployment.replicas();
    let target = if new.replicas() > wanted {
        wanted
    } else {
        new_size(deployment, new.replicas(), sets.wanted())
    };
    let mut steps: Vec<Step> = Step::scale(deployment, new, target).into_iter().collect();
    steps.extend(shrink_old(deployment, sets, target));
    steps
}

fn shrink_old(deployment: &Deployment, sets: &Sets, new_target: i32) -> Vec<Step> {
    let old = sets.old_active();
    let Some(new) = &sets.new else { return Vec::new() };
    if old.is_empty() {
        return Vec::new();
    }
    let minimum = deployment.replicas() - limits(deployment).unavailable;
    let old_wanted: i32 = old.iter().map(|s| s.replicas()).sum();
    let new_unavailable = (new_target - new.available()).max(0);
    // Counting every pod that does not serve yet as lost, this many may go.
    let mut budget = old_wanted + new_target - minimum - new_unavailable;
    if budget <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i32> = old.iter().map(|s| s.replicas()).collect();
    // Pods that do not serve go first: they cost nothing and may block the update for ever.
    for (set, size) in old.iter().zip(&mut sizes) {
        let unhealthy = (*size - set.available()).clamp(0, budget);
        *size -= unhealthy;
        budget -= unhealthy;
    }
    let mut spare = (sets.available() - minimum).min(budget).max(0);
    for size in &mut sizes {
        let less = (*size).min(spare);
        *size -= less;
        spare -= less;
    }
    old.iter()
        .zip(sizes)
        .filter(|(s, size)| s.replicas() != *size)
        .filter_map(|(s, size)| Step::scale(deployment, s, size))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::{deployment, set, sizes};
    use super::*;
    use serde_json::json;

    fn names(steps: &[Step]) -> Vec<(String, i32)> {
        sizes(steps)
    }

    #[test]
    fn first_surges_then_shrinks() {
        let d = deployment(4, json!({"maxSurge": 1, "maxUnavailable": 0}));
        let sets = Sets {
            new: Some(set("new", 0, 0, 4)),
            old: vec![set("old", 4, 4, 4)],
        };
        assert_eq!(names(&plan(&d, &sets)), [("new".into(), 1)]);
        let sets = Sets {
            new: Some(set("new", 1, 0, 4)),
            old: vec![set("old", 4, 4, 4)],
        };
        assert!(names(&plan(&d, &sets)).is_empty(), "waits for the new pod");
        let sets = Sets {
            new: Some(set("new", 1, 1, 4)),
            old: vec![set("old", 4, 4, 4)],
        };
        assert_eq!(names(&plan(&d, &sets)), [("old".into(), 3)]);
        let sets = Sets {
            new: Some(set("new", 1, 1, 4)),
            old: vec![set("old", 3, 4, 4)],
        };
        assert_eq!(
            names(&plan(&d, &sets)),
            [("new".into(), 2)],
            "an old status does not count twice"
        );
    }

    #[test]
    fn uses_what_may_be_unavailable_at_once() {
        let d = deployment(4, json!({"maxSurge": 0, "maxUnavailable": 2}));
        let sets = Sets {
            new: Some(set("new", 0, 0, 4)),
            old: vec![set("old", 4, 4, 4)],
        };
        assert_eq!(names(&plan(&d, &sets)), [("old".into(), 2)]);
    }

    #[test]
    fn broken_old_pods_go_first() {
        let d = deployment(4, json!({"maxSurge": 2, "maxUnavailable": 0}));
        let sets = Sets {
            new: Some(set("new", 2, 0, 4)),
            old: vec![set("bad", 2, 0, 4), set("good", 4, 4, 4)],
        };
        let steps = plan(&d, &sets);
        assert_eq!(names(&steps), [("bad".into(), 0)]);
    }

    #[test]
    fn never_below_the_minimum() {
        for surge in 0..3 {
            for unavailable in 0..3 {
                for ready in 0..=4 {
                    let d = deployment(4, json!({"maxSurge": surge, "maxUnavailable": unavailable}));
                    let l = limits(&d);
                    let sets = Sets {
                        new: Some(set("new", 2, ready.min(2), 4)),
                        old: vec![set("old", 3, ready.min(3), 4)],
                    };
                    let before = sets.available();
                    let lost: i32 = names(&plan(&d, &sets))
                        .iter()
                        .filter(|(n, _)| n == "old")
                        .map(|(_, size)| (ready.min(3) - size).max(0))
                        .sum();
                    assert!(
                        lost == 0 || before - lost >= 4 - l.unavailable,
                        "{surge} {unavailable} {ready}"
                    );
                }
            }
        }
    }
}
