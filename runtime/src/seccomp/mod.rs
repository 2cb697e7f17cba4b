//! OCI seccomp profiles as BPF programs.
//!
//! The program is a binary search over ranges of system call numbers, not a list to be walked: when it is installed the
//! kernel runs it once for every number there is, to remember which calls are always allowed, and a list of 350
//! comparisons takes it half a millisecond for that, a quarter of a container's start; this takes it a tenth. One program
//! also carries any mix of actions, where an allow-list with one action for the rest needs two filters for the usual
//! profile (`EPERM`, but `ENOSYS` for clone3).

mod compile;
pub mod table;

pub use compile::compile;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag};

use crate::error::{During, Result};

/// Compiles a profile and installs it for the calling thread and all it makes.
///
/// # Errors
/// The profile asks for something this runtime has not, or the kernel refuses.
pub fn install(profile: &LinuxSeccomp) -> Result<()> {
    let program = compile(profile)?;
    crate::sys::seccomp::install(&program, flags(profile)).during("install", "the seccomp filter")
}

/// `SECCOMP_FILTER_FLAG_*` of a profile. The process has one thread, so that there is nothing to synchronise.
fn flags(profile: &LinuxSeccomp) -> u32 {
    profile.flags().iter().flatten().fold(0, |flags, flag| {
        flags
            | match flag {
                LinuxSeccompFilterFlag::SeccompFilterFlagLog => 1 << 1,
                LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => 1 << 2,
                LinuxSeccompFilterFlag::SeccompFilterFlagTsync
                | LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 0,
            }
    })
}
