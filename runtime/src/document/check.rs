//! What is wrong with a configuration, told in one line before anything of it is done.
//!
//! "Runtimes MUST generate an error when invalid or unsupported values are encountered": OCI runtime specification,
//! "Valid values". What only the kernel can tell, such as a limit it refuses, comes later and is undone.

use std::collections::BTreeSet;
use std::path::Path;

use oci_spec::runtime::{
    LinuxMemoryPolicy, LinuxNamespaceType, LinuxSchedulerPolicy, MemoryPolicyModeType, Mount, PosixRlimitType,
};

use super::process::{IoPriority, Process, Scheduler, scheduler_flags};
use super::{Document, Linux, list};
use crate::error::{Error, Result};
use crate::init::labels;

/// An error of one line.
fn invalid<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(text.into()))
}

impl Document {
    /// Looks for what cannot be done, whatever way the container is made.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<()> {
        if let Some(version) = &self.oci_version {
            check_version(version)?;
        }
        if self.annotations.contains_key("") {
            return invalid("annotations: a key is empty");
        }
        for (kind, hook) in self.hooks.all() {
            if !hook.path.is_absolute() {
                return invalid(format!("hooks.{kind}: the path {:?} is not absolute", hook.path));
            }
            if hook.timeout.is_some_and(|timeout| timeout <= 0) {
                return invalid(format!("hooks.{kind}: the timeout is not above 0"));
            }
        }
        self.mounts.iter().try_for_each(check_mappings)?;
        self.linux.check()?;
        self.process.as_ref().map_or(Ok(()), Process::check)
    }

    /// Looks for what does not go with the namespaces asked for. A container of a pod has the pod's, whatever its
    /// configuration says.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check_namespaces(&self) -> Result<()> {
        let linux = &self.linux;
        if self.oci_version.is_none() {
            return invalid("ociVersion is missing");
        }
        for (at, namespace) in linux.namespaces.iter().enumerate() {
            let kind = namespace.typ();
            if linux.namespaces[..at].iter().any(|earlier| earlier.typ() == kind) {
                return invalid(format!("linux.namespaces has the type {} twice", word(kind)));
            }
            if let Some(path) = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty())
                && !path.is_absolute()
            {
                return invalid(format!("linux.namespaces: the path {} is not absolute", path.display()));
            }
        }
        let lacks = |kind| linux.namespace(kind).is_none();
        let named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
        let needs = [
            ("hostname", named(&self.hostname), LinuxNamespaceType::Uts),
            ("domainname", named(&self.domainname), LinuxNamespaceType::Uts),
            (
                "linux.netDevices",
                !linux.net_devices.is_empty(),
                LinuxNamespaceType::Network,
            ),
            (
                "linux.uidMappings",
                !linux.uid_mappings.is_empty(),
                LinuxNamespaceType::User,
            ),
            (
                "linux.gidMappings",
                !linux.gid_mappings.is_empty(),
                LinuxNamespaceType::User,
            ),
            (
                "linux.timeOffsets",
                !linux.time_offsets.is_empty(),
                LinuxNamespaceType::Time,
            ),
        ];
        for (field, present, kind) in needs {
            if present && lacks(kind) {
                return invalid(format!("{field} needs a {} namespace in linux.namespaces", word(kind)));
            }
        }
        if linux.makes(LinuxNamespaceType::User) && (linux.uid_mappings.is_empty() || linux.gid_mappings.is_empty()) {
            return invalid("a new user namespace needs linux.uidMappings and linux.gidMappings");
        }
        let joined = |kind| !lacks(kind) && !linux.makes(kind);
        if joined(LinuxNamespaceType::User) && !(linux.uid_mappings.is_empty() && linux.gid_mappings.is_empty()) {
            return invalid("linux.uidMappings and linux.gidMappings are of no use to a user namespace that is joined");
        }
        if joined(LinuxNamespaceType::Time) && !linux.time_offsets.is_empty() {
            return invalid("linux.timeOffsets cannot be changed in a time namespace that is joined");
        }
        Ok(())
    }
}

/// The name of a namespace in a configuration.
fn word(kind: LinuxNamespaceType) -> &'static str {
    match kind {
        LinuxNamespaceType::Mount => "mount",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Network => "network",
        LinuxNamespaceType::Time => "time",
    }
}

/// Three numbers, of which the first is 1: a minor version may only add what can be left out.
fn check_version(version: &str) -> Result<()> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = core.split('.').collect();
    let number = |part: &&str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part.len() == 1 || !part.starts_with('0'))
    };
    if parts.len() != 3 || !parts.iter().all(number) {
        return invalid(format!("ociVersion {version:?} is no version such as 1.0.0"));
    }
    if parts[0] != "1" {
        return invalid(format!("ociVersion {version} is not supported: 1.x is"));
    }
    Ok(())
}

fn check_mappings(mount: &Mount) -> Result<()> {
    let given = |mappings: &Option<Vec<_>>| mappings.as_ref().is_some_and(|mappings| !mappings.is_empty());
    if given(mount.uid_mappings()) != given(mount.gid_mappings()) {
        return invalid(format!(
            "the mount on {} has one of uidMappings and gidMappings only",
            mount.destination().display()
        ));
    }
    Ok(())
}

impl Linux {
    fn check_interfaces(&self) -> Result<()> {
        let mut targets = BTreeSet::new();
        for (name, device) in &self.net_devices {
            let target = device.target(name);
            if let Some(bad) = [name, target].into_iter().find(|name| !is_interface(name)) {
                return invalid(format!("linux.netDevices: {bad:?} is no name of an interface"));
            }
            if !target.contains("%d") && !targets.insert(target) {
                return invalid(format!("linux.netDevices: {target} is the name of two"));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        for (field, paths) in [
            ("maskedPaths", &self.masked_paths),
            ("readonlyPaths", &self.readonly_paths),
        ] {
            if let Some(path) = paths.iter().find(|path| !Path::new(path).is_absolute()) {
                return invalid(format!("linux.{field}: {path:?} is not absolute"));
            }
        }
        if let Some(device) = self.devices.iter().find(|device| !device.path().is_absolute()) {
            return invalid(format!("linux.devices: {:?} is not absolute", device.path()));
        }
        if let Some(kind) = &self.rootfs_propagation
            && crate::init::propagation(kind).is_none()
        {
            return invalid(format!("linux.rootfsPropagation cannot be {kind:?}"));
        }
        if let Some(flags) = self
            .personality
            .as_ref()
            .and_then(|personality| personality.flags().as_ref())
            && !flags.is_empty()
        {
            return invalid("linux.personality.flags: there are none yet");
        }
        for (clock, offset) in &self.time_offsets {
            if !matches!(clock.as_str(), "monotonic" | "boottime") {
                return invalid(format!(
                    "linux.timeOffsets: the clock {clock:?} has no offset, monotonic and boottime have"
                ));
            }
            if offset
                .nanosecs()
                .is_some_and(|nanoseconds| nanoseconds >= 1_000_000_000)
            {
                return invalid(format!("linux.timeOffsets.{clock}.nanosecs is a second or more"));
            }
        }
        if self.mount_label.as_ref().is_some_and(|label| !label.is_empty()) && !labels::selinux() {
            return invalid("linux.mountLabel: this kernel runs without SELinux");
        }
        self.check_interfaces()?;
        self.intel_rdt.as_ref().map_or(Ok(()), crate::resctrl::check)?;
        self.memory_policy.as_ref().map_or(Ok(()), check_memory_policy)
    }
}

/// Whether an interface can have a name: the kernel's dev_valid_name().
fn is_interface(name: &str) -> bool {
    let forbidden = |byte: u8| byte == b'/' || byte == b':' || byte.is_ascii_whitespace();
    (1..libc::IFNAMSIZ).contains(&name.len()) && !matches!(name, "." | "..") && !name.bytes().any(forbidden)
}

/// Which modes go with nodes: set_mempolicy(2).
fn check_memory_policy(policy: &LinuxMemoryPolicy) -> Result<()> {
    let nodes = policy.nodes().as_deref().filter(|nodes| !nodes.trim().is_empty());
    if let Some(nodes) = nodes {
        list::parse("linux.memoryPolicy.nodes", nodes)?;
    }
    match (policy.mode(), nodes) {
        (MemoryPolicyModeType::MpolDefault | MemoryPolicyModeType::MpolLocal, Some(_)) => {
            invalid(format!("linux.memoryPolicy: {} goes without nodes", policy.mode()))
        }
        (
            MemoryPolicyModeType::MpolBind
            | MemoryPolicyModeType::MpolInterleave
            | MemoryPolicyModeType::MpolWeightedInterleave
            | MemoryPolicyModeType::MpolPreferredMany,
            None,
        ) => invalid(format!("linux.memoryPolicy: {} needs nodes", policy.mode())),
        _ => Ok(()),
    }
}

impl Process {
    /// Looks for what cannot be done.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<()> {
        if !self.cwd.is_absolute() {
            return invalid(format!("the working directory {} is not absolute", self.cwd.display()));
        }
        if self.args.is_empty() {
            return invalid("there is no program to execute: process.args is empty");
        }
        let mut kinds: BTreeSet<u8> = BTreeSet::new();
        if let Some(twice) = self.rlimits.iter().find(|limit| !kinds.insert(number(limit.typ()))) {
            return invalid(format!("process.rlimits has {} twice", twice.typ()));
        }
        self.io_priority.as_ref().map_or(Ok(()), IoPriority::check)?;
        self.scheduler.as_ref().map_or(Ok(()), Scheduler::check)?;
        if let Some(affinity) = &self.exec_cpu_affinity {
            for (field, value) in [("initial", &affinity.initial), ("final", &affinity.last)] {
                if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                    list::parse(&format!("process.execCPUAffinity.{field}"), value)?;
                }
            }
        }
        labels::check(self)
    }
}

fn number(kind: PosixRlimitType) -> u8 {
    kind as u8
}

impl IoPriority {
    fn check(&self) -> Result<()> {
        if !(0..=7).contains(&self.priority) {
            return invalid(format!(
                "process.ioPriority.priority {} is not from 0 to 7",
                self.priority
            ));
        }
        Ok(())
    }
}

impl Scheduler {
    /// Which of its numbers goes with which policy: sched(7).
    fn check(&self) -> Result<()> {
        use LinuxSchedulerPolicy::{SchedDeadline, SchedFifo, SchedIso, SchedRr};
        if self.policy == SchedIso {
            return invalid("process.scheduler: Linux has no SCHED_ISO");
        }
        if !(-20..=19).contains(&self.nice) {
            return invalid(format!("process.scheduler.nice {} is not from -20 to 19", self.nice));
        }
        if self.priority != 0 && !matches!(self.policy, SchedFifo | SchedRr) {
            return invalid("process.scheduler.priority goes with SCHED_FIFO and SCHED_RR only");
        }
        if self.runtime.max(self.deadline).max(self.period) != 0 && self.policy != SchedDeadline {
            return invalid("process.scheduler: runtime, deadline and period go with SCHED_DEADLINE only");
        }
        scheduler_flags(&self.flags).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(document: Value) -> String {
        let document: Document = serde_json::from_value(document).unwrap();
        match document.check().and_then(|()| document.check_namespaces()) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[track_caller]
    fn refused(mut document: Value, words: &str) {
        document["ociVersion"] = json!("1.0.2");
        let said = check(document);
        assert!(!words.is_empty() && said.contains(words), "{said:?}");
        assert!(!said.contains('\n'), "{said}");
    }

    fn process(change: Value) -> Value {
        let mut process = json!({ "user": {}, "cwd": "/", "args": ["sh"] });
        for (key, value) in change.as_object().unwrap() {
            process[key] = value.clone();
        }
        json!({ "process": process })
    }

    #[test]
    fn versions() {
        for good in ["1.0.0", "1.0.2-dev", "1.3.0", "1.9.0+dev"] {
            assert_eq!(check(json!({ "ociVersion": good })), "");
        }
        for bad in ["2.0.0", "0.9.0", "1.0", "1.0.0.0", "", "one", "1.0.x", "01.0.0"] {
            assert_ne!(check(json!({ "ociVersion": bad })), "", "{bad}");
        }
        assert_eq!(check(json!({})), "ociVersion is missing");
    }

    #[test]
    fn processes() {
        assert_eq!(process(json!({}))["process"]["cwd"], "/");
        refused(process(json!({ "cwd": "tmp" })), "not absolute");
        refused(process(json!({ "args": [] })), "no program");
        let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 1 });
        refused(process(json!({ "rlimits": [limit, limit] })), "twice");
        refused(
            process(json!({ "ioPriority": { "class": "IOPRIO_CLASS_BE", "priority": 8 } })),
            "from 0 to 7",
        );
        for (scheduler, words) in [
            (json!({ "policy": "SCHED_ISO" }), "no SCHED_ISO"),
            (json!({ "policy": "SCHED_OTHER", "nice": 20 }), "-20 to 19"),
            (json!({ "policy": "SCHED_OTHER", "priority": 1 }), "SCHED_FIFO"),
            (json!({ "policy": "SCHED_FIFO", "runtime": 1 }), "SCHED_DEADLINE"),
            (
                json!({ "policy": "SCHED_RR", "flags": ["SCHED_FLAG_FLY"] }),
                "no SCHED_FLAG_FLY",
            ),
        ] {
            refused(process(json!({ "scheduler": scheduler })), words);
        }
        refused(
            process(json!({ "execCPUAffinity": { "initial": "x" } })),
            "execCPUAffinity.initial",
        );
    }

    #[test]
    fn namespaces() {
        let user = json!([{ "type": "user" }]);
        refused(
            json!({ "linux": { "namespaces": [{ "type": "pid" }, { "type": "pid" }] } }),
            "pid twice",
        );
        refused(
            json!({ "linux": { "namespaces": [{ "type": "pid", "path": "x" }] } }),
            "not absolute",
        );
        refused(json!({ "hostname": "x" }), "hostname needs a uts");
        refused(json!({ "linux": { "namespaces": user } }), "uidMappings");
        refused(
            json!({ "linux": { "timeOffsets": { "boottime": {} } } }),
            "time namespace",
        );
        refused(json!({ "linux": { "timeOffsets": { "realtime": {} } } }), "realtime");
        refused(
            json!({ "linux": { "netDevices": { "eth0": {} } } }),
            "network namespace",
        );
        let mapping = json!([{ "containerID": 0, "hostID": 1, "size": 1 }]);
        refused(json!({ "linux": { "uidMappings": mapping } }), "user namespace");
        refused(
            json!({ "mounts": [{ "destination": "/x", "uidMappings": mapping }] }),
            "one of uidMappings and gidMappings",
        );
    }

    #[test]
    fn the_rest() {
        refused(json!({ "annotations": { "": "x" } }), "key is empty");
        refused(json!({ "hooks": { "poststop": [{ "path": "x" }] } }), "hooks.poststop");
        refused(
            json!({ "hooks": { "prestart": [{ "path": "/x", "timeout": 0 }] } }),
            "above 0",
        );
        refused(json!({ "linux": { "maskedPaths": ["proc"] } }), "maskedPaths");
        refused(json!({ "linux": { "rootfsPropagation": "loud" } }), "rootfsPropagation");
        refused(
            json!({ "linux": { "personality": { "domain": "LINUX", "flags": ["X"] } } }),
            "personality.flags",
        );
        for (policy, words) in [
            (json!({ "mode": "MPOL_DEFAULT", "nodes": "0" }), "without nodes"),
            (json!({ "mode": "MPOL_BIND" }), "needs nodes"),
            (json!({ "mode": "MPOL_PREFERRED", "nodes": "x" }), "no list"),
        ] {
            refused(json!({ "linux": { "memoryPolicy": policy } }), words);
        }
    }
}
