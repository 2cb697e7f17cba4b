//! The status of a Deployment: counts, and the conditions that `kubectl rollout status` and `kubectl wait` read.

use super::conditions::{self, Says};
use super::limits::limits;
use super::sets::Sets;
use crate::objects::Deployment;
use crate::objects::DeploymentStatus;
use jiff::Timestamp;
use std::time::Duration;

/// What the rollout did just now, for the condition Progressing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// A ReplicaSet was made.
    Created(String),
    /// Making it failed.
    CreateFailed(String),
}

/// The status to write, and when the progress deadline must be looked at.
pub(super) fn compute(
    deployment: &Deployment,
    sets: &Sets,
    progress: Option<&Progress>,
    now: Timestamp,
) -> (DeploymentStatus, Option<Duration>) {
    let mut status = counts(deployment, sets);
    let mut conditions = deployment.status.conditions.clone().unwrap_or_default();
    let minimum = deployment.replicas() - limits(deployment).unavailable;
    let (value, reason, message) = match status.available_replicas.unwrap_or(0) >= minimum {
        true => (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        ),
        false => (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        ),
    };
    conditions::put(
        &mut conditions,
        &Says {
            kind: "Available",
            status: value,
            reason,
            message,
        },
        now,
    );
    conditions::progressing(deployment, sets, &status, &mut conditions, progress, now);
    conditions::replica_failure(sets, &mut conditions, now);
    let recheck = conditions::deadline(deployment, &status, sets, &conditions, now);
    status.conditions = Some(conditions);
    (status, recheck)
}

fn counts(deployment: &Deployment, sets: &Sets) -> DeploymentStatus {
    let sum = |f: fn(&crate::objects::ReplicaSet) -> i32| sets.all().map(|s| f(s)).sum::<i32>();
    let available = sum(|s| s.available());
    let positive = |n: i32| Some(n).filter(|n| *n > 0);
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: positive(sum(|s| s.status.replicas)),
        updated_replicas: positive(sets.new.as_ref().map_or(0, |s| s.status.replicas)),
        ready_replicas: positive(sum(|s| s.status.ready_replicas.unwrap_or(0))),
        available_replicas: positive(available),
        unavailable_replicas: positive(sets.wanted() - available),
        collision_count: deployment.status.collision_count,
        terminating_replicas: deployment.status.terminating_replicas,
        conditions: None,
    }
}

/// Whether every wanted pod is of the new template and available, and no other is left.
pub(super) fn is_complete(deployment: &Deployment, sets: &Sets) -> bool {
    is_status_complete(deployment, &counts(deployment, sets))
}

/// The same for counts that are known.
pub(super) fn is_status_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = deployment.replicas();
    [status.updated_replicas, status.replicas, status.available_replicas]
        .iter()
        .all(|n| n.unwrap_or(0) == wanted)
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::{deployment, set};
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn reason(status: &DeploymentStatus, kind: &str) -> String {
        conditions::find(status.conditions.as_ref().unwrap(), kind)
            .and_then(|c| c.reason.clone())
            .unwrap_or_default()
    }

    fn with_deadline(replicas: i32) -> Deployment {
        let mut d = deployment(replicas, json!({"maxSurge": 1, "maxUnavailable": 0}));
        d.spec.progress_deadline_seconds = Some(600);
        d
    }

    #[test]
    fn a_rollout_from_start_to_end() {
        let mut d = with_deadline(2);
        let sets = Sets {
            new: Some(set("new", 2, 0, 2)),
            old: vec![],
        };
        let (status, recheck) = compute(&d, &sets, Some(&Progress::Created("new".into())), at(0));
        assert_eq!(reason(&status, "Progressing"), "NewReplicaSetCreated");
        assert_eq!(reason(&status, "Available"), "MinimumReplicasUnavailable");
        assert_eq!(status.unavailable_replicas, Some(2));
        assert_eq!(recheck, Some(Duration::from_secs(600)));

        d.status = status;
        let sets = Sets {
            new: Some(set("new", 2, 1, 2)),
            old: vec![],
        };
        let (status, _) = compute(&d, &sets, None, at(1));
        assert_eq!(reason(&status, "Progressing"), "ReplicaSetUpdated");

        d.status = status;
        let sets = Sets {
            new: Some(set("new", 2, 2, 2)),
            old: vec![],
        };
        let (status, recheck) = compute(&d, &sets, None, at(2));
        assert_eq!(reason(&status, "Progressing"), "NewReplicaSetAvailable");
        assert_eq!(reason(&status, "Available"), "MinimumReplicasAvailable");
        assert_eq!(
            (status.available_replicas, status.unavailable_replicas, recheck),
            (Some(2), None, None)
        );

        d.status = status.clone();
        assert_eq!(
            compute(&d, &sets, None, at(9)).0,
            status,
            "a settled status does not change with time"
        );
    }

    #[test]
    fn overdue_after_the_deadline_and_not_before() {
        let mut d = with_deadline(2);
        let sets = Sets {
            new: Some(set("new", 1, 0, 2)),
            old: vec![set("old", 2, 2, 2)],
        };
        d.status = compute(&d, &sets, Some(&Progress::Created("new".into())), at(0)).0;
        d.status = compute(&d, &sets, None, at(1)).0;
        let (status, recheck) = compute(&d, &sets, None, at(500));
        assert_ne!(reason(&status, "Progressing"), "ProgressDeadlineExceeded");
        assert!(recheck.is_some());
        let (status, recheck) = compute(&d, &sets, None, at(601));
        assert_eq!(reason(&status, "Progressing"), "ProgressDeadlineExceeded");
        assert_eq!(recheck, None);
    }

    #[test]
    fn a_pod_lost_after_the_rollout_does_not_restart_the_clock() {
        let mut d = with_deadline(2);
        let done = Sets {
            new: Some(set("new", 2, 2, 2)),
            old: vec![],
        };
        d.status = compute(&d, &done, None, at(0)).0;
        let lost = Sets {
            new: Some(set("new", 2, 1, 2)),
            old: vec![],
        };
        let (status, recheck) = compute(&d, &lost, None, at(5000));
        assert_eq!(reason(&status, "Progressing"), "NewReplicaSetAvailable");
        assert_eq!(recheck, None);
    }

    #[test]
    fn reviving_an_old_set_long_after_is_not_overdue() {
        let mut d = with_deadline(2);
        let done = Sets {
            new: Some(set("new", 2, 2, 2)),
            old: vec![],
        };
        d.status = compute(&d, &done, None, at(0)).0;
        let revived = Sets {
            new: Some(set("old", 0, 0, 2)),
            old: vec![set("new", 2, 2, 2)],
        };
        let (status, _) = compute(&d, &revived, None, at(5000));
        assert_ne!(reason(&status, "Progressing"), "ProgressDeadlineExceeded");
        d.status = status;
        let moving = Sets {
            new: Some(set("old", 1, 0, 2)),
            old: vec![set("new", 2, 2, 2)],
        };
        assert_eq!(
            reason(&compute(&d, &moving, None, at(5001)).0, "Progressing"),
            "ReplicaSetUpdated"
        );
    }

    #[test]
    fn pausing_shows_and_resuming_starts_anew() {
        let mut d = with_deadline(1);
        d.spec.paused = true;
        let sets = Sets { new: None, old: vec![] };
        d.status = compute(&d, &sets, None, at(0)).0;
        assert_eq!(reason(&d.status, "Progressing"), "DeploymentPaused");
        d.spec.paused = false;
        assert_eq!(
            reason(&compute(&d, &sets, None, at(1)).0, "Progressing"),
            "DeploymentResumed"
        );
    }

    #[test]
    fn shows_why_pods_cannot_be_made() {
        let d = with_deadline(1);
        let mut failing = (*set("new", 1, 0, 1)).clone();
        failing.status.conditions = serde_json::from_value(json!([
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"},
        ]))
        .unwrap();
        let sets = Sets {
            new: Some(std::sync::Arc::new(failing)),
            old: vec![],
        };
        assert_eq!(
            reason(&compute(&d, &sets, None, at(0)).0, "ReplicaFailure"),
            "FailedCreate"
        );
    }
}
