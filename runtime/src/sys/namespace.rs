//! What a descriptor of a namespace tells.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check;

/// Which kind of namespace it is, as `CLONE_NEW*`.
///
/// # Errors
/// What `ioctl_ns(2)` says: `ENOTTY` if it is none.
pub fn kind_of(namespace: BorrowedFd<'_>) -> io::Result<i32> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: the request takes no argument.
    let kind = check(libc::c_long::from(unsafe {
        libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE as _)
    }))?;
    i32::try_from(kind).map_err(io::Error::other)
}
