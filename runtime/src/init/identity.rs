//! Who the process is: user, groups, capabilities, limits.

use std::fs;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use oci_spec::runtime::{Capabilities, LinuxCapabilities, PosixRlimit, PosixRlimitType, User};

use crate::document::Process;
use crate::error::{During, Result};
use crate::spec::capability_number;
use crate::sys::process::{
    CapabilitySets, clear_ambient, drop_bounding, permitted_capabilities, raise_ambient, set_capabilities,
};

/// Sets the out-of-memory score. Lowering it needs CAP_SYS_RESOURCE, which a machine may not give; a refusal is no
/// error, as the score is advice.
///
/// # Errors
/// The value is out of range.
pub fn set_oom_score(score: i32) -> Result<()> {
    const FILE: &str = "/proc/self/oom_score_adj";
    match fs::write(FILE, score.to_string()) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        other => other.during("write", FILE),
    }
}

/// Sets the resource limits.
///
/// # Errors
/// The kernel refuses, for one raising a hard limit without CAP_SYS_RESOURCE.
pub fn set_limits(limits: &[PosixRlimit]) -> Result<()> {
    for limit in limits {
        let resource = resource(limit.typ());
        setrlimit(resource, limit.soft(), limit.hard()).during("set", limit.typ())?;
    }
    Ok(())
}

fn resource(limit: PosixRlimitType) -> Resource {
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

/// Becomes the user with exactly the capabilities asked for.
///
/// # Errors
/// The kernel refuses; a capability the machine itself has not is left out silently.
pub fn assume(process: &Process) -> Result<()> {
    umask(Mode::from_bits_truncate(process.user.umask().unwrap_or(0o022)));
    let sets = process.capabilities.as_ref().map(Sets::new);
    if let Some(sets) = &sets {
        bound(sets.bounding)?;
    }
    prctl::set_keepcaps(true).during("keep", "capabilities")?;
    user(&process.user)?;
    prctl::set_keepcaps(false).during("stop keeping", "capabilities")?;
    if let Some(sets) = sets {
        set_capabilities(sets.others).during("set", "capabilities")?;
        clear_ambient().during("clear", "ambient capabilities")?;
        for capability in (0..64).filter(|bit| sets.ambient & 1 << bit != 0) {
            raise_ambient(capability).during("raise ambient capability", capability)?;
        }
    }
    Ok(())
}

fn user(user: &User) -> Result<()> {
    let groups: Vec<Gid> = user
        .additional_gids()
        .iter()
        .flatten()
        .map(|gid| Gid::from_raw(*gid))
        .collect();
    setgroups(&groups).during("set", "additional groups")?;
    let gid = Gid::from_raw(user.gid());
    setresgid(gid, gid, gid).during("become group", gid)?;
    let uid = Uid::from_raw(user.uid());
    setresuid(uid, uid, uid).during("become user", uid)
}

/// The five sets, without what this process does not have itself and therefore cannot give.
struct Sets {
    bounding: u64,
    others: CapabilitySets,
    ambient: u64,
}

impl Sets {
    fn new(capabilities: &LinuxCapabilities) -> Self {
        // If the kernel does not tell, it decides by itself what it refuses.
        let own = permitted_capabilities().unwrap_or(u64::MAX);
        let mask = |set: &Option<Capabilities>| {
            set.iter()
                .flatten()
                .fold(0, |mask: u64, capability| mask | 1 << capability_number(*capability))
                & own
        };
        let permitted = mask(capabilities.permitted());
        let inheritable = mask(capabilities.inheritable());
        Self {
            bounding: mask(capabilities.bounding()),
            others: CapabilitySets {
                effective: mask(capabilities.effective()) & permitted,
                permitted,
                inheritable,
            },
            // The kernel wants ambient ones to be permitted and inheritable.
            ambient: mask(capabilities.ambient()) & permitted & inheritable,
        }
    }
}

fn bound(keep: u64) -> Result<()> {
    for capability in 0..64 {
        if keep & 1 << capability == 0 && !drop_bounding(capability).during("drop capability", capability)? {
            // The kernel knows no capability from here on.
            break;
        }
    }
    Ok(())
}
