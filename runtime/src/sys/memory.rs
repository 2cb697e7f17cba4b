//! Memory files and the allocator.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// A memory file with `content` that nobody can change any more.
///
/// # Errors
/// No memory or no descriptor left.
pub fn sealed(name: &CStr, content: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    file.write_all(content)?;
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}

/// Gives memory that was freed back to the kernel. Called after bursts (a configuration parsed), because a monitor
/// lives as long as its pod and there are many.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a number and works on the allocator's own state, under its own lock.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Maps the program's code at once, which else happens piece by piece, each with a fault. The pages are the page
/// cache's and shared by all who run the program.
pub fn map_code() {
    unsafe extern "C" {
        // Set by the linker: end(3).
        static __executable_start: u8;
        static etext: u8;
    }
    let start = &raw const __executable_start;
    let length = (&raw const etext).addr().saturating_sub(start.addr());
    // SAFETY: populating reads pages that are mapped; kernels before 5.14 refuse, which changes nothing.
    unsafe {
        libc::madvise(start.cast_mut().cast(), length, libc::MADV_POPULATE_READ);
    }
}
