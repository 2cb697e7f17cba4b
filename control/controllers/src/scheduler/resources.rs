//! Amounts of resources: what a pod asks for and what a node has.

use crate::objects::{Container, Pod};
use barepod_client::types::{Quantity, ResourceRequirements};
use std::collections::BTreeMap;

/// What a container without requests counts as when nodes are ranked, so that such pods spread, too.
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts by resource; CPU and memory apart as they are looked at for every node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Amounts {
    pub(super) milli_cpu: i64,
    pub(super) memory: i64,
    /// Everything else: ephemeral storage, huge pages, devices.
    pub(super) others: BTreeMap<Box<str>, i64>,
}

impl Amounts {
    pub(super) fn from_list(list: &BTreeMap<String, Quantity>) -> Self {
        let mut amounts = Self::default();
        for (name, quantity) in list {
            match name.as_str() {
                "cpu" => amounts.milli_cpu = quantity.milli().unwrap_or(0),
                "memory" => amounts.memory = quantity.units().unwrap_or(0),
                "pods" => {}
                other => drop(amounts.others.insert(other.into(), quantity.units().unwrap_or(0))),
            }
        }
        amounts
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.saturating_add(other.milli_cpu);
        self.memory = self.memory.saturating_add(other.memory);
        for (name, amount) in &other.others {
            let sum = self.others.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        self.milli_cpu -= other.milli_cpu;
        self.memory -= other.memory;
        for (name, amount) in &other.others {
            if let Some(sum) = self.others.get_mut(name) {
                *sum -= amount;
            }
        }
        self.others.retain(|_, amount| *amount != 0);
    }

    fn raise_to(&mut self, other: &Self) {
        self.milli_cpu = self.milli_cpu.max(other.milli_cpu);
        self.memory = self.memory.max(other.memory);
        for (name, amount) in &other.others {
            let most = self.others.entry(name.clone()).or_default();
            *most = (*most).max(*amount);
        }
    }
}

/// What a pod asks for: exactly, and with defaults for containers that ask for nothing.
pub(super) fn requests(pod: &Pod) -> (Amounts, Amounts) {
    (sum(pod, false), sum(pod, true))
}

/// The containers run together with the sidecars; an init container runs with the sidecars started before it
/// (KEP-753). Requests of the pod itself go before those of its containers (KEP-2837), overhead comes on top.
fn sum(pod: &Pod, with_defaults: bool) -> Amounts {
    let mut running = Amounts::default();
    for container in &pod.spec.containers {
        running.add(&of_container(container, with_defaults));
    }
    let mut sidecars = Amounts::default();
    let mut most = Amounts::default();
    for container in &pod.spec.init_containers {
        let amounts = of_container(container, with_defaults);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&amounts);
            most.raise_to(&sidecars);
        } else {
            let mut with_sidecars = sidecars.clone();
            with_sidecars.add(&amounts);
            most.raise_to(&with_sidecars);
        }
    }
    running.add(&sidecars);
    running.raise_to(&most);
    if let Some(resources) = &pod.spec.resources {
        let list = effective(resources);
        let own = Amounts::from_list(&list);
        if list.contains_key("cpu") {
            running.milli_cpu = own.milli_cpu;
        }
        if list.contains_key("memory") {
            running.memory = own.memory;
        }
        running.others.extend(own.others);
    }
    if let Some(overhead) = &pod.spec.overhead {
        running.add(&Amounts::from_list(overhead));
    }
    running
}

fn of_container(container: &Container, with_defaults: bool) -> Amounts {
    let list = container.resources.as_ref().map(effective).unwrap_or_default();
    let mut amounts = Amounts::from_list(&list);
    if with_defaults {
        if !list.contains_key("cpu") {
            amounts.milli_cpu = DEFAULT_MILLI_CPU;
        }
        if !list.contains_key("memory") {
            amounts.memory = DEFAULT_MEMORY;
        }
    }
    amounts
}

/// Requests; a limit stands in for a request that is missing.
fn effective(resources: &ResourceRequirements) -> BTreeMap<String, Quantity> {
    let mut list = resources.requests.clone().unwrap_or_default();
    for (name, limit) in resources.limits.iter().flatten() {
        list.entry(name.clone()).or_insert_with(|| limit.clone());
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"spec": spec})).unwrap()
    }

    fn asking(cpu: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu, "memory": "1Mi"}}})
    }

    #[test]
    fn adds_containers_and_takes_the_largest_init_container() {
        let (exact, _) = requests(&pod(json!({
            "containers": [asking("100m"), asking("200m")], "initContainers": [asking("250m"), asking("900m")],
        })));
        assert_eq!((exact.milli_cpu, exact.memory), (900, 2 << 20));
    }

    #[test]
    fn sidecars_run_with_everything_after_them() {
        let mut sidecar = asking("50m");
        sidecar["restartPolicy"] = "Always".into();
        let (exact, _) = requests(&pod(json!({
            "containers": [asking("100m")], "initContainers": [sidecar, asking("80m")],
        })));
        assert_eq!(exact.milli_cpu, 150);
    }

    #[test]
    fn overhead_limits_devices_and_defaults() {
        let (exact, ranked) = requests(&pod(json!({
            "containers": [{"resources": {"limits": {"example.com/gpu": "2"}}}],
            "overhead": {"cpu": "10m"},
        })));
        assert_eq!((exact.milli_cpu, exact.others["example.com/gpu"]), (10, 2));
        assert_eq!(
            (ranked.milli_cpu, ranked.memory),
            (DEFAULT_MILLI_CPU + 10, DEFAULT_MEMORY)
        );
    }

    #[test]
    fn the_pods_own_request_goes_first() {
        let (exact, _) = requests(&pod(json!({
            "containers": [asking("100m")], "resources": {"requests": {"cpu": "1"}},
        })));
        assert_eq!((exact.milli_cpu, exact.memory), (1000, 1 << 20));
    }
}
