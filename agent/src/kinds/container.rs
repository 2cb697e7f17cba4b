//! Containers.

use barepod_client::api_struct;
use barepod_client::types::{ContainerPort, ResourceRequirements};
use serde::Deserialize;

use super::{EnvFromSource, EnvVar, Lifecycle, Probe, SecurityContext};

api_struct! {
    /// A container of a pod.
    #[derive(Deserialize)]
    pub struct Container {
        name: String,
    } optional {
        args: Vec<String>,
        command: Vec<String>,
        env: Vec<EnvVar>,
        env_from: Vec<EnvFromSource>,
        image: String,
        image_pull_policy: String,
        lifecycle: Lifecycle,
        liveness_probe: Probe,
        ports: Vec<ContainerPort>,
        readiness_probe: Probe,
        resources: ResourceRequirements,
        restart_policy: String,
        restart_policy_rules: Vec<ContainerRestartRule>,
        security_context: SecurityContext,
        startup_probe: Probe,
        stdin: bool,
        stdin_once: bool,
        termination_message_path: String,
        termination_message_policy: String,
        tty: bool,
        volume_mounts: Vec<VolumeMount>,
        working_dir: String,
    }
}

api_struct! {
    /// When a container that ended is started again (KEP-5307).
    #[derive(Deserialize)]
    pub struct ContainerRestartRule {
        action: String,
    } optional {
        exit_codes: ContainerRestartRuleOnExitCodes,
    }
}

api_struct! {
    /// The codes that a rule is about.
    #[derive(Deserialize)]
    pub struct ContainerRestartRuleOnExitCodes {
        operator: String,
    } optional {
        values: Vec<i32>,
    }
}

api_struct! {
    /// Where a container sees a volume.
    #[derive(Deserialize)]
    pub struct VolumeMount {
        name: String,
        mount_path: String,
    } optional {
        mount_propagation: String,
        read_only: bool,
        recursive_read_only: String,
        sub_path: String,
        sub_path_expr: String,
    }
}
