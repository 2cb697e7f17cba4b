//! The Node object this machine should have. Pure, but for what it is given.

use std::collections::BTreeMap;

use barepod_client::types::{NodeCondition, Time};
use serde::Serialize;
use serde_json::{Value, json};

use super::host::{Machine, Pressure, system};
use crate::config::Config;

/// The release of Kubernetes whose node agent this one stands in for.
const VERSION: &str = concat!("v1.36.0+barepod", env!("CARGO_PKG_VERSION"));
/// How many images a node tells of.
const IMAGES: usize = 50;

/// Labels every node has, and those it was given.
pub fn labels(config: &Config) -> BTreeMap<String, String> {
    let (_, arch, ..) = system();
    let mut labels = BTreeMap::from([
        ("kubernetes.io/hostname".to_owned(), config.node_name.clone()),
        ("kubernetes.io/os".to_owned(), "linux".to_owned()),
        ("kubernetes.io/arch".to_owned(), arch),
    ]);
    labels.extend(config.labels.clone());
    labels
}

/// A new Node.
pub fn node(config: &Config) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": config.node_name, "labels": labels(config)},
    })
}

/// What the node says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// What it is short of.
    pub pressure: Pressure,
    /// Why it cannot run pods.
    pub not_ready: Option<String>,
    /// Names and sizes of its images.
    pub images: Vec<ContainerImage>,
}

/// An image that is on the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerImage {
    names: Vec<String>,
    size_bytes: u64,
}

/// Names and sizes for the node's status, the largest first.
pub fn images(list: Vec<barepod_images::Image>) -> Vec<ContainerImage> {
    let mut list: Vec<ContainerImage> = list
        .into_iter()
        .map(|it| ContainerImage {
            names: it.digests.into_iter().chain(it.references).collect(),
            size_bytes: it.size_bytes,
        })
        .collect();
    list.sort_by(|a, b| (b.size_bytes, &a.names).cmp(&(a.size_bytes, &b.names)));
    list.truncate(IMAGES);
    list
}

/// The status; `before`, its conditions as they are known, keep their transition times where nothing changed.
pub fn status(config: &Config, machine: &Machine, state: &State, before: &[NodeCondition], now: &Time) -> Value {
    let (kernel_version, architecture, os_image, machine_id, system_uuid) = system();
    let host = &machine.host;
    let quantity = |memory: i64, storage: i64| {
        json!({
            "cpu": machine.cpus.to_string(),
            "memory": format!("{}Ki", memory / 1024),
            "ephemeral-storage": format!("{}Ki", storage / 1024),
            "pods": config.max_pods.to_string(),
        })
    };
    json!({
        "capacity": quantity(machine.memory, machine.storage),
        "allocatable": quantity(host.memory, host.storage),
        "addresses": [
            {"type": "InternalIP", "address": host.ip},
            {"type": "Hostname", "address": config.node_name},
        ],
        "conditions": conditions(state, before, now),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": config.listen.port()}},
        "images": state.images,
        "nodeInfo": {
            "architecture": architecture,
            "bootID": host.boot_id,
            "containerRuntimeVersion": concat!("barepod://", env!("CARGO_PKG_VERSION")),
            "kernelVersion": kernel_version,
            "kubeProxyVersion": "",
            "kubeletVersion": VERSION,
            "machineID": machine_id,
            "operatingSystem": "linux",
            "osImage": os_image,
            "systemUUID": system_uuid,
        },
    })
}

fn conditions(state: &State, before: &[NodeCondition], now: &Time) -> Vec<NodeCondition> {
    let pressure = |kind, holds, (bad, good): (&'static str, &'static str), text: &'static str| {
        let message = if holds {
            format!("node is short of {text}")
        } else {
            format!("node has enough {text}")
        };
        (kind, holds, if holds { bad } else { good }, message)
    };
    let is = &state.pressure;
    let ready = match &state.not_ready {
        None => ("Ready", true, "KubeletReady", "the node takes pods".to_owned()),
        Some(why) => ("Ready", false, "KubeletNotReady", why.clone()),
    };
    let all = [
        pressure(
            "MemoryPressure",
            is.memory,
            ("KubeletHasInsufficientMemory", "KubeletHasSufficientMemory"),
            "memory",
        ),
        pressure(
            "DiskPressure",
            is.disk,
            ("KubeletHasDiskPressure", "KubeletHasNoDiskPressure"),
            "disk",
        ),
        pressure(
            "PIDPressure",
            is.pids,
            ("KubeletHasInsufficientPID", "KubeletHasSufficientPID"),
            "process ids",
        ),
        ready,
    ];
    all.into_iter()
        .map(|(kind, holds, reason, message)| {
            let status = if holds { "True" } else { "False" };
            let known = before.iter().find(|it| it.type_ == kind && it.status == status);
            NodeCondition {
                type_: kind.into(),
                status: status.into(),
                reason: Some(reason.into()),
                message: Some(message),
                last_heartbeat_time: Some(now.clone()),
                last_transition_time: Some(
                    known
                        .and_then(|it| it.last_transition_time.clone())
                        .unwrap_or_else(|| now.clone()),
                ),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    #[test]
    fn transition_times_move_only_with_the_status() {
        let calm = Pressure {
            memory: false,
            disk: false,
            pids: false,
        };
        let state = State {
            pressure: calm,
            not_ready: Some("no network".into()),
            images: Vec::new(),
        };
        let early = time::parse("2020-01-01T00:00:00Z");
        let first = conditions(&state, &[], &early);
        let later = time::now();
        let second = conditions(
            &State {
                not_ready: None,
                ..state
            },
            &first,
            &later,
        );
        let get = |kind: &str| second.iter().find(|it| it.type_ == kind).unwrap();
        assert_eq!(get("MemoryPressure").last_transition_time, Some(early));
        assert_eq!(get("Ready").last_transition_time, Some(later.clone()));
        assert_eq!(get("Ready").status, "True");
        assert_eq!(get("MemoryPressure").last_heartbeat_time, Some(later));
    }
}
