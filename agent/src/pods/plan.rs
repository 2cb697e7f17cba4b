//! Desired + observed → actions. A pure function: no clock, no kernel, no API.
//!
//! ```text
//!        ┌────────── sync ──────────┐      ┌────── terminating ──────┐    ┌─ terminated ─┐
//! pod ─► │ sandbox ∥ volumes ∥ init │ ───► │ stop main, then sidecars│ ─► │ delete object│
//!        │ → sidecars → main        │      │ in reverse → remove all │    │ if asked     │
//!        └──────────────────────────┘      └─────────────────────────┘    └──────────────┘
//! ```
//!
//! It is called after every change and may be called any number of times: what is under way (`Busy`, `Starting`,
//! `Stopping`) is never asked for twice.

use std::time::Instant;

use crate::kinds::{Container, Pod};

use super::observed::{Failure, Observed, Seen, State, Step};
use super::shape::{self, Role};

/// Something to do for a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the sandbox and connect it to the network.
    CreateSandbox,
    /// Make the volumes.
    SetUpVolumes,
    /// Make and start a container. It may be asked for while sandbox and volumes are still being made.
    Start {
        /// The container's name.
        container: String,
    },
    /// End a container: hook, signal, grace, kill.
    Stop {
        /// The container's name.
        container: String,
        /// Why.
        why: Stop,
    },
    /// The pod as a whole has failed.
    Fail(Failure),
    /// Remove sandbox, network and volumes.
    Remove,
    /// Nothing is left here: report the final status and delete the API object.
    Finish,
}

/// Why a container is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The pod is being deleted, has failed, or is complete.
    Pod,
    /// A liveness or startup probe failed.
    Unhealthy,
    /// Its image in the specification has changed.
    Changed,
}

/// What to do now, and when to look again if nothing happens before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order; none waits for another.
    pub actions: Vec<Action>,
    /// The next time something becomes due by itself.
    pub wake_at: Option<Instant>,
}

impl Plan {
    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn wake(&mut self, at: Instant) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }
}

/// What is to be done for `pod`, given what is known of it.
pub fn plan(pod: &Pod, seen: &Observed, now: Instant) -> Plan {
    let mut plan = Plan::default();
    if seen.deleting || seen.over || seen.failure.is_some() || complete(pod, seen) {
        terminate(pod, seen, &mut plan);
        return plan;
    }
    if let Some(deadline) = seen.deadline {
        if now >= deadline {
            plan.act(Action::Fail(Failure {
                reason: "DeadlineExceeded".into(),
                message: "Pod was active on the node longer than the specified deadline".into(),
            }));
            return plan;
        }
        plan.wake(deadline);
    }
    sync(pod, seen, now, &mut plan);
    plan
}

/// Whether every container that counts has ended for good.
pub fn complete(pod: &Pod, seen: &Observed) -> bool {
    let ended = |role, container: &Container| {
        let end = state(seen, container).and_then(Seen::end)?;
        let stale = state(seen, container).is_some_and(|it| changed(container, it));
        (!stale && !shape::restarts(pod, role, container, end)).then_some(end.code)
    };
    let mut mains = 0_usize;
    for (role, container) in shape::containers(pod) {
        match role {
            Role::Init if ended(role, container).is_some_and(|code| code != 0) => return true,
            Role::Main => {
                mains += 1;
                if ended(role, container).is_none() {
                    return false;
                }
            }
            Role::Init | Role::Sidecar => {}
        }
    }
    mains > 0
}

fn state<'a>(seen: &'a Observed, container: &Container) -> Option<&'a Seen> {
    seen.containers.get(&container.name)
}

/// Whether the specification names another image than the one the container was started from.
fn changed(container: &Container, seen: &Seen) -> bool {
    !seen.spec_image.is_empty() && container.image.as_deref().unwrap_or_default() != seen.spec_image
}

fn sync(pod: &Pod, seen: &Observed, now: Instant, plan: &mut Plan) {
    let sandbox = ensure(seen.sandbox, Action::CreateSandbox, now, plan);
    let volumes = ensure(seen.volumes, Action::SetUpVolumes, now, plan);
    let may_start = sandbox && volumes;
    let initialized = shape::containers(pod).any(|(role, container)| {
        role == Role::Main && state(seen, container).is_some_and(|it| it.state != State::Absent)
    });
    let mut open = true;
    for (role, container) in shape::containers(pod) {
        let absent = Seen::default();
        let it = state(seen, container).unwrap_or(&absent);
        keep_right(container, it, plan);
        if !may_start {
            continue;
        }
        let due = match role {
            Role::Init => open && !initialized && wants_start(pod, role, container, it),
            Role::Sidecar => (open || initialized) && wants_start(pod, role, container, it),
            Role::Main => (open || initialized) && wants_start(pod, role, container, it),
        };
        if due {
            start(container, it, now, plan);
        }
        open &= match role {
            Role::Init => it.end().is_some_and(|end| end.code == 0),
            Role::Sidecar => it.started && it.hook_done && matches!(it.state, State::Running { .. }),
            Role::Main => true,
        };
    }
}

/// Asks for a step that is not done yet. Whether containers may count on it: it is done or under way.
fn ensure(step: Step, action: Action, now: Instant, plan: &mut Plan) -> bool {
    match step {
        Step::Ready | Step::Busy => true,
        Step::Absent => {
            plan.act(action);
            true
        }
        Step::Failed { retry_at } if retry_at <= now => {
            plan.act(action);
            true
        }
        Step::Failed { retry_at } => {
            plan.wake(retry_at);
            false
        }
        Step::Gone => false,
    }
}

/// Stops a running container that must not go on as it is.
fn keep_right(container: &Container, it: &Seen, plan: &mut Plan) {
    if !matches!(it.state, State::Running { .. }) {
        return;
    }
    let why = if it.unhealthy.is_some() {
        Stop::Unhealthy
    } else if changed(container, it) {
        Stop::Changed
    } else {
        return;
    };
    plan.act(Action::Stop {
        container: container.name.clone(),
        why,
    });
}

fn wants_start(pod: &Pod, role: Role, container: &Container, it: &Seen) -> bool {
    match &it.state {
        State::Absent => true,
        State::Exited { end, .. } => {
            let completed = role == Role::Init && end.code == 0;
            (!completed && changed(container, it)) || shape::restarts(pod, role, container, end)
        }
        State::Starting | State::Running { .. } | State::Stopping { .. } => false,
    }
}

/// Starts a container, or says when it may be started.
fn start(container: &Container, it: &Seen, now: Instant, plan: &mut Plan) {
    let after_end = match &it.state {
        State::Exited { at, .. } if !changed(container, it) => Some(it.backoff.ready_at(*at)),
        _ => None,
    };
    match after_end.max(it.blocked_until).filter(|at| *at > now) {
        Some(at) => plan.wake(at),
        None => plan.act(Action::Start {
            container: container.name.clone(),
        }),
    }
}

fn terminate(pod: &Pod, seen: &Observed, plan: &mut Plan) {
    let stop = |container: &Container| Action::Stop {
        container: container.name.clone(),
        why: Stop::Pod,
    };
    let is = |container: &Container, what: fn(&Seen) -> bool| state(seen, container).is_some_and(what);
    let running: fn(&Seen) -> bool = |it| matches!(it.state, State::Running { .. });
    let mut waiting = false;
    for (_, container) in shape::containers(pod).filter(|(role, _)| *role != Role::Sidecar) {
        waiting |= is(container, Seen::active);
        if is(container, running) {
            plan.act(stop(container));
        }
    }
    if waiting {
        return;
    }
    // KEP-753: sidecars end in reverse order, each after the one that was started later.
    let mut sidecars: Vec<_> = shape::containers(pod)
        .filter(|(role, _)| *role == Role::Sidecar)
        .collect();
    sidecars.reverse();
    if let Some((_, last)) = sidecars.into_iter().find(|(_, container)| is(container, Seen::active)) {
        if is(last, running) {
            plan.act(stop(last));
        }
        return;
    }
    if seen.containers.values().any(Seen::active) || seen.sandbox == Step::Busy || seen.volumes == Step::Busy {
        return;
    }
    if seen.sandbox != Step::Gone {
        plan.act(Action::Remove);
    } else if seen.deleting {
        plan.act(Action::Finish);
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
