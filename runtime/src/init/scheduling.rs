//! When and where the process runs, and what it takes itself for.

use oci_spec::runtime::{
    IOPriorityClass, LinuxMemoryPolicy, LinuxPersonality, LinuxPersonalityDomain, LinuxSchedulerPolicy,
    MemoryPolicyFlagType, MemoryPolicyModeType,
};

use crate::document::{ExecCpuAffinity, IoPriority, Process, Scheduler, list, scheduler_flags};
use crate::error::{During, Error, Result};
use crate::sys::scheduling::{
    Attributes, set_affinity, set_io_priority, set_memory_policy, set_nice, set_personality, set_scheduler,
};

/// Sets scheduler and I/O priority of a process that leads its group, 0 being the calling one.
///
/// # Errors
/// The kernel refuses.
pub fn schedule(pid: i32, process: &Process) -> Result<()> {
    if let Some(scheduler) = &process.scheduler {
        set(pid, scheduler)?;
    }
    process
        .io_priority
        .as_ref()
        .map_or(Ok(()), |priority| set_io(pid, priority))
}

fn set(pid: i32, scheduler: &Scheduler) -> Result<()> {
    let policy = match scheduler.policy {
        LinuxSchedulerPolicy::SchedOther => libc::SCHED_OTHER,
        LinuxSchedulerPolicy::SchedFifo => libc::SCHED_FIFO,
        LinuxSchedulerPolicy::SchedRr => libc::SCHED_RR,
        LinuxSchedulerPolicy::SchedBatch => libc::SCHED_BATCH,
        LinuxSchedulerPolicy::SchedIdle => libc::SCHED_IDLE,
        LinuxSchedulerPolicy::SchedDeadline => libc::SCHED_DEADLINE,
        // Reserved, and never implemented: sched_setscheduler(2).
        LinuxSchedulerPolicy::SchedIso => 4,
    };
    let attributes = Attributes {
        policy: policy.cast_unsigned(),
        flags: scheduler_flags(&scheduler.flags)?,
        nice: scheduler.nice,
        priority: u32::try_from(scheduler.priority)
            .map_err(|_| Error::Invalid("process.scheduler.priority is below 0".to_owned()))?,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
    };
    set_scheduler(pid, attributes).during("set the scheduler", scheduler.policy)?;
    // Of the other schedulers the kernel does not take it, but a process that goes back from them has it.
    let taken = matches!(
        scheduler.policy,
        LinuxSchedulerPolicy::SchedOther | LinuxSchedulerPolicy::SchedBatch
    );
    if scheduler.nice != 0 && !taken {
        set_nice(pid, scheduler.nice).during("set the nice value", scheduler.nice)?;
    }
    Ok(())
}

fn set_io(group: i32, priority: &IoPriority) -> Result<()> {
    let class = match priority.class {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let level = u32::try_from(priority.priority).unwrap_or(0);
    set_io_priority(group, class, level).during("set the I/O priority", priority.class)
}

/// Runs on the processors of `execCPUAffinity.initial` from here on, if there are some.
///
/// # Errors
/// There is no such processor.
pub fn initial_affinity(affinity: Option<&ExecCpuAffinity>) -> Result<()> {
    match affinity.and_then(|affinity| given(&affinity.initial)) {
        Some(initial) => run_on("process.execCPUAffinity.initial", initial),
        None => Ok(()),
    }
}

/// Runs on the processors of `execCPUAffinity.final` from here on; without them, but with initial ones, on all that the
/// cgroup allows.
///
/// # Errors
/// There is no such processor, or the cgroup does not allow it.
pub fn final_affinity(affinity: Option<&ExecCpuAffinity>) -> Result<()> {
    let Some(affinity) = affinity else { return Ok(()) };
    match (given(&affinity.last), given(&affinity.initial)) {
        (Some(last), _) => run_on("process.execCPUAffinity.final", last),
        (None, Some(_)) => set_affinity(&[usize::MAX; 128]).during("run on", "all processors"),
        (None, None) => Ok(()),
    }
}

fn given(list: &Option<String>) -> Option<&str> {
    list.as_deref().filter(|list| !list.is_empty())
}

fn run_on(what: &str, processors: &str) -> Result<()> {
    let mask = list::mask(&list::parse(what, processors)?);
    set_affinity(&mask).during("run on processors", processors)
}

/// Sets the execution domain.
///
/// # Errors
/// The kernel refuses.
pub fn personality(personality: &LinuxPersonality) -> Result<()> {
    // PER_LINUX and PER_LINUX32 of linux/personality.h.
    let domain = match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0x0,
        LinuxPersonalityDomain::PerLinux32 => 0x8,
    };
    set_personality(domain).during("set the personality", personality.domain())
}

/// Sets the memory policy, which the program keeps.
///
/// # Errors
/// A node that there is not, or a kernel without such policies.
pub fn memory_policy(policy: &LinuxMemoryPolicy) -> Result<()> {
    // linux/mempolicy.h.
    let mode = match policy.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flag = |flag: &MemoryPolicyFlagType| match flag {
        MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
        MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
        MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
    };
    let mode = policy
        .flags()
        .iter()
        .flatten()
        .fold(mode, |mode, name| mode | flag(name));
    let nodes = match policy.nodes().as_deref().filter(|nodes| !nodes.trim().is_empty()) {
        Some(nodes) => list::mask(&list::parse("linux.memoryPolicy.nodes", nodes)?),
        None => Vec::new(),
    };
    match set_memory_policy(mode, &nodes) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Err(Error::Invalid(
            "linux.memoryPolicy: this kernel has no memory policies (CONFIG_NUMA)".to_owned(),
        )),
        other => other.during("set the memory policy", policy.mode()),
    }
}
