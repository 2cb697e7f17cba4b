//! Everything that needs `unsafe`: system calls that neither the standard library nor nix wrap, each behind a safe
//! function that owns its descriptors. No other module of this crate contains `unsafe`.

pub mod bpf;
pub mod clone;
pub mod entry;
pub mod keyring;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod network;
pub mod path;
pub mod process;
pub mod regex;
pub mod scheduling;
pub mod seccomp;
pub mod socket;
pub mod terminal;

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// The result of a raw system call, with `errno` as the error.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The result of a raw system call that returns a new descriptor.
fn check_fd(result: libc::c_long) -> io::Result<OwnedFd> {
    let raw = RawFd::try_from(check(result)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just returned this descriptor, so it is open and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}
