//! What a process does to itself and to others: identity, capabilities, descriptors, signals.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{check, check_fd};
use crate::broken;
use crate::procfs::Stat;

/// Capability sets as bit masks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// In force.
    pub effective: u64,
    /// May be put in force.
    pub permitted: u64,
    /// Kept by programs that have them in their file.
    pub inheritable: u64,
}

/// Sets the calling thread's effective, permitted and inheritable capabilities.
///
/// # Errors
/// What `capset(2)` says: `EPERM` for one that is not permitted now.
pub fn set_capabilities(sets: CapabilitySets) -> io::Result<()> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the halves of a 64-bit mask are what the kernel takes"
    )]
    let half = |shift: u32| Data {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let header = Header {
        version: LINUX_CAPABILITY_VERSION_3,
        pid: 0,
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 takes a header and two data elements, both of which outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}

/// The calling thread's permitted capabilities.
///
/// # Errors
/// What `capget(2)` says.
pub fn permitted_capabilities() -> io::Result<u64> {
    let header = Header {
        version: LINUX_CAPABILITY_VERSION_3,
        pid: 0,
    };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 reads a header and fills two data elements, both of which outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    Ok(u64::from(data[0].permitted) | u64::from(data[1].permitted) << 32)
}

const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Drops a capability from the bounding set. `false` if the kernel does not know it.
///
/// # Errors
/// What `prctl(2)` says.
pub fn drop_bounding(capability: u32) -> io::Result<bool> {
    // SAFETY: prctl with plain numbers.
    match check(unsafe { prctl(libc::PR_CAPBSET_DROP, u64::from(capability), 0) }) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        other => other.map(|_| true),
    }
}

/// Empties the ambient set.
///
/// # Errors
/// What `prctl(2)` says.
pub fn clear_ambient() -> io::Result<()> {
    // SAFETY: prctl with plain numbers.
    check(unsafe {
        prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL.cast_unsigned().into(),
            0,
        )
    })
    .map(drop)
}

/// Adds a capability to the ambient set.
///
/// # Errors
/// What `prctl(2)` says: `EPERM` unless it is permitted and inheritable.
pub fn raise_ambient(capability: u32) -> io::Result<()> {
    let raise = libc::PR_CAP_AMBIENT_RAISE.cast_unsigned().into();
    // SAFETY: prctl with plain numbers.
    check(unsafe { prctl(libc::PR_CAP_AMBIENT, raise, u64::from(capability)) }).map(drop)
}

/// # Safety
/// `option` must take numbers only.
unsafe fn prctl(option: libc::c_int, a: u64, b: u64) -> libc::c_long {
    // SAFETY: the caller promises that the option takes numbers.
    libc::c_long::from(unsafe { libc::prctl(option, a, b, 0, 0) })
}

/// Marks every descriptor from `first` on close-on-exec.
///
/// # Errors
/// What `close_range(2)` says.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: marks descriptors, closes none.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Closes every descriptor a process inherited beside the standard three. To be called first thing in `main`, before
/// any descriptor is owned.
///
/// # Errors
/// What `close_range(2)` says.
pub fn close_inherited() -> io::Result<()> {
    if broken::lacks("closed-descriptors") {
        return Ok(());
    }
    // SAFETY: nothing in this program owns a descriptor above 2 yet.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0) }).map(drop)
}

/// A descriptor that the process was started with, if it is open and was not opened since.
#[must_use]
pub fn inherited(fd: u32) -> Option<BorrowedFd<'static>> {
    let raw = libc::c_int::try_from(fd).ok()?;
    // SAFETY: asks for flags, which is harmless for any number.
    let flags = unsafe { libc::fcntl(raw, libc::F_GETFD) };
    // This program opens everything close-on-exec, so that one without the mark is inherited and nobody here closes it.
    // SAFETY: it is open, as just seen, and stays open.
    (flags >= 0 && flags & libc::FD_CLOEXEC == 0).then(|| unsafe { BorrowedFd::borrow_raw(raw) })
}

/// Whether a process has ended, by its pidfd.
#[must_use]
pub fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(pidfd, PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Ends the process at once, without the exit handlers it shares with its parent's image.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches nothing.
    unsafe { libc::_exit(code) }
}

/// A descriptor for a process by its pid.
///
/// # Errors
/// What `pidfd_open(2)` says.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    check_fd(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// The number that the kernel gives no other process until it is booted again; 0 from kernels before 6.9, where every
/// pidfd has the same inode.
#[must_use]
pub fn unique_number(pidfd: BorrowedFd<'_>) -> u64 {
    const PID_FS_MAGIC: libc::c_long = 0x5049_4446;
    // SAFETY: both are plain numbers, for which all zeroes are values, and are filled below.
    let (mut file_system, mut file): (libc::statfs, libc::stat) = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and both buffers are of their types.
    let told = unsafe {
        libc::fstatfs(pidfd.as_raw_fd(), &raw mut file_system) == 0
            && libc::fstat(pidfd.as_raw_fd(), &raw mut file) == 0
    };
    if told && file_system.f_type == PID_FS_MAGIC {
        file.st_ino
    } else {
        0
    }
}

/// Sends a signal by pidfd.
///
/// # Errors
/// What `pidfd_send_signal(2)` says: `ESRCH` if the process was reaped.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null info is allowed and means the same as kill(2).
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) }).map(drop)
}

/// Raises the hard limit of another process, leaving its soft one.
///
/// # Errors
/// What `prlimit(2)` says: `EPERM` without CAP_SYS_RESOURCE.
pub fn raise_limit(pid: i32, resource: nix::sys::resource::Resource, hard: u64) -> io::Result<()> {
    // SAFETY: an all-zero rlimit is a valid value.
    let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
    let (resource, none) = (resource as libc::__rlimit_resource_t, std::ptr::null::<libc::rlimit>());
    // SAFETY: the kernel fills the structure, which outlives the call.
    check(libc::c_long::from(unsafe {
        libc::prlimit(pid, resource, none, &raw mut limit)
    }))?;
    limit.rlim_max = hard;
    let old = std::ptr::null_mut();
    // SAFETY: the kernel reads the structure, which outlives the call.
    check(libc::c_long::from(unsafe {
        libc::prlimit(pid, resource, &raw const limit, old)
    }))
    .map(drop)
}

/// Sets the NIS domain name of the UTS namespace.
///
/// # Errors
/// What `setdomainname(2)` says.
pub fn set_domain_name(name: &str) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as it is told.
    check(libc::c_long::from(unsafe {
        libc::setdomainname(name.as_ptr().cast(), name.len())
    }))
    .map(drop)
}

/// Resets a signal to its default action: one that a program inherits as ignored stays ignored.
///
/// The library's own function refuses signals 32 and 33, which its `posix_spawn` leaves ignored.
pub fn default_signal(signal: i32) {
    const SIGSET_BYTES: usize = 8;
    // The kernel's `struct sigaction` is no longer than this on any architecture; zero is the default action.
    let default = [0_u64; 4];
    let old = std::ptr::null_mut::<u64>();
    // SAFETY: the kernel reads the structure, which outlives the call, and writes nothing; numbers that cannot be set
    // are refused without effect. The handlers of the library are lost with this, but only it would miss them, and
    // this process has no second thread to be cancelled.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, SIGSET_BYTES) };
}

/// Blocks no signal.
pub fn unblock_signals() {
    // An empty set cannot be refused.
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
}

/// Ignores a signal.
pub fn ignore_signal(signal: i32) {
    // SAFETY: ignoring is no function of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Closes every descriptor but the standard three and `keep`. For the child of a clone that goes on to execute or to
/// exit: what its parent's structures own must not be dropped there any more.
///
/// # Errors
/// What `close_range(2)` says.
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    if broken::lacks("closed-descriptors") {
        return Ok(());
    }
    let mut keep: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().cast_unsigned()).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep.into_iter().chain([u32::MAX]) {
        if fd > first {
            // SAFETY: the process never returns to code that uses what is closed here, as the caller promises.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) })?;
        }
        first = first.max(fd.saturating_add(1));
    }
    Ok(())
}

/// Makes the user id 0 as good as any other: an execution gives it no capabilities.
///
/// # Errors
/// What `prctl(2)` says.
pub fn no_root() -> io::Result<()> {
    const SECBIT_NOROOT: u64 = 1;
    const SECBIT_NOROOT_LOCKED: u64 = 2;
    // SAFETY: prctl with plain numbers.
    check(unsafe { prctl(libc::PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED, 0) }).map(drop)
}

/// Whether a child that was cloned has executed a program, be it still alive or ended and not reaped.
#[must_use]
pub fn has_executed(pid: i32) -> bool {
    Stat::of(pid).is_some_and(|stat| stat.has_executed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executed_child_is_known_even_after_its_end() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // `spawn` returns after the execution.
        assert!(has_executed(pid));
        let pidfd = pidfd_open(pid).unwrap();
        let mut polled = [PollFd::new(std::os::fd::AsFd::as_fd(&pidfd), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::NONE).unwrap();
        assert!(has_executed(pid));
        child.wait().unwrap();
        assert!(!has_executed(pid));
    }
}
