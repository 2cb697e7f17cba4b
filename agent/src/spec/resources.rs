//! Requests and limits → cgroup limits, QoS class and OOM score.

use std::collections::BTreeMap;

use crate::kinds::{Container, Pod};
use barepod_client::types::Quantity;
use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};

use crate::pods::shape;

/// Length of a CPU bandwidth period, in microseconds.
const PERIOD_US: u64 = 100_000;
/// Least `cpu.shares` the kernel takes; also what a container without a request gets.
const MIN_SHARES: u64 = 2;
/// Most `cpu.shares` the kernel takes.
const MAX_SHARES: u64 = 262_144;
/// Least CPU quota the kernel takes, in microseconds.
const MIN_QUOTA_US: i64 = 1_000;

/// Quality of service class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// Limits equal to requests, for CPU and memory of every container.
    Guaranteed,
    /// Something is requested or limited.
    Burstable,
    /// Nothing is.
    BestEffort,
}

impl Qos {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// One container's CPU (thousandths) and memory (bytes); 0 counts as not given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Amounts {
    cpu_request: Option<i64>,
    cpu_limit: Option<i64>,
    memory_request: Option<i64>,
    memory_limit: Option<i64>,
}

fn amounts(container: &Container) -> Amounts {
    let resources = container.resources.as_ref();
    let get = |map: Option<&BTreeMap<String, Quantity>>, name: &str, read: fn(&Quantity) -> Option<i64>| {
        map.and_then(|map| map.get(name))
            .and_then(read)
            .filter(|amount| *amount > 0)
    };
    let limits = resources.and_then(|it| it.limits.as_ref());
    let requests = resources.and_then(|it| it.requests.as_ref());
    let cpu_limit = get(limits, "cpu", Quantity::milli);
    let memory_limit = get(limits, "memory", Quantity::units);
    // A limit without a request requests as much; the API defaults it so, a static pod's manifest was not defaulted.
    Amounts {
        cpu_request: get(requests, "cpu", Quantity::milli).or(cpu_limit),
        cpu_limit,
        memory_request: get(requests, "memory", Quantity::units).or(memory_limit),
        memory_limit,
    }
}

/// The pod's QoS class.
pub fn qos(pod: &Pod) -> Qos {
    let all: Vec<Amounts> = shape::containers(pod)
        .map(|(_, container)| amounts(container))
        .collect();
    if all.iter().all(|it| *it == Amounts::default()) {
        return Qos::BestEffort;
    }
    let guaranteed = |it: &Amounts| {
        it.cpu_limit.is_some()
            && it.memory_limit.is_some()
            && it.cpu_limit == it.cpu_request
            && it.memory_limit == it.memory_request
    };
    if all.iter().all(guaranteed) {
        Qos::Guaranteed
    } else {
        Qos::Burstable
    }
}

/// The kernel's preference for killing the container when memory runs out; higher goes first.
pub fn oom_score_adj(pod: &Pod, container: &Container, node_memory: i64) -> i32 {
    // Pods that the node cannot do without outlive all others.
    if shape::spec(pod).priority.is_some_and(|it| it >= 2_000_001_000) {
        return -997;
    }
    match qos(pod) {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let request = amounts(container).memory_request.unwrap_or(0);
            let score = 1000 - request.saturating_mul(1000) / node_memory.max(1);
            i32::try_from(score.clamp(3, 999)).unwrap_or(999)
        }
    }
}

/// Limits of one container's cgroup.
pub fn container_limits(container: &Container) -> LinuxResources {
    let it = amounts(container);
    limits(it.cpu_request, it.cpu_limit, it.memory_limit, None)
}

/// Takes the least weight out, which every container has that asked for none: where there is no controller `cpu`, only
/// what was asked for may fail.
pub fn leave_out_least_weight(resources: &mut LinuxResources) {
    let least = |cpu: &LinuxCpu| cpu.shares() == Some(MIN_SHARES) && cpu.quota().is_none();
    if resources.cpu().as_ref().is_some_and(least) {
        resources.set_cpu(None);
    }
}

/// Limits of the pod's cgroup: sums, each limit only when every container has it.
pub fn pod_limits(pod: &Pod, pids: Option<i64>) -> LinuxResources {
    let main: Vec<Amounts> = shape::spec(pod).containers.iter().map(amounts).collect();
    let init: Vec<(shape::Role, Amounts)> = shape::containers(pod)
        .filter(|(role, _)| *role != shape::Role::Main)
        .map(|(role, container)| (role, amounts(container)))
        .collect();
    // Sidecars run beside everything that follows them; init containers only beside the sidecars before them.
    let total = |read: fn(&Amounts) -> Option<i64>| -> Option<i64> {
        let mut beside = 0;
        let mut peak = 0;
        for (role, amounts) in &init {
            let amount = read(amounts)?;
            match role {
                shape::Role::Sidecar => beside += amount,
                _ => peak = peak.max(beside + amount),
            }
        }
        let main: i64 = main.iter().map(read).sum::<Option<i64>>()?;
        Some(peak.max(beside + main))
    };
    let request = total(|it| Some(it.cpu_request.unwrap_or(0)));
    limits(
        request.filter(|it| *it > 0),
        total(|it| it.cpu_limit),
        total(|it| it.memory_limit),
        pids,
    )
}

fn limits(cpu_request: Option<i64>, cpu_limit: Option<i64>, memory: Option<i64>, pids: Option<i64>) -> LinuxResources {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(Some(shares(cpu_request.unwrap_or(0))));
    if let Some(limit) = cpu_limit {
        let period = i64::try_from(PERIOD_US).unwrap_or(i64::MAX);
        cpu.set_quota(Some((limit.saturating_mul(period) / 1000).max(MIN_QUOTA_US)));
        cpu.set_period(Some(PERIOD_US));
    }
    let mut resources = LinuxResources::default();
    resources.set_devices(None);
    resources.set_cpu(Some(cpu));
    if let Some(limit) = memory {
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(limit));
        // In OCI `swap` is memory and swap together: none beyond the limit.
        memory.set_swap(Some(limit));
        resources.set_memory(Some(memory));
    }
    if let Some(limit) = pids {
        let mut it = LinuxPids::default();
        it.set_limit(limit);
        resources.set_pids(Some(it));
    }
    resources
}

fn shares(cpu_milli: i64) -> u64 {
    let milli = u64::try_from(cpu_milli).unwrap_or(0);
    (milli.saturating_mul(1024) / 1000).clamp(MIN_SHARES, MAX_SHARES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(containers: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"spec": {"containers": containers}})).unwrap()
    }

    fn container(resources: serde_json::Value) -> serde_json::Value {
        json!({"name": "c", "resources": resources})
    }

    #[test]
    fn classes() {
        assert_eq!(qos(&pod(json!([container(json!({}))]))), Qos::BestEffort);
        let full = container(json!({"limits": {"cpu": "1", "memory": "1Gi"}}));
        assert_eq!(qos(&pod(json!([full]))), Qos::Guaranteed);
        assert_eq!(qos(&pod(json!([full, container(json!({}))]))), Qos::Burstable);
        let half =
            container(json!({"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}));
        assert_eq!(qos(&pod(json!([half]))), Qos::Burstable);
        assert_eq!(
            qos(&pod(json!([container(json!({"requests": {"cpu": "0"}}))]))),
            Qos::BestEffort
        );
    }

    #[test]
    fn oom_scores_follow_the_class() {
        let burst = pod(json!([container(json!({"requests": {"memory": "1Gi"}}))]));
        let first = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].clone();
        assert_eq!(oom_score_adj(&burst, &first(&burst), 4 << 30), 750);
        assert_eq!(oom_score_adj(&burst, &first(&burst), 1 << 20), 3);
        let best = pod(json!([container(json!({}))]));
        assert_eq!(oom_score_adj(&best, &first(&best), 1 << 30), 1000);
    }

    #[test]
    fn limits_become_shares_quota_and_bytes() {
        let pod = pod(json!([container(
            json!({"requests": {"cpu": "250m"}, "limits": {"cpu": "1500m", "memory": "64Mi"}})
        )]));
        let got = container_limits(&pod.spec.as_ref().unwrap().containers[0]);
        let cpu = got.cpu().as_ref().unwrap();
        assert_eq!(
            (cpu.shares(), cpu.quota(), cpu.period()),
            (Some(256), Some(150_000), Some(100_000))
        );
        assert_eq!(got.memory().as_ref().unwrap().limit(), Some(64 << 20));
        let none = container_limits(&Container::default());
        assert_eq!(
            (
                none.cpu().as_ref().unwrap().shares(),
                none.cpu().as_ref().unwrap().quota()
            ),
            (Some(2), None)
        );
        assert!(none.memory().is_none());
        for (mut limits, stays) in [(got, true), (none, false)] {
            leave_out_least_weight(&mut limits);
            assert_eq!(limits.cpu().is_some(), stays);
        }
    }

    #[test]
    fn pod_is_limited_only_when_every_container_is() {
        let small = container(json!({"limits": {"cpu": "1", "memory": "10"}}));
        let both = pod_limits(&pod(json!([small, small])), Some(100));
        assert_eq!(both.memory().as_ref().unwrap().limit(), Some(20));
        assert_eq!(both.cpu().as_ref().unwrap().quota(), Some(200_000));
        assert_eq!(both.pids().as_ref().unwrap().limit(), 100);
        let one = pod_limits(&pod(json!([small, container(json!({}))])), None);
        assert!(one.memory().is_none() && one.pids().is_none());
        assert_eq!(one.cpu().as_ref().unwrap().shares(), Some(1024));
    }
}
