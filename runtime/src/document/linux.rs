//! `linux`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nix::unistd::{getegid, geteuid};
use oci_spec::runtime::{
    LinuxDevice, LinuxIdMapping, LinuxIdMappingBuilder, LinuxIntelRdt, LinuxMemoryPolicy, LinuxNamespace,
    LinuxNamespaceType, LinuxPersonality, LinuxResources, LinuxSeccomp, LinuxTimeOffset,
};
use serde::Deserialize;

use super::or_default;

/// What only Linux has.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux {
    /// Kernel parameters of the namespaces.
    #[serde(deserialize_with = "or_default")]
    pub sysctl: BTreeMap<String, String>,
    /// Limits.
    pub resources: Option<LinuxResources>,
    /// The cgroup.
    pub cgroups_path: Option<PathBuf>,
    /// Namespaces to make or to join.
    #[serde(deserialize_with = "or_default")]
    pub namespaces: Vec<LinuxNamespace>,
    /// Users of the container's user namespace.
    #[serde(deserialize_with = "or_default")]
    pub uid_mappings: Vec<LinuxIdMapping>,
    /// Groups of the container's user namespace.
    #[serde(deserialize_with = "or_default")]
    pub gid_mappings: Vec<LinuxIdMapping>,
    /// What the clocks of the container's time namespace are ahead by.
    #[serde(deserialize_with = "or_default")]
    pub time_offsets: BTreeMap<String, LinuxTimeOffset>,
    /// Devices beside the default ones.
    #[serde(deserialize_with = "or_default")]
    pub devices: Vec<LinuxDevice>,
    /// Network interfaces that move into the container's network namespace.
    #[serde(deserialize_with = "or_default")]
    pub net_devices: BTreeMap<String, NetDevice>,
    /// System calls that are allowed.
    pub seccomp: Option<LinuxSeccomp>,
    /// The propagation of the root mount.
    pub rootfs_propagation: Option<String>,
    /// What is hidden.
    #[serde(deserialize_with = "or_default")]
    pub masked_paths: Vec<String>,
    /// What is not writable.
    #[serde(deserialize_with = "or_default")]
    pub readonly_paths: Vec<String>,
    /// The SELinux context of the mounts.
    pub mount_label: Option<String>,
    /// Shares of the processor's cache and memory bandwidth.
    pub intel_rdt: Option<LinuxIntelRdt>,
    /// From which memory nodes memory comes.
    pub memory_policy: Option<LinuxMemoryPolicy>,
    /// What kind of machine `uname` tells of.
    pub personality: Option<LinuxPersonality>,
}

/// A network interface that moves.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NetDevice {
    /// Its name in the container, perhaps with a `%d` for a number; the same as before if absent.
    pub name: Option<String>,
}

impl NetDevice {
    /// Its name in the container.
    #[must_use]
    pub fn target<'a>(&'a self, name: &'a str) -> &'a str {
        self.name.as_deref().filter(|target| !target.is_empty()).unwrap_or(name)
    }
}

impl Linux {
    /// Gives a new user namespace for which nobody is named the caller as its one user, who is root there, as crun does.
    pub fn complete_users(&mut self) {
        if self.makes(LinuxNamespaceType::User) && self.uid_mappings.is_empty() && self.gid_mappings.is_empty() {
            let only = |id| {
                LinuxIdMappingBuilder::default()
                    .host_id(id)
                    .container_id(0u32)
                    .size(1u32)
                    .build()
            };
            self.uid_mappings.extend(only(geteuid().as_raw()));
            self.gid_mappings.extend(only(getegid().as_raw()));
        }
    }

    /// Whether a namespace of this kind is made.
    #[must_use]
    pub fn makes(&self, kind: LinuxNamespaceType) -> bool {
        self.namespace(kind)
            .is_some_and(|namespace| namespace.path().as_ref().is_none_or(|path| path.as_os_str().is_empty()))
    }

    /// The entry for a kind of namespace.
    #[must_use]
    pub fn namespace(&self, kind: LinuxNamespaceType) -> Option<&LinuxNamespace> {
        self.namespaces.iter().find(|namespace| namespace.typ() == kind)
    }
}
