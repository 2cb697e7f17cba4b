//! The Node object this machine should have. Pure, but for what it is given.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus,
    NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

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
pub fn node(config: &Config) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(config.node_name.clone()),
            labels: Some(labels(config)),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec::default()),
        status: None,
    }
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

/// Names and sizes for the node's status, the largest first.
pub fn images(list: Vec<barepod_images::Image>) -> Vec<ContainerImage> {
    let mut list: Vec<ContainerImage> = list
        .into_iter()
        .map(|it| ContainerImage {
            names: Some(it.digests.into_iter().chain(it.references).collect()),
            size_bytes: i64::try_from(it.size_bytes).ok(),
        })
        .collect();
    list.sort_by(|a, b| (b.size_bytes, &a.names).cmp(&(a.size_bytes, &b.names)));
    list.truncate(IMAGES);
    list
}

/// The status; `before` keeps its transition times where nothing changed.
pub fn status(
    config: &Config,
    machine: &Machine,
    state: &State,
    before: Option<&NodeStatus>,
    now: &Time,
) -> NodeStatus {
    let (kernel_version, architecture, os_image, machine_id, system_uuid) = system();
    let quantity = |cpu: String, memory: i64, storage: i64| {
        BTreeMap::from([
            ("cpu".to_owned(), Quantity(cpu)),
            ("memory".to_owned(), Quantity(format!("{}Ki", memory / 1024))),
            (
                "ephemeral-storage".to_owned(),
                Quantity(format!("{}Ki", storage / 1024)),
            ),
            ("pods".to_owned(), Quantity(config.max_pods.to_string())),
        ])
    };
    let host = &machine.host;
    let address = |type_: &str, address: String| NodeAddress {
        type_: type_.to_owned(),
        address,
    };
    NodeStatus {
        capacity: Some(quantity(machine.cpus.to_string(), machine.memory, machine.storage)),
        allocatable: Some(quantity(machine.cpus.to_string(), host.memory, host.storage)),
        addresses: Some(vec![
            address("InternalIP", host.ip.to_string()),
            address("Hostname", config.node_name.clone()),
        ]),
        conditions: Some(conditions(state, before, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint {
                port: config.listen.port().into(),
            }),
        }),
        images: Some(state.images.clone()),
        node_info: Some(NodeSystemInfo {
            architecture,
            boot_id: host.boot_id.clone(),
            container_runtime_version: concat!("barepod://", env!("CARGO_PKG_VERSION")).into(),
            kernel_version,
            kube_proxy_version: String::new(),
            kubelet_version: VERSION.into(),
            machine_id,
            operating_system: "linux".into(),
            os_image,
            system_uuid,
            swap: None,
        }),
        ..NodeStatus::default()
    }
}

fn conditions(state: &State, before: Option<&NodeStatus>, now: &Time) -> Vec<NodeCondition> {
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
            let known = before
                .and_then(|it| it.conditions.as_ref())
                .into_iter()
                .flatten()
                .find(|it| it.type_ == kind && it.status == status);
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
        let first = NodeStatus {
            conditions: Some(conditions(&state, None, &early)),
            ..NodeStatus::default()
        };
        let later = time::now();
        let second = conditions(
            &State {
                not_ready: None,
                ..state
            },
            Some(&first),
            &later,
        );
        let get = |kind: &str| second.iter().find(|it| it.type_ == kind).unwrap();
        assert_eq!(get("MemoryPressure").last_transition_time, Some(early));
        assert_eq!(get("Ready").last_transition_time, Some(later.clone()));
        assert_eq!(get("Ready").status, "True");
        assert_eq!(get("MemoryPressure").last_heartbeat_time, Some(later));
    }
}
