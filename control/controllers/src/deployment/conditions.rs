//! The conditions of a Deployment: Progressing and ReplicaFailure, and how a condition changes.

use super::sets::Sets;
use super::status::{Progress, is_status_complete};
use crate::objects::Deployment;
use crate::objects::{DeploymentCondition, DeploymentStatus};
use barepod_client::types::Time;
use jiff::Timestamp;
use std::time::Duration;

const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// What a condition is to say.
pub(super) struct Says<'a> {
    pub(super) kind: &'a str,
    pub(super) status: &'a str,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
}

pub(super) fn find<'a>(conditions: &'a [DeploymentCondition], kind: &str) -> Option<&'a DeploymentCondition> {
    conditions.iter().find(|c| c.type_ == kind)
}

/// Sets a condition; nothing changes if it says the same already.
pub(super) fn put(conditions: &mut Vec<DeploymentCondition>, says: &Says<'_>, now: Timestamp) {
    let same = |c: &DeploymentCondition| {
        c.status == says.status
            && c.reason.as_deref() == Some(says.reason)
            && c.message.as_deref() == Some(says.message)
    };
    if !find(conditions, says.kind).is_some_and(same) {
        touch(conditions, says, now);
    }
}

/// Sets a condition and moves its update time.
fn touch(conditions: &mut Vec<DeploymentCondition>, says: &Says<'_>, now: Timestamp) {
    let known = find(conditions, says.kind).filter(|c| c.status == says.status);
    let fresh = DeploymentCondition {
        type_: says.kind.to_owned(),
        status: says.status.to_owned(),
        reason: Some(says.reason.to_owned()),
        message: Some(says.message.to_owned()),
        last_update_time: Some(Time(now)),
        last_transition_time: known.and_then(|c| c.last_transition_time.clone()).or(Some(Time(now))),
    };
    match conditions.iter_mut().find(|c| c.type_ == says.kind) {
        Some(old) => *old = fresh,
        None => conditions.push(fresh),
    }
}

fn says<'a>(status: &'a str, reason: &'a str, message: &'a str) -> Says<'a> {
    Says {
        kind: PROGRESSING,
        status,
        reason,
        message,
    }
}

/// Sets Progressing from what was done and what the counts say.
pub(super) fn progressing(
    deployment: &Deployment,
    sets: &Sets,
    status: &DeploymentStatus,
    conditions: &mut Vec<DeploymentCondition>,
    progress: Option<&Progress>,
    now: Timestamp,
) {
    let Some(limit) = watched_deadline(deployment) else {
        conditions.retain(|c| c.type_ != PROGRESSING);
        return;
    };
    let old_reason = find(conditions, PROGRESSING)
        .and_then(|c| c.reason.clone())
        .unwrap_or_default();
    if deployment.spec.paused {
        return put(
            conditions,
            &says("Unknown", "DeploymentPaused", "Deployment is paused"),
            now,
        );
    }
    if old_reason == "DeploymentPaused" {
        return put(
            conditions,
            &says("Unknown", "DeploymentResumed", "Deployment is resumed"),
            now,
        );
    }
    match progress {
        Some(Progress::Created(name)) => {
            let message = format!("Created new replica set \"{name}\"");
            return touch(conditions, &says("True", "NewReplicaSetCreated", &message), now);
        }
        Some(Progress::CreateFailed(message)) => {
            return put(conditions, &says("False", "ReplicaSetCreateError", message), now);
        }
        None => {}
    }
    let Some(new) = &sets.new else { return };
    let name = new.name();
    if find(conditions, PROGRESSING).is_none() {
        let message = format!("Found new replica set \"{name}\"");
        put(conditions, &says("True", "FoundNewReplicaSet", &message), now);
    }
    let settled = old_reason == "NewReplicaSetAvailable" && status.replicas == status.updated_replicas;
    if is_status_complete(deployment, status) {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        put(conditions, &says("True", "NewReplicaSetAvailable", &message), now);
    } else if settled {
        // A pod that fails after the rollout is no lack of progress of the rollout.
    } else if has_progressed(&deployment.status, status) {
        let message = format!("ReplicaSet \"{name}\" is progressing.");
        touch(conditions, &says("True", "ReplicaSetUpdated", &message), now);
    } else if find(conditions, PROGRESSING).is_some_and(|c| is_overdue(c, limit, now)) {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        put(conditions, &says("False", "ProgressDeadlineExceeded", &message), now);
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
    match condition.reason.as_deref() {
        Some("ProgressDeadlineExceeded") => return true,
        // Left from the rollout before this one, which revived an older ReplicaSet and has not moved yet.
        Some("NewReplicaSetAvailable") => return false,
        _ => {}
    }
    let from = condition
        .last_update_time
        .as_ref()
        .or(condition.last_transition_time.as_ref());
    from.is_some_and(|from| now.duration_since(from.0).as_secs() >= i64::from(limit))
}

/// When to look again whether the rollout is overdue.
pub(super) fn deadline(
    deployment: &Deployment,
    status: &DeploymentStatus,
    sets: &Sets,
    conditions: &[DeploymentCondition],
    now: Timestamp,
) -> Option<Duration> {
    let limit = watched_deadline(deployment)?;
    if deployment.spec.paused || sets.new.is_none() || is_status_complete(deployment, status) {
        return None;
    }
    let condition = find(conditions, PROGRESSING)?;
    let reason = condition.reason.as_deref().unwrap_or_default();
    if matches!(reason, "ProgressDeadlineExceeded" | "NewReplicaSetAvailable") {
        return None;
    }
    let from = condition.last_update_time.as_ref()?.0;
    let left = i64::from(limit) - now.duration_since(from).as_secs();
    Some(Duration::from_secs(u64::try_from(left.max(1)).unwrap_or(1)))
}

/// Shows the failure of a ReplicaSet to make pods, the new one's first.
pub(super) fn replica_failure(sets: &Sets, conditions: &mut Vec<DeploymentCondition>, now: Timestamp) {
    let failure = sets
        .new
        .iter()
        .chain(sets.old.iter())
        .flat_map(|s| s.status.conditions.iter().flatten())
        .find(|c| c.type_ == REPLICA_FAILURE && c.status == "True");
    let Some(failure) = failure else {
        conditions.retain(|c| c.type_ != REPLICA_FAILURE);
        return;
    };
    let says = Says {
        kind: REPLICA_FAILURE,
        status: "True",
        reason: failure.reason.as_deref().unwrap_or_default(),
        message: failure.message.as_deref().unwrap_or_default(),
    };
    put(conditions, &says, now);
}
