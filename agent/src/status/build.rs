//! Observed → PodStatus. A pure function.

use std::net::Ipv4Addr;
use std::time::Instant;

use crate::kinds::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    Pod, PodCondition, PodIp, PodStatus,
};
use barepod_client::types::Time;

use crate::pods::observed::{Observed, Seen, State, Step, Termination};
use crate::pods::plan;
use crate::pods::shape::{self, Role};
use crate::spec::resources;

/// Where and when the status is built.
#[derive(Debug, Clone)]
pub struct Place {
    /// The node's address.
    pub host_ip: Option<Ipv4Addr>,
    /// Now, for conditions.
    pub now: Time,
    /// Now, for back-off.
    pub instant: Instant,
}

/// The pod's status. `before` is the last one, whose transition times stay where nothing changed.
pub fn build(pod: &Pod, seen: &Observed, before: Option<&PodStatus>, place: &Place) -> PodStatus {
    let phase = phase(pod, seen);
    let list = |wanted: fn(Role) -> bool| -> Option<Vec<ContainerStatus>> {
        let list: Vec<_> = shape::containers(pod)
            .filter(|(role, _)| wanted(*role))
            .map(|(role, container)| container_status(pod, role, container, seen, place))
            .collect();
        (!list.is_empty()).then_some(list)
    };
    let ip = seen.ip.map(|ip| ip.to_string());
    let host_ip = place.host_ip.map(|ip| ip.to_string());
    let reported = pod.status.as_ref();
    PodStatus {
        conditions: Some(conditions(pod, seen, phase, before, place)),
        container_statuses: list(|role| role == Role::Main),
        init_container_statuses: list(|role| role != Role::Main),
        host_ips: host_ip.clone().map(|ip| vec![PodIp { ip }]),
        host_ip,
        pod_ips: ip.clone().map(|ip| vec![PodIp { ip }]),
        pod_ip: ip,
        phase: Some(phase.into()),
        reason: seen.failure.as_ref().map(|it| it.reason.clone()),
        message: seen.failure.as_ref().map(|it| it.message.clone()),
        observed_generation: pod.metadata.generation,
        qos_class: reported
            .and_then(|it| it.qos_class.clone())
            .or_else(|| Some(resources::qos(pod).as_str().into())),
        start_time: seen.start_time.clone(),
    }
}

/// The pod's phase.
pub fn phase(pod: &Pod, seen: &Observed) -> &'static str {
    let active = seen.containers.values().any(Seen::active);
    if seen.failure.is_some() && !active {
        return "Failed";
    }
    if plan::complete(pod, seen) && !active {
        let clean = shape::containers(pod)
            .filter(|(role, _)| *role != Role::Sidecar)
            .all(|(_, container)| {
                seen.containers
                    .get(&container.name)
                    .and_then(Seen::end)
                    .is_some_and(|end| end.code == 0)
            });
        return if clean { "Succeeded" } else { "Failed" };
    }
    // A container that waits for its first start keeps the pod pending; one that is started again does not.
    let begun = |container: &Container| {
        seen.containers.get(&container.name).is_some_and(|it| {
            it.last.is_some()
                || match it.state {
                    State::Absent | State::Starting => false,
                    State::Running { .. } | State::Stopping { .. } => it.hook_done,
                    State::Exited { .. } => true,
                }
        })
    };
    if shape::spec(pod).containers.iter().all(begun) {
        "Running"
    } else {
        "Pending"
    }
}

fn container_status(pod: &Pod, role: Role, container: &Container, seen: &Observed, place: &Place) -> ContainerStatus {
    let absent = Seen::default();
    let it = seen.containers.get(&container.name).unwrap_or(&absent);
    let running = matches!(it.state, State::Running { .. } | State::Stopping { .. }) && it.hook_done;
    let back_off = waits_for_restart(pod, role, container, it, seen, place.instant);
    let (state, last) = match &it.state {
        State::Running { since } | State::Stopping { since } if running => (
            ContainerState {
                running: Some(ContainerStateRunning {
                    started_at: Some(since.clone()),
                }),
                ..ContainerState::default()
            },
            it.last.as_ref(),
        ),
        State::Exited { end, .. } => match back_off {
            Some(message) => (waiting("CrashLoopBackOff", &message), Some(end)),
            None => (terminated(end), it.last.as_ref()),
        },
        _ => {
            let state = match &it.waiting {
                Some(why) => waiting(&why.reason, &why.message),
                None => waiting(not_begun(pod), ""),
            };
            (state, it.last.as_ref())
        }
    };
    let id = match it.state {
        State::Absent | State::Starting => it.last.as_ref().map(|end| &end.id),
        _ => it.id.as_ref(),
    };
    ContainerStatus {
        name: container.name.clone(),
        image: if it.image.is_empty() {
            container.image.clone().unwrap_or_default()
        } else {
            it.image.clone()
        },
        image_id: it.image_id.clone(),
        container_id: id.filter(|it| !it.is_empty()).map(|id| format!("barepod://{id}")),
        restart_count: i32::try_from(it.restarts).unwrap_or(i32::MAX),
        ready: ready(role, it),
        started: Some(running && it.started),
        state: Some(state),
        last_state: Some(last.map(terminated).unwrap_or_default()),
    }
}

/// Why a container is not there yet, as the kubelet has it: a pod with init containers says so of all of its containers.
fn not_begun(pod: &Pod) -> &'static str {
    match &shape::spec(pod).init_containers {
        Some(init) if !init.is_empty() => "PodInitializing",
        _ => "ContainerCreating",
    }
}

fn ready(role: Role, it: &Seen) -> bool {
    match role {
        Role::Init => it.end().is_some_and(|end| end.code == 0),
        Role::Sidecar | Role::Main => {
            matches!(it.state, State::Running { .. } | State::Stopping { .. }) && it.hook_done && it.started && it.ready
        }
    }
}

/// What to say of a container that has ended and is not started again yet.
fn waits_for_restart(
    pod: &Pod,
    role: Role,
    container: &Container,
    it: &Seen,
    seen: &Observed,
    now: Instant,
) -> Option<String> {
    let State::Exited { end, at } = &it.state else {
        return None;
    };
    let over = seen.deleting || seen.over || seen.failure.is_some();
    if over || it.backoff.ready_at(*at) <= now || !shape::restarts(pod, role, container, end) {
        return None;
    }
    let delay = it.backoff.delay().as_secs();
    Some(format!(
        "back-off {delay}s restarting failed container={} pod={}",
        container.name,
        shape::full_name(pod)
    ))
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    let message = (!message.is_empty()).then(|| message.to_owned());
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message,
        }),
        ..ContainerState::default()
    }
}

fn terminated(end: &Termination) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: (!end.id.is_empty()).then(|| format!("barepod://{}", end.id)),
            exit_code: end.code,
            signal: end.signal,
            reason: Some(end.reason.clone()),
            message: (!end.message.is_empty()).then(|| end.message.clone()),
            started_at: end.started_at.clone(),
            finished_at: Some(end.finished_at.clone()),
        }),
        ..ContainerState::default()
    }
}

/// Init containers that have not done their part yet.
fn uninitialized<'a>(pod: &'a Pod, seen: &Observed) -> Vec<&'a str> {
    let begun = shape::containers(pod).any(|(role, container)| {
        role == Role::Main
            && seen
                .containers
                .get(&container.name)
                .is_some_and(|it| it.state != State::Absent)
    });
    let done = |role, it: Option<&Seen>| match (role, it) {
        (Role::Init, Some(it)) => it.end().is_some_and(|end| end.code == 0),
        // Once a main container has begun, a sidecar that is down does not undo that the pod is initialised.
        (Role::Sidecar, Some(it)) => begun || (it.started && it.hook_done),
        (Role::Main, _) => true,
        (_, None) => false,
    };
    shape::containers(pod)
        .filter(|(role, container)| !done(*role, seen.containers.get(&container.name)))
        .map(|(_, container)| container.name.as_str())
        .collect()
}

struct Finding {
    kind: &'static str,
    reason: Option<&'static str>,
    message: Option<String>,
    holds: bool,
}

fn yes(kind: &'static str) -> Finding {
    Finding {
        kind,
        reason: None,
        message: None,
        holds: true,
    }
}

fn no(kind: &'static str, reason: &'static str, message: Option<String>) -> Finding {
    Finding {
        kind,
        reason: Some(reason),
        message,
        holds: false,
    }
}

fn conditions(pod: &Pod, seen: &Observed, phase: &str, before: Option<&PodStatus>, place: &Place) -> Vec<PodCondition> {
    let containers_ready = containers_ready(pod, seen, phase);
    let ready = ready_condition(pod, &containers_ready);
    let sandbox = Finding {
        kind: "PodReadyToStartContainers",
        reason: None,
        message: None,
        holds: seen.sandbox == Step::Ready,
    };
    let findings = [
        sandbox,
        initialized_condition(pod, seen, phase),
        ready,
        containers_ready,
        // What is here is scheduled: a static pod has nobody else who says so, and nobody else knows what was observed.
        yes("PodScheduled"),
    ];
    findings
        .into_iter()
        .map(|it| condition(pod, it, before, place))
        .collect()
}

fn known<'a>(pod: &'a Pod, before: Option<&'a PodStatus>, kind: &str) -> Option<&'a PodCondition> {
    let find = |status: &'a PodStatus| status.conditions.iter().flatten().find(|it| it.type_ == kind);
    before.and_then(find).or_else(|| pod.status.as_ref().and_then(find))
}

fn condition(pod: &Pod, it: Finding, before: Option<&PodStatus>, place: &Place) -> PodCondition {
    let status = if it.holds { "True" } else { "False" };
    let since = known(pod, before, it.kind)
        .filter(|known| known.status == status)
        .and_then(|known| known.last_transition_time.clone());
    PodCondition {
        type_: it.kind.into(),
        status: status.into(),
        reason: it.reason.map(str::to_owned),
        message: it.message,
        last_transition_time: Some(since.unwrap_or_else(|| place.now.clone())),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    }
}

fn initialized_condition(pod: &Pod, seen: &Observed, phase: &str) -> Finding {
    let missing = uninitialized(pod, seen);
    if missing.is_empty() {
        return Finding {
            reason: (phase == "Succeeded").then_some("PodCompleted"),
            ..yes("Initialized")
        };
    }
    no(
        "Initialized",
        "ContainersNotInitialized",
        Some(format!("containers with incomplete status: [{}]", missing.join(" "))),
    )
}

fn containers_ready(pod: &Pod, seen: &Observed, phase: &str) -> Finding {
    const KIND: &str = "ContainersReady";
    match phase {
        "Succeeded" => return no(KIND, "PodCompleted", None),
        "Failed" => return no(KIND, "PodFailed", None),
        _ => {}
    }
    let unready: Vec<_> = shape::containers(pod)
        .filter(|(role, container)| {
            *role != Role::Init && !seen.containers.get(&container.name).is_some_and(|it| ready(*role, it))
        })
        .map(|(_, container)| container.name.as_str())
        .collect();
    if unready.is_empty() {
        return yes(KIND);
    }
    no(
        KIND,
        "ContainersNotReady",
        Some(format!("containers with unready status: [{}]", unready.join(" "))),
    )
}

fn ready_condition(pod: &Pod, containers: &Finding) -> Finding {
    const KIND: &str = "Ready";
    if !containers.holds {
        return Finding {
            kind: KIND,
            reason: containers.reason,
            message: containers.message.clone(),
            holds: false,
        };
    }
    let missing: Vec<String> = shape::spec(pod)
        .readiness_gates
        .iter()
        .flatten()
        .filter(|gate| known(pod, None, &gate.condition_type).is_none_or(|it| it.status != "True"))
        .map(|gate| {
            format!(
                "corresponding condition of pod readiness gate {:?} is not True",
                gate.condition_type
            )
        })
        .collect();
    if missing.is_empty() {
        yes(KIND)
    } else {
        no(KIND, "ReadinessGatesNotReady", Some(missing.join(", ")))
    }
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
