//! The parts of an OCI configuration that are acted on.
//!
//! `oci-spec` has all of it, for every operating system; reading that much would be half of this program's code and a
//! good part of a container's start. What is not read here is either without meaning on Linux or refused by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::runtime::{
    LinuxCapabilities, LinuxDevice, LinuxNamespace, LinuxResources, LinuxSeccomp, Mount, PosixRlimit, User,
};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// `config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Document {
    /// The program, and who it is executed as.
    pub process: Option<Process>,
    /// The root file system.
    pub root: Option<Root>,
    /// The host name.
    pub hostname: Option<String>,
    /// The NIS domain name.
    pub domainname: Option<String>,
    /// What is mounted in it.
    pub mounts: Vec<Mount>,
    /// Anything for tools.
    pub annotations: BTreeMap<String, String>,
    /// What only Linux has.
    pub linux: Linux,
    /// Programs to be executed along the way.
    pub hooks: Option<BTreeMap<String, Vec<IgnoredAny>>>,
}

/// `root`.
#[derive(Debug, Deserialize)]
pub struct Root {
    /// The directory, relative to the bundle.
    pub path: PathBuf,
    /// Not writable.
    #[serde(default)]
    pub readonly: bool,
}

/// `process`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// With a terminal.
    #[serde(default)]
    pub terminal: bool,
    /// The size of the terminal.
    #[serde(default)]
    pub console_size: Option<oci_spec::runtime::Box>,
    /// User and groups.
    pub user: User,
    /// Program and arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// `NAME=VALUE`.
    #[serde(default)]
    pub env: Vec<String>,
    /// The working directory.
    pub cwd: PathBuf,
    /// All five sets; those of the runtime if absent.
    #[serde(default)]
    pub capabilities: Option<LinuxCapabilities>,
    /// Resource limits.
    #[serde(default)]
    pub rlimits: Vec<PosixRlimit>,
    /// Executing gives no new rights.
    #[serde(default)]
    pub no_new_privileges: bool,
    /// The AppArmor profile.
    #[serde(default)]
    pub apparmor_profile: Option<String>,
    /// The SELinux label.
    #[serde(default)]
    pub selinux_label: Option<String>,
    /// How soon the out-of-memory killer takes it.
    #[serde(default)]
    pub oom_score_adj: Option<i32>,
    #[serde(default)]
    io_priority: Option<IgnoredAny>,
    #[serde(default)]
    scheduler: Option<IgnoredAny>,
    #[serde(default, rename = "execCPUAffinity")]
    exec_cpu_affinity: Option<IgnoredAny>,
}

/// `linux`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux {
    /// Kernel parameters of the namespaces.
    pub sysctl: BTreeMap<String, String>,
    /// Limits.
    pub resources: Option<LinuxResources>,
    /// The cgroup.
    pub cgroups_path: Option<PathBuf>,
    /// Namespaces to make or to join.
    pub namespaces: Vec<LinuxNamespace>,
    /// Devices beside the default ones.
    pub devices: Vec<LinuxDevice>,
    /// System calls that are allowed.
    pub seccomp: Option<LinuxSeccomp>,
    /// The propagation of the root mount.
    pub rootfs_propagation: Option<String>,
    /// What is hidden.
    pub masked_paths: Vec<String>,
    /// What is not writable.
    pub readonly_paths: Vec<String>,
    uid_mappings: Vec<IgnoredAny>,
    gid_mappings: Vec<IgnoredAny>,
    net_devices: BTreeMap<String, IgnoredAny>,
    intel_rdt: Option<IgnoredAny>,
    memory_policy: Option<IgnoredAny>,
    personality: Option<IgnoredAny>,
    time_offsets: BTreeMap<String, IgnoredAny>,
}

impl Document {
    /// The first thing asked for that this runtime does not do.
    #[must_use]
    pub fn unsupported(&self) -> Option<&'static str> {
        let linux = &self.linux;
        let present = [
            ("hooks", self.hooks.iter().flatten().any(|(_, hooks)| !hooks.is_empty())),
            ("linux.uidMappings", !linux.uid_mappings.is_empty()),
            ("linux.gidMappings", !linux.gid_mappings.is_empty()),
            ("linux.netDevices", !linux.net_devices.is_empty()),
            ("linux.intelRdt", linux.intel_rdt.is_some()),
            ("linux.memoryPolicy", linux.memory_policy.is_some()),
            ("linux.personality", linux.personality.is_some()),
            ("linux.timeOffsets", !linux.time_offsets.is_empty()),
        ];
        let found = present.iter().find(|(_, present)| *present).map(|(name, _)| *name);
        found.or_else(|| self.process.as_ref().and_then(Process::unsupported))
    }
}

impl Process {
    /// The first thing asked for that this runtime does not do.
    #[must_use]
    pub fn unsupported(&self) -> Option<&'static str> {
        let present = [
            ("process.ioPriority", self.io_priority.is_some()),
            ("process.scheduler", self.scheduler.is_some()),
            ("process.execCPUAffinity", self.exec_cpu_affinity.is_some()),
        ];
        present.iter().find(|(_, present)| *present).map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::Spec;

    #[test]
    fn what_oci_spec_writes_is_read() {
        let text = serde_json::to_string(&Spec::default()).unwrap();
        let document: Document = serde_json::from_str(&text).unwrap();
        let process = document.process.as_ref().unwrap();
        assert_eq!(process.args, ["sh"]);
        assert_eq!(process.rlimits.len(), 1);
        assert!(process.no_new_privileges && !process.terminal);
        assert_eq!(document.mounts.len(), 7);
        assert!(!document.linux.masked_paths.is_empty() && document.linux.resources.is_some());
        assert_eq!(document.unsupported(), None);
    }

    #[test]
    fn what_is_not_done_is_named() {
        let document: Document = serde_json::from_str(r#"{"linux":{"uidMappings":[{"size":1}]}}"#).unwrap();
        assert_eq!(document.unsupported(), Some("linux.uidMappings"));
        let document: Document =
            serde_json::from_str(r#"{"process":{"user":{},"cwd":"/","scheduler":{"policy":"SCHED_FIFO"}}}"#).unwrap();
        assert_eq!(document.unsupported(), Some("process.scheduler"));
    }
}
