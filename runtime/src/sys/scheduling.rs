//! When and where a process runs, and what it takes itself for.

use std::io;
use std::ptr;

use super::check;

/// How a process is scheduled: sched_setattr(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// For `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// For `SCHED_DEADLINE`, in nanoseconds, as the next two.
    pub runtime: u64,
    /// By when.
    pub deadline: u64,
    /// How often.
    pub period: u64,
}

/// `struct sched_attr`.
#[repr(C)]
struct Structure {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    utilisation_min: u32,
    utilisation_max: u32,
}

/// Sets the scheduler of a process, 0 being the calling one.
///
/// # Errors
/// What `sched_setattr(2)` says.
pub fn set_scheduler(pid: i32, attributes: Attributes) -> io::Result<()> {
    let structure = Structure {
        // The kernel takes the size for the version of the structure.
        size: u32::try_from(size_of::<Structure>()).map_err(io::Error::other)?,
        policy: attributes.policy,
        flags: attributes.flags,
        nice: attributes.nice,
        priority: attributes.priority,
        runtime: attributes.runtime,
        deadline: attributes.deadline,
        period: attributes.period,
        utilisation_min: 0,
        utilisation_max: 0,
    };
    // SAFETY: the structure is as sched_setattr(2) has it, tells its size, and outlives the call.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const structure, 0) }).map(drop)
}

/// Sets the nice value of a process, 0 being the calling one.
///
/// # Errors
/// What `setpriority(2)` says.
pub fn set_nice(pid: i32, nice: i32) -> io::Result<()> {
    let pid = libc::id_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: plain numbers.
    check(libc::c_long::from(unsafe {
        libc::setpriority(libc::PRIO_PROCESS, pid, nice)
    }))
    .map(drop)
}

/// Sets the I/O priority of a process group, 0 being the calling one's.
///
/// # Errors
/// What `ioprio_set(2)` says.
pub fn set_io_priority(group: i32, class: u32, priority: u32) -> io::Result<()> {
    const IOPRIO_WHO_PGRP: libc::c_int = 2;
    const CLASS_SHIFT: u32 = 13;
    // SAFETY: plain numbers.
    check(unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            IOPRIO_WHO_PGRP,
            group,
            class << CLASS_SHIFT | priority,
        )
    })
    .map(drop)
}

/// Lets the calling thread run on these processors only, one bit each.
///
/// # Errors
/// What `sched_setaffinity(2)` says.
pub fn set_affinity(mask: &[usize]) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as it is told of the mask, which outlives the call.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) }).map(drop)
}

/// Sets the calling thread's memory policy: `mode` with its flags, and nodes, one bit each.
///
/// # Errors
/// What `set_mempolicy(2)` says: `ENOSYS` from a kernel that knows of one memory only.
pub fn set_memory_policy(mode: i32, nodes: &[usize]) -> io::Result<()> {
    let (mask, bits) = if nodes.is_empty() {
        (ptr::null(), 0)
    } else {
        // The kernel takes the number of bits, plus one.
        (nodes.as_ptr(), nodes.len() * usize::BITS as usize + 1)
    };
    // SAFETY: the kernel reads that many bits of the mask, which outlives the call.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) }).map(drop)
}

/// Sets the calling thread's execution domain.
///
/// # Errors
/// What `personality(2)` says.
pub fn set_personality(domain: u32) -> io::Result<()> {
    // SAFETY: a plain number.
    check(libc::c_long::from(unsafe {
        libc::personality(libc::c_ulong::from(domain))
    }))
    .map(drop)
}
