//! `process`.

use std::path::PathBuf;

use oci_spec::runtime::{IOPriorityClass, LinuxSchedulerPolicy, PosixRlimit, User};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::or_default;
use crate::error::{Error, Result};
use crate::spec::capability_by_name;

/// A program, and how it is executed.
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
    #[serde(default)]
    pub user: User,
    /// Program and arguments.
    #[serde(default, deserialize_with = "or_default")]
    pub args: Vec<String>,
    /// `NAME=VALUE`.
    #[serde(default, deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// The working directory.
    pub cwd: PathBuf,
    /// All five sets; without them the process has none.
    #[serde(default)]
    pub capabilities: Option<CapabilitySets>,
    /// Resource limits.
    #[serde(default, deserialize_with = "or_default")]
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
    /// How soon the out-of-memory killer takes it; the caller's if absent.
    #[serde(default)]
    pub oom_score_adj: Option<i32>,
    /// How soon the disk serves it.
    #[serde(default)]
    pub io_priority: Option<IoPriority>,
    /// How the processor is shared with it.
    #[serde(default)]
    pub scheduler: Option<Scheduler>,
    /// The additional groups of the caller are kept, whatever the user has: [`super::KEEP_GROUPS`].
    #[serde(skip)]
    pub keeps_groups: bool,
    /// On which processors a program that is executed in a running container runs.
    #[serde(default, rename = "execCPUAffinity")]
    pub exec_cpu_affinity: Option<ExecCpuAffinity>,
}

/// `capabilities`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CapabilitySets {
    /// What it and its descendants can ever have.
    pub bounding: CapabilityNames,
    /// In force.
    pub effective: CapabilityNames,
    /// Kept by programs that have them in their file.
    pub inheritable: CapabilityNames,
    /// May be put in force.
    pub permitted: CapabilityNames,
    /// Kept by all programs.
    pub ambient: CapabilityNames,
}

impl CapabilitySets {
    /// The sets by name.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &CapabilityNames); 5] {
        [
            ("bounding", &self.bounding),
            ("effective", &self.effective),
            ("inheritable", &self.inheritable),
            ("permitted", &self.permitted),
            ("ambient", &self.ambient),
        ]
    }
}

/// One set of capabilities. The specification wants what no kernel knows warned about, not refused.
#[derive(Debug, Clone, Default)]
pub struct CapabilityNames {
    /// Those that are known, one bit each.
    pub mask: u64,
    /// The others.
    pub unknown: Vec<String>,
}

impl<'de> Deserialize<'de> for CapabilityNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = CapabilityNames;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a list of capabilities")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(CapabilityNames::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Self::Value, A::Error> {
                let mut set = CapabilityNames::default();
                while let Some(name) = names.next_element::<String>()? {
                    match capability_by_name(&name) {
                        Some(number) => set.mask |= 1 << number,
                        None => set.unknown.push(name),
                    }
                }
                Ok(set)
            }
        }
        deserializer.deserialize_any(Names)
    }
}

/// `ioPriority`.
#[derive(Debug, Clone, Deserialize)]
pub struct IoPriority {
    /// Real time, best effort, or when nobody else wants the disk.
    pub class: IOPriorityClass,
    /// From 0, the first, to 7.
    pub priority: i64,
}

/// `scheduler`.
#[derive(Debug, Clone, Deserialize)]
pub struct Scheduler {
    /// Which scheduler.
    pub policy: LinuxSchedulerPolicy,
    /// From -20, the first, to 19.
    #[serde(default)]
    pub nice: i32,
    /// Of the real-time schedulers.
    #[serde(default)]
    pub priority: i32,
    /// `SCHED_FLAG_*`.
    #[serde(default, deserialize_with = "or_default")]
    pub flags: Vec<String>,
    /// Nanoseconds it may run in each period, of the deadline scheduler.
    #[serde(default)]
    pub runtime: u64,
    /// By when after the start of a period it has run, in nanoseconds.
    #[serde(default)]
    pub deadline: u64,
    /// The period, in nanoseconds.
    #[serde(default)]
    pub period: u64,
}

/// `SCHED_FLAG_*` of `linux/sched.h`.
const SCHEDULER_FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

/// The bits of scheduler flags.
///
/// # Errors
/// One that there is not.
pub fn scheduler_flags(names: &[String]) -> Result<u64> {
    names.iter().try_fold(0, |flags, name| {
        let known = SCHEDULER_FLAGS.iter().find(|(known, _)| known == name);
        known
            .map(|(_, flag)| flags | flag)
            .ok_or_else(|| Error::Invalid(format!("process.scheduler.flags: there is no {name}")))
    })
}

/// `execCPUAffinity`: lists of processors such as `0-3,7`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ExecCpuAffinity {
    /// Before the process is in the container's cgroup.
    pub initial: Option<String>,
    /// Afterwards; what the cgroup allows if absent.
    #[serde(rename = "final")]
    pub last: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_capabilities_are_kept_apart() {
        let sets: CapabilitySets =
            serde_json::from_str(r#"{"bounding":["CAP_CHOWN","CAP_FLY","KILL"],"ambient":null}"#).unwrap();
        assert_eq!(sets.bounding.mask, 1 | 1 << 5);
        assert_eq!(sets.bounding.unknown, ["CAP_FLY"]);
        assert_eq!(sets.ambient.mask | sets.effective.mask, 0);
    }
}
