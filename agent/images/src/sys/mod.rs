//! The system calls that no dependency wraps: extended attributes by descriptor.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Sets an extended attribute, replacing an old value (fsetxattr(2)).
pub(crate) fn set_xattr(file: impl AsFd, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed for the call, `name` ends in NUL, `value` is valid for its length.
    let result = unsafe {
        libc::fsetxattr(
            file.as_fd().as_raw_fd(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Reads an extended attribute of at most 64 KiB (fgetxattr(2)); nothing if the file does not have it, or its
/// filesystem has none.
pub(crate) fn get_xattr(file: impl AsFd, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0_u8; 64];
    loop {
        // SAFETY: the descriptor is borrowed for the call, `name` ends in NUL, `value` is valid for its length.
        let length = unsafe {
            libc::fgetxattr(
                file.as_fd().as_raw_fd(),
                name.as_ptr(),
                value.as_mut_ptr().cast(),
                value.len(),
            )
        };
        if let Ok(length) = usize::try_from(length) {
            value.truncate(length);
            return Ok(Some(value));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ENODATA | libc::ENOTSUP) => return Ok(None),
            Some(libc::ERANGE) if value.len() < 65536 => value.resize(65536, 0),
            _ => return Err(error),
        }
    }
}
