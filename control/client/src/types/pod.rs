//! Parts of pods that both sides of a node read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Quantity, Time};

api_struct! {
    /// A port of a container.
    #[derive(Eq, Deserialize)]
    pub struct ContainerPort {
        container_port: i32,
    } optional {
        name: String,
        protocol: String,
        host_port: i32,
        #[serde(rename = "hostIP")]
        host_ip: String,
    }
}

api_struct! {
    /// Requests and limits.
    #[derive(Eq, Deserialize)]
    pub struct ResourceRequirements {} optional {
        requests: BTreeMap<String, Quantity>,
        limits: BTreeMap<String, Quantity>,
    }
}

api_struct! {
    /// One thing that is so of a pod, or not.
    #[derive(Eq, Serialize, Deserialize)]
    pub struct PodCondition {
        #[serde(rename = "type")]
        type_: String,
        status: String,
    } optional {
        reason: String,
        message: String,
        last_probe_time: Time,
        last_transition_time: Time,
        observed_generation: i64,
    }
}

api_struct! {
    /// An address of a pod.
    #[derive(Eq, Serialize, Deserialize)]
    pub struct PodIp {
        ip: String,
    }
}

api_struct! {
    /// A taint that a pod bears.
    #[derive(Eq, Deserialize)]
    pub struct Toleration {} optional {
        key: String,
        operator: String,
        value: String,
        effect: String,
        toleration_seconds: i64,
    }
}
