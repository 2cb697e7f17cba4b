//! The part of a pod's status that is the agent's.

use barepod_client::api_struct;
use barepod_client::types::{PodCondition, PodIp, Time};
use serde::{Deserialize, Serialize};

api_struct! {
    /// What became of a pod.
    #[derive(Serialize, Deserialize)]
    pub struct PodStatus {} optional {
        conditions: Vec<PodCondition>,
        container_statuses: Vec<ContainerStatus>,
        #[serde(rename = "hostIP")]
        host_ip: String,
        #[serde(rename = "hostIPs")]
        host_ips: Vec<PodIp>,
        init_container_statuses: Vec<ContainerStatus>,
        message: String,
        observed_generation: i64,
        phase: String,
        #[serde(rename = "podIP")]
        pod_ip: String,
        #[serde(rename = "podIPs")]
        pod_ips: Vec<PodIp>,
        qos_class: String,
        reason: String,
        start_time: Time,
    }
}

api_struct! {
    /// What became of a container.
    #[derive(Serialize, Deserialize)]
    pub struct ContainerStatus {
        name: String,
        image: String,
        #[serde(rename = "imageID")]
        image_id: String,
        ready: bool,
        restart_count: i32,
    } optional {
        #[serde(rename = "containerID")]
        container_id: String,
        last_state: ContainerState,
        started: bool,
        state: ContainerState,
    }
}

api_struct! {
    /// Where a container is: one of these.
    #[derive(Serialize, Deserialize)]
    pub struct ContainerState {} optional {
        running: ContainerStateRunning,
        terminated: ContainerStateTerminated,
        waiting: ContainerStateWaiting,
    }
}

api_struct! {
    /// It runs.
    #[derive(Serialize, Deserialize)]
    pub struct ContainerStateRunning {} optional {
        started_at: Time,
    }
}

api_struct! {
    /// It ended.
    #[derive(Serialize, Deserialize)]
    pub struct ContainerStateTerminated {
        exit_code: i32,
    } optional {
        #[serde(rename = "containerID")]
        container_id: String,
        finished_at: Time,
        message: String,
        reason: String,
        signal: i32,
        started_at: Time,
    }
}

api_struct! {
    /// It does not run yet.
    #[derive(Serialize, Deserialize)]
    pub struct ContainerStateWaiting {} optional {
        message: String,
        reason: String,
    }
}
