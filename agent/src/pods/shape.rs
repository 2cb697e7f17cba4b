//! Reading a pod's specification: which containers it has, in which role, and when they are restarted.

use crate::kinds::{Container, Pod, PodSpec};

use super::observed::Termination;

/// What part a container plays in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs to completion before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`: starts in order, then runs beside the main containers (KEP-753).
    Sidecar,
    /// Of `spec.containers`.
    Main,
}

/// When a pod's containers are restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whenever they end.
    Always,
    /// When they end with a code other than 0.
    OnFailure,
    /// Never.
    Never,
}

impl RestartPolicy {
    fn parse(text: Option<&str>) -> Option<Self> {
        match text? {
            "Always" => Some(Self::Always),
            "OnFailure" => Some(Self::OnFailure),
            "Never" => Some(Self::Never),
            _ => None,
        }
    }
}

/// The specification; an empty one for a pod without.
pub fn spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

/// The pod's own restart policy.
pub fn restart_policy(pod: &Pod) -> RestartPolicy {
    RestartPolicy::parse(spec(pod).restart_policy.as_deref()).unwrap_or(RestartPolicy::Always)
}

/// Every container in starting order: init containers and sidecars as they are listed, then the main ones.
pub fn containers(pod: &Pod) -> impl Iterator<Item = (Role, &Container)> {
    let init = spec(pod)
        .init_containers
        .iter()
        .flatten()
        .map(|container| (init_role(container), container));
    init.chain(spec(pod).containers.iter().map(|container| (Role::Main, container)))
}

fn init_role(container: &Container) -> Role {
    if container.restart_policy.as_deref() == Some("Always") {
        Role::Sidecar
    } else {
        Role::Init
    }
}

/// The container of that name.
pub fn container<'a>(pod: &'a Pod, name: &str) -> Option<(Role, &'a Container)> {
    containers(pod).find(|(_, container)| container.name == name)
}

/// Whether a container that ended so is started again.
pub fn restarts(pod: &Pod, role: Role, container: &Container, end: &Termination) -> bool {
    if role == Role::Sidecar {
        return true;
    }
    // KEP-5307: rules of the container come first, then its own policy, then the pod's.
    if rules_match(container, end.code) {
        return true;
    }
    let policy = RestartPolicy::parse(container.restart_policy.as_deref()).unwrap_or_else(|| restart_policy(pod));
    match policy {
        RestartPolicy::Always if role == Role::Main => true,
        RestartPolicy::Always | RestartPolicy::OnFailure => end.code != 0,
        RestartPolicy::Never => false,
    }
}

fn rules_match(container: &Container, code: i32) -> bool {
    container.restart_policy_rules.iter().flatten().any(|rule| {
        let Some(codes) = rule.exit_codes.as_ref().filter(|_| rule.action == "Restart") else {
            return false;
        };
        let listed = codes.values.iter().flatten().any(|value| *value == code);
        match codes.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        }
    })
}

/// `namespace/name`.
pub fn full_name(pod: &Pod) -> String {
    format!("{}/{}", namespace(pod), name(pod))
}

/// The pod's namespace.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

/// The pod's name.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// The pod's UID; of a mirror pod, the static pod's.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// Whether the pod uses the node's network.
pub fn host_network(pod: &Pod) -> bool {
    spec(pod).host_network.unwrap_or(false)
}

/// Seconds a pod has to end, once it is asked to.
pub fn grace_secs(pod: &Pod) -> i64 {
    pod.metadata
        .deletion_grace_period_seconds
        .or(spec(pod).termination_grace_period_seconds)
        .unwrap_or(30)
        .max(0)
}
