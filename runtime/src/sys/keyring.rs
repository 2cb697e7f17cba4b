//! Session keyrings: what a process keeps in its own is not in the machine's.

use std::ffi::CStr;
use std::io;

use super::check;

// linux/keyctl.h.
const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
const KEYCTL_SETPERM: libc::c_int = 5;

/// What a new session keyring may be used for, and that its user finds it by name: keyctl_setperm(3).
const FOUND_BY_USER: libc::c_ulong = 0x3f1b_0000;

/// Makes a session keyring with this name the calling process's, or joins the one that is there and can be found.
///
/// # Errors
/// What `keyctl(2)` says: `ENOSYS` on a kernel without keyrings, `EDQUOT` for too many of them.
pub fn join_session(name: &CStr) -> io::Result<libc::c_long> {
    // SAFETY: the operation reads a C string, which outlives the call.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })
}

/// Lets other processes of its user find a keyring by its name.
///
/// # Errors
/// What `keyctl(2)` says.
pub fn let_be_found(keyring: libc::c_long) -> io::Result<()> {
    // SAFETY: the operation takes numbers.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, keyring, FOUND_BY_USER) }).map(drop)
}
