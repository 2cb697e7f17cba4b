//! Installing a system call filter.

use std::io;

use super::check;

/// One instruction of classic BPF.
pub type Instruction = libc::sock_filter;

/// Installs a filter for the calling thread and all it will make. `flags` are `SECCOMP_FILTER_FLAG_*`.
///
/// # Errors
/// What `seccomp(2)` says: `EACCES` without `no_new_privs` and without CAP_SYS_ADMIN.
pub fn install(program: &[Instruction], flags: u32) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let filter = libc::sock_fprog {
        len,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel reads `len` instructions from the slice, which outlives the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const filter,
        )
    })
    .map(drop)
}
