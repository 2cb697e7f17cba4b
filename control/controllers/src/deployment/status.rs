//! The status of a Deployment: counts, and the conditions that `kubectl rollout status` and `kubectl wait` read.

use super::limits::limits;
use super::sets::Sets;
use crate::objects::Deployment;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
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
    let available = match status.available_replicas.unwrap_or(0) >= minimum {
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
    put(
        &mut conditions,
        "Available",
        available.0,
        available.1,
        available.2,
        now,
        false,
    );
    progressing(deployment, sets, &status, &mut conditions, progress, now);
    replica_failure(sets, &mut conditions, now);
    let recheck = deadline(deployment, &status, sets, &conditions, now);
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
    complete(deployment, &counts(deployment, sets))
}

fn complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = deployment.replicas();
    [status.updated_replicas, status.replicas, status.available_replicas]
        .iter()
        .all(|n| n.unwrap_or(0) == wanted)
}

fn find<'a>(conditions: &'a [DeploymentCondition], kind: &str) -> Option<&'a DeploymentCondition> {
    conditions.iter().find(|c| c.type_ == kind)
}

/// Sets a condition; its update time moves when something else changes, or when `touch` is set.
fn put(
    conditions: &mut Vec<DeploymentCondition>,
    kind: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
    touch: bool,
) {
    let now = Time(now);
    let old = conditions.iter().position(|c| c.type_ == kind);
    let fresh = DeploymentCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(now.clone()),
        last_transition_time: Some(now),
    };
    match old.map(|i| &mut conditions[i]) {
        None => conditions.push(fresh),
        Some(old) => {
            let same = old.status == fresh.status && old.reason == fresh.reason && old.message == fresh.message;
            if same && !touch {
                return;
            }
            let transition = if old.status == fresh.status {
                old.last_transition_time.clone()
            } else {
                None
            };
            let fresh_transition = fresh.last_transition_time.clone();
            *old = DeploymentCondition {
                last_transition_time: transition.or(fresh_transition),
                ..fresh
            };
        }
    }
}

fn progressing(
    deployment: &Deployment,
    sets: &Sets,
    status: &DeploymentStatus,
    conditions: &mut Vec<DeploymentCondition>,
    progress: Option<&Progress>,
    now: Timestamp,
) {
    const KIND: &str = "Progressing";
    let Some(limit) = watched_deadline(deployment) else {
        conditions.retain(|c| c.type_ != KIND);
        return;
    };
    let old_reason = find(conditions, KIND)
        .and_then(|c| c.reason.clone())
        .unwrap_or_default();
    if deployment.spec.paused {
        put(
            conditions,
            KIND,
            "Unknown",
            "DeploymentPaused",
            "Deployment is paused",
            now,
            false,
        );
        return;
    }
    if old_reason == "DeploymentPaused" {
        put(
            conditions,
            KIND,
            "Unknown",
            "DeploymentResumed",
            "Deployment is resumed",
            now,
            false,
        );
        return;
    }
    match progress {
        Some(Progress::Created(name)) => {
            let message = format!("Created new replica set \"{name}\"");
            put(conditions, KIND, "True", "NewReplicaSetCreated", &message, now, true);
            return;
        }
        Some(Progress::CreateFailed(message)) => {
            put(conditions, KIND, "False", "ReplicaSetCreateError", message, now, false);
            return;
        }
        None => {}
    }
    let Some(new) = &sets.new else { return };
    let name = new.name();
    if find(conditions, KIND).is_none() {
        let message = format!("Found new replica set \"{name}\"");
        put(conditions, KIND, "True", "FoundNewReplicaSet", &message, now, false);
    }
    let settled = old_reason == "NewReplicaSetAvailable" && status.replicas == status.updated_replicas;
    if complete(deployment, status) {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        put(conditions, KIND, "True", "NewReplicaSetAvailable", &message, now, false);
    } else if settled {
        // A pod that fails after the rollout is no lack of progress of the rollout.
    } else if has_progressed(&deployment.status, status) {
        let message = format!("ReplicaSet \"{name}\" is progressing.");
        put(conditions, KIND, "True", "ReplicaSetUpdated", &message, now, true);
    } else if find(conditions, KIND).is_some_and(|c| is_overdue(c, limit, now)) {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        put(
            conditions,
            KIND,
            "False",
            "ProgressDeadlineExceeded",
            &message,
            now,
            false,
        );
    }
}

/// The deadline in seconds; the largest number means none.
fn watched_deadline(deployment: &Deployment) -> Option<i32> {
    deployment.spec.progress_deadline_seconds.filter(|s| *s != i32::MAX)
}

fn has_progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let count = |n: Option<i32>| n.unwrap_or(0);
    let old_pods = |s: &DeploymentStatus| count(s.replicas) - count(s.updated_replicas);
    count(new.updated_replicas) > count(old.updated_replicas)
        || old_pods(new) < old_pods(old)
        || count(new.ready_replicas) > count(old.ready_replicas)
        || count(new.available_replicas) > count(old.available_replicas)
}

fn is_overdue(condition: &DeploymentCondition, limit: i32, now: Timestamp) -> bool {
    if condition.reason.as_deref() == Some("ProgressDeadlineExceeded") {
        return true;
    }
    let from = condition
        .last_update_time
        .as_ref()
        .or(condition.last_transition_time.as_ref());
    from.is_some_and(|from| now.duration_since(from.0).as_secs() >= i64::from(limit))
}

/// When to look again whether the rollout is overdue.
fn deadline(
    deployment: &Deployment,
    status: &DeploymentStatus,
    sets: &Sets,
    conditions: &[DeploymentCondition],
    now: Timestamp,
) -> Option<Duration> {
    let limit = watched_deadline(deployment)?;
    if deployment.spec.paused || sets.new.is_none() || complete(deployment, status) {
        return None;
    }
    let condition = find(conditions, "Progressing")?;
    let reason = condition.reason.as_deref().unwrap_or_default();
    if matches!(reason, "ProgressDeadlineExceeded" | "NewReplicaSetAvailable") {
        return None;
    }
    let from = condition.last_update_time.as_ref()?.0;
    let left = i64::from(limit) - now.duration_since(from).as_secs();
    Some(Duration::from_secs(u64::try_from(left.max(1)).unwrap_or(1)))
}

/// Shows the failure of a ReplicaSet to make pods, the new one's first.
fn replica_failure(sets: &Sets, conditions: &mut Vec<DeploymentCondition>, now: Timestamp) {
    const KIND: &str = "ReplicaFailure";
    let failure = sets
        .new
        .iter()
        .chain(sets.old.iter())
        .flat_map(|s| s.status.conditions.iter().flatten())
        .find(|c| c.type_ == KIND && c.status == "True");
    match failure {
        None => conditions.retain(|c| c.type_ != KIND),
        Some(failure) => {
            let reason = failure.reason.clone().unwrap_or_default();
            let message = failure.message.clone().unwrap_or_default();
            put(conditions, KIND, "True", &reason, &message, now, false);
        }
    }
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
        find(status.conditions.as_ref().unwrap(), kind)
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
