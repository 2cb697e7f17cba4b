//! What a process does to itself and to others: identity, capabilities, descriptors, signals.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{check, check_fd};

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
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
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

const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;

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
    // SAFETY: nothing in this program owns a descriptor above 2 yet.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0) }).map(drop)
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

/// Sends a signal by pidfd.
///
/// # Errors
/// What `pidfd_send_signal(2)` says: `ESRCH` if the process was reaped.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null info is allowed and means the same as kill(2).
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) }).map(drop)
}

/// Resets every signal to its default action. The standard library ignores SIGPIPE, and what is ignored stays so
/// across an exec.
pub fn default_signals() {
    for signal in 1..=64 {
        // SAFETY: the default action is no function of ours; numbers that cannot be set are refused without effect.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Ignores a signal.
pub fn ignore_signal(signal: i32) {
    // SAFETY: ignoring is no function of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}
