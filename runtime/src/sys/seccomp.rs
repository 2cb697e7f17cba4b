//! Installing a system call filter.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use super::check;

/// One instruction of classic BPF.
pub type Instruction = libc::sock_filter;

/// Installs a filter for the calling thread and all it will make. `flags` are `SECCOMP_FILTER_FLAG_*`; with
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER` among them (`listens`) there is a descriptor of what is notified.
///
/// # Errors
/// What `seccomp(2)` says: `EACCES` without `no_new_privs` and without CAP_SYS_ADMIN.
pub fn install(program: &[Instruction], flags: u32, listens: bool) -> io::Result<Option<OwnedFd>> {
    let len = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let filter = libc::sock_fprog {
        len,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel reads `len` instructions from the slice, which outlives the call.
    let result = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const filter,
        )
    })?;
    if !listens {
        return Ok(None);
    }
    let raw = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just returned this descriptor, so it is open and nobody else owns it.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(raw) }))
}

/// Whether the kernel knows flags: it looks at them before it looks at the filter.
#[must_use]
pub fn knows(flags: u32) -> bool {
    let none = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: a filter that cannot be read is refused without effect.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, none) };
    result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}
