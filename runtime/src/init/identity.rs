//! Who the process is: user, groups, capabilities, limits.

use std::path::Path;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use oci_spec::runtime::{PosixRlimit, PosixRlimitType, User};

use super::Unset;
use super::procfs::Procfs;
use crate::broken;
use crate::document::{CapabilitySets, Process};
use crate::error::{During, Error, Result};
use crate::spec::capability_name;
use crate::sys::process::{
    CapabilitySets as ThreadSets, clear_ambient, drop_bounding, permitted_capabilities, raise_ambient, set_capabilities,
};

/// Sets the out-of-memory score if one is asked for. Lowering it needs CAP_SYS_RESOURCE, which a machine may not give.
///
/// # Errors
/// The value is out of range, or refused: for a container of a pod that is no error, as there the score is advice.
pub fn set_oom_score(score: Option<i32>, unset: Unset) -> Result<()> {
    // The monitor may have a score of its own, which is not the containers'.
    let score = match unset {
        Unset::Inherited => score,
        Unset::Ordinary => score.or(Some(0)),
    };
    let Some(score) = score else { return Ok(()) };
    if broken::lacks("early-procfs") {
        return Ok(());
    }
    match Procfs::open()?.write(Path::new("self/oom_score_adj"), &score.to_string()) {
        Err(error) if unset == Unset::Ordinary && matches!(error.errno(), Some(libc::EACCES | libc::EPERM)) => Ok(()),
        other => other,
    }
}

/// Sets the resource limits.
///
/// # Errors
/// The kernel refuses, for one raising a hard limit without CAP_SYS_RESOURCE.
pub fn set_limits(limits: &[PosixRlimit]) -> Result<()> {
    if broken::lacks("rlimits") {
        return Ok(());
    }
    for limit in limits {
        let resource = resource(limit.typ());
        setrlimit(resource, limit.soft(), limit.hard()).during("set", limit.typ())?;
    }
    Ok(())
}

/// The kernel's name of a limit.
#[must_use]
pub fn resource(limit: PosixRlimitType) -> Resource {
    match limit {
        PosixRlimitType::RlimitCpu => Resource::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => Resource::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => Resource::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => Resource::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => Resource::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => Resource::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => Resource::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => Resource::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => Resource::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => Resource::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => Resource::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => Resource::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => Resource::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => Resource::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => Resource::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => Resource::RLIMIT_RTTIME,
    }
}

/// Becomes the user, keeping what it takes to go on.
///
/// # Errors
/// The kernel refuses, for one because the user namespace has no such user.
pub fn become_user(process: &Process, sets: &Sets, inherited: Mode, unset: Unset) -> Result<()> {
    let ordinary = match unset {
        Unset::Inherited => inherited,
        Unset::Ordinary => Mode::from_bits_truncate(0o022),
    };
    umask(process.user.umask().map_or(ordinary, Mode::from_bits_truncate));
    sets.bound()?;
    prctl::set_keepcaps(true).during("keep", "capabilities")?;
    user(&process.user, process.keeps_groups)?;
    prctl::set_keepcaps(false).during("stop keeping", "capabilities")?;
    sets.provisional()
}

fn user(user: &User, keeps_groups: bool) -> Result<()> {
    let ids = user.additional_gids().iter().flatten().copied();
    let mut ids = ids.chain([user.uid(), user.gid()]);
    // To the kernel it means "as it was", which is root.
    if ids.any(|id| id == u32::MAX) && !broken::lacks("no-user-minus-one") {
        return Err(Error::Invalid(format!("{} is no user or group", u32::MAX)));
    }
    let groups: Vec<Gid> = user
        .additional_gids()
        .iter()
        .flatten()
        .map(|gid| Gid::from_raw(*gid))
        .collect();
    if !keeps_groups {
        match setgroups(&groups) {
            // A user namespace that somebody without rights made: user_namespaces(7).
            Err(Errno::EPERM) if groups.is_empty() => {}
            other => other.during("set", "additional groups")?,
        }
    }
    let gid = Gid::from_raw(user.gid());
    setresgid(gid, gid, gid).during("become group", gid)?;
    let uid = Uid::from_raw(user.uid());
    match setresuid(uid, uid, uid) {
        Err(Errno::EINVAL) if broken::lacks("mapped-user") => Ok(()),
        other => other.during("become user", uid),
    }
}

/// How the warning about capabilities that cannot be given begins.
pub const UNAVAILABLE: &str = "ignoring unknown or unavailable capabilities";

/// The five sets, without what this process does not have itself and therefore cannot give.
#[derive(Debug)]
pub struct Sets {
    own: u64,
    bounding: u64,
    others: ThreadSets,
    ambient: u64,
}

impl Sets {
    /// What can be given of the sets asked for; none are asked for by a configuration that does not speak of them.
    #[must_use]
    pub fn new(asked: Option<&CapabilitySets>) -> Self {
        // If the kernel does not tell, it decides by itself what it refuses.
        let own = permitted_capabilities().unwrap_or(u64::MAX);
        let none = CapabilitySets::default();
        let asked = asked.unwrap_or(&none);
        let (bounding, permitted) = (asked.bounding.mask & own, asked.permitted.mask & own);
        // capabilities(7): what is inheritable has to be in the bounding set, what is effective permitted, and what is
        // ambient both permitted and inheritable.
        let inheritable = asked.inheritable.mask & bounding;
        Self {
            own,
            bounding,
            others: ThreadSets {
                effective: asked.effective.mask & permitted,
                permitted,
                inheritable,
            },
            ambient: asked.ambient.mask & permitted & inheritable,
        }
    }

    /// What was asked for and cannot be given, in words: the specification wants it warned about, and nothing more.
    #[must_use]
    pub fn left_out(&self, asked: &CapabilitySets) -> Option<String> {
        let given = [
            self.bounding,
            self.others.effective,
            self.others.inheritable,
            self.others.permitted,
            self.ambient,
        ];
        let mut all: Vec<String> = Vec::new();
        let mut sets = Vec::new();
        for ((set, names), given) in asked.named().into_iter().zip(given) {
            let missing = (0..64)
                .filter(|bit| names.mask & !given & 1 << bit != 0)
                .map(capability_name);
            let missing: Vec<String> = names.unknown.iter().cloned().chain(missing).collect();
            if !missing.is_empty() {
                sets.push(format!("{set}: {}", missing.join(" ")));
            }
            all.extend(missing);
        }
        all.sort_unstable();
        all.dedup();
        (!all.is_empty()).then(|| format!("{UNAVAILABLE}: [{}] ({})", all.join(" "), sets.join(", ")))
    }

    fn bound(&self) -> Result<()> {
        for capability in 0..64 {
            if self.bounding & 1 << capability == 0
                && !drop_bounding(capability).during("drop capability", capability)?
            {
                // The kernel knows no capability from here on.
                break;
            }
        }
        Ok(())
    }

    /// In force is what the program will have; permitted still is what it takes to install a filter.
    fn provisional(&self) -> Result<()> {
        let sets = ThreadSets {
            permitted: self.own,
            ..self.others
        };
        set_capabilities(sets).during("set", "capabilities")
    }

    /// Puts in force again what [`Sets::provisional`] kept.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn raise(&self) -> Result<()> {
        let sets = ThreadSets {
            effective: self.own,
            permitted: self.own,
            ..self.others
        };
        set_capabilities(sets).during("raise", "capabilities")
    }

    /// Takes exactly the capabilities of the program.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn assume(&self) -> Result<()> {
        set_capabilities(self.others).during("set", "capabilities")?;
        clear_ambient().during("clear", "ambient capabilities")?;
        for capability in (0..64).filter(|bit| self.ambient & 1 << bit != 0) {
            raise_ambient(capability).during("raise ambient capability", capability)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_given_is_named() {
        let asked: CapabilitySets =
            serde_json::from_str(r#"{"bounding":["CAP_FLY"],"inheritable":["CAP_CHOWN"],"ambient":["CAP_KILL"]}"#)
                .unwrap();
        let sets = Sets::new(Some(&asked));
        assert_eq!(
            sets.left_out(&asked).unwrap(),
            "ignoring unknown or unavailable capabilities: [CAP_CHOWN CAP_FLY CAP_KILL] \
             (bounding: CAP_FLY, inheritable: CAP_CHOWN, ambient: CAP_KILL)"
        );
        assert_eq!(Sets::new(None).left_out(&CapabilitySets::default()), None);
    }
}
