//! Security contexts.

use barepod_client::api_struct;
use serde::Deserialize;

api_struct! {
    /// What goes for all containers of a pod.
    #[derive(Deserialize)]
    pub struct PodSecurityContext {} optional {
        fs_group: i64,
        run_as_group: i64,
        run_as_non_root: bool,
        run_as_user: i64,
        seccomp_profile: SeccompProfile,
        supplemental_groups: Vec<i64>,
        supplemental_groups_policy: String,
        sysctls: Vec<Sysctl>,
    }
}

api_struct! {
    /// What goes for one container.
    #[derive(Deserialize)]
    pub struct SecurityContext {} optional {
        allow_privilege_escalation: bool,
        capabilities: Capabilities,
        privileged: bool,
        proc_mount: String,
        read_only_root_filesystem: bool,
        run_as_group: i64,
        run_as_non_root: bool,
        run_as_user: i64,
        seccomp_profile: SeccompProfile,
    }
}

api_struct! {
    /// Capabilities given and taken.
    #[derive(Deserialize)]
    pub struct Capabilities {} optional {
        add: Vec<String>,
        drop: Vec<String>,
    }
}

api_struct! {
    /// A filter of system calls.
    #[derive(Deserialize)]
    pub struct SeccompProfile {
        #[serde(rename = "type")]
        type_: String,
    } optional {
        localhost_profile: String,
    }
}

api_struct! {
    /// A setting of the kernel.
    #[derive(Deserialize)]
    pub struct Sysctl {
        name: String,
        value: String,
    }
}
