//! OCI seccomp profiles as BPF programs.
//!
//! The program is a binary search over ranges of system call numbers, not a list to be walked: when it is installed the
//! kernel runs it once for every number there is, to remember which calls are always allowed, and a list of 350
//! comparisons takes it half a millisecond for that, a quarter of a container's start; this takes it a tenth. One program
//! also carries any mix of actions, where an allow-list with one action for the rest needs two filters for the usual
//! profile (`EPERM`, but `ENOSYS` for clone3).

mod compile;
pub mod notify;
pub mod table;
mod x86;

use std::os::fd::OwnedFd;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag};
use serde::{Deserialize, Serialize};

use crate::broken;
use crate::error::{During, Error, Result};
use crate::sys::seccomp::Instruction;

// seccomp(2), linux/seccomp.h.
const TSYNC: u32 = 1 << 0;
const LOG: u32 = 1 << 1;
const SPEC_ALLOW: u32 = 1 << 2;
const NEW_LISTENER: u32 = 1 << 3;
const TSYNC_ESRCH: u32 = 1 << 4;
const WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// A filter that is ready to be installed, here or where it is sent to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Filter {
    /// An instruction each: code, jump if true, jump if false and operand, from the lowest bits up.
    program: Vec<u64>,
    flags: u32,
}

fn pack(it: &Instruction) -> u64 {
    u64::from(it.code) | u64::from(it.jt) << 16 | u64::from(it.jf) << 24 | u64::from(it.k) << 32
}

fn unpack(packed: &u64) -> Instruction {
    let [a, b, jt, jf, c, d, e, f] = packed.to_le_bytes();
    Instruction {
        code: u16::from_le_bytes([a, b]),
        jt,
        jf,
        k: u32::from_le_bytes([c, d, e, f]),
    }
}

impl Filter {
    /// Compiles a profile.
    ///
    /// # Errors
    /// The profile asks for something that makes no sense.
    pub fn new(profile: &LinuxSeccomp) -> Result<Self> {
        let path = profile
            .listener_path()
            .as_ref()
            .filter(|path| !path.as_os_str().is_empty());
        let metadata = profile
            .listener_metadata()
            .as_ref()
            .is_some_and(|metadata| !metadata.is_empty());
        if metadata && path.is_none() {
            return Err(Error::Invalid(
                "linux.seccomp.listenerMetadata goes with a listenerPath only".to_owned(),
            ));
        }
        let compiled = compile::compile(profile)?;
        if compiled.notifies && path.is_none() {
            return Err(Error::Invalid(
                "linux.seccomp: SCMP_ACT_NOTIFY needs a listenerPath to notify".to_owned(),
            ));
        }
        Ok(Self {
            program: compiled.program.iter().map(pack).collect(),
            flags: flags(profile, compiled.notifies),
        })
    }

    /// One that is compiled already, or that of a profile.
    ///
    /// # Errors
    /// The profile asks for something that makes no sense.
    pub fn of(compiled: Option<Self>, profile: Option<&LinuxSeccomp>) -> Result<Option<Self>> {
        match compiled {
            None => profile.map(Self::new).transpose(),
            compiled => Ok(compiled),
        }
    }

    /// Whether it notifies of some calls.
    #[must_use]
    pub fn notifies(&self) -> bool {
        self.flags & NEW_LISTENER != 0
    }

    /// Installs it for the calling thread and all it makes. What it notifies comes from the descriptor.
    ///
    /// # Errors
    /// The kernel refuses, or does not know a flag.
    pub fn install(self) -> Result<Option<OwnedFd>> {
        if broken::lacks("filter") {
            return Ok(None);
        }
        let program: Vec<Instruction> = self.program.iter().map(unpack).collect();
        let installed = crate::sys::seccomp::install(&program, self.flags, self.notifies());
        installed.during("install", "the seccomp filter")
    }
}

/// The flags of a profile. Waiting for notifications is without meaning where there are none, and refused by the kernel.
fn flags(profile: &LinuxSeccomp, notifies: bool) -> u32 {
    let given = profile.flags().iter().flatten().fold(0, |flags, flag| {
        flags
            | match flag {
                LinuxSeccompFilterFlag::SeccompFilterFlagTsync => TSYNC,
                LinuxSeccompFilterFlag::SeccompFilterFlagLog => LOG,
                LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => SPEC_ALLOW,
                LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => WAIT_KILLABLE_RECV,
            }
    });
    if !notifies {
        return given & !WAIT_KILLABLE_RECV;
    }
    // With both, a descriptor and the number of a thread could not be told apart: seccomp(2).
    let tell_apart = if given & TSYNC != 0 { TSYNC_ESRCH } else { 0 };
    given | NEW_LISTENER | tell_apart
}

/// The flags that the running kernel knows, by name.
#[must_use]
pub fn supported_flags() -> Vec<&'static str> {
    FLAGS
        .into_iter()
        .filter(|(_, flag)| {
            let with = if *flag == WAIT_KILLABLE_RECV { NEW_LISTENER } else { 0 };
            crate::sys::seccomp::knows(flag | with)
        })
        .map(|(name, _)| name)
        .collect()
}

/// Every flag by name.
pub const FLAGS: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_LOG", LOG),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_TSYNC", TSYNC),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", WAIT_KILLABLE_RECV),
];
