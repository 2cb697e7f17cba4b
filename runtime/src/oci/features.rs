//! `features`: what of a configuration is done, in the form of the OCI runtime specification.

use serde_json::{Value, json};

use crate::document::{OCI_VERSION, OOM_GROUP, SYSTEMD_PROPERTY};
use crate::error::Result;
use crate::{init, seccomp, spec};

/// Prints it.
pub fn print() -> Result<i32> {
    println!("{:#}", features());
    Ok(0)
}

/// What this runtime does, whatever the machine it runs on; only the flags of filters are the kernel's to tell.
fn features() -> Value {
    let mut capabilities: Vec<String> = spec::all_capabilities()
        .into_iter()
        .map(|capability| format!("CAP_{capability}"))
        .collect();
    capabilities.sort_unstable();
    let flags: Vec<&str> = seccomp::FLAGS.iter().map(|(name, _)| *name).collect();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": init::mount_options(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capabilities,
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": false, "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": [
                    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"
                ],
                "operators": [
                    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                    "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"
                ],
                "archs": if cfg!(target_arch = "aarch64") {
                    json!(["SCMP_ARCH_AARCH64"])
                } else {
                    json!(["SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"])
                },
                "knownFlags": flags,
                "supportedFlags": seccomp::supported_flags()
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "memoryPolicy": {
                "modes": [
                    "MPOL_BIND", "MPOL_DEFAULT", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED",
                    "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE"
                ],
                "flags": ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"]
            },
            "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
            "mountExtensions": { "idmap": { "enabled": true } },
            "netDevices": { "enabled": true }
        },
        "potentiallyUnsafeConfigAnnotations": [OOM_GROUP, SYSTEMD_PROPERTY]
    })
}
