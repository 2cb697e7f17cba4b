//! Keeping containers from writing to the runtime's own file (CVE-2019-5736).
//!
//! A process on its way into a container is the runtime's program for a moment, and `/proc/PID/exe` leads from there
//! to the file, past all mounts. If the program was executed through a read-only mount of its own, or from a sealed
//! memory file, nothing can be written that way.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{AtFlags, FcntlArg, SealFlag, fcntl};
use nix::sys::prctl;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::execveat;

use crate::broken;
use crate::client::sealed_executable;
use crate::error::{During, Result};
use crate::sys::memory::sealed;

const SELF: &str = "/proc/self/exe";

/// Whether the running program cannot be written to through `/proc`.
#[must_use]
pub fn is_sealed() -> bool {
    if broken::lacks("sealed-runtime") {
        return true;
    }
    let Ok(program) = File::options().read(true).custom_flags(libc::O_PATH).open(SELF) else {
        return false;
    };
    if fstatvfs(&program).is_ok_and(|stat| stat.flags().contains(FsFlags::ST_RDONLY)) {
        return true;
    }
    let seals = File::open(SELF).and_then(|program| Ok(fcntl(&program, FcntlArg::F_GET_SEALS)?));
    seals.is_ok_and(|seals| SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_WRITE))
}

/// Keeps containers from this process' memory and files, and from those of the processes it clones, up to the execution
/// of another program.
///
/// # Errors
/// The kernel refuses.
pub fn keep_out() -> Result<()> {
    if broken::lacks("undumpable") {
        return Ok(());
    }
    prctl::set_dumpable(false).during("protect", "the process")
}

/// Executes the running program again so that it is sealed, with the same arguments and environment. Returns only if
/// that failed.
///
/// # Errors
/// Neither a read-only mount nor a memory file can be made.
pub fn execute_again() -> Result<Infallible> {
    let program: OwnedFd = match sealed_executable(Path::new(SELF)) {
        Ok(mount) => mount,
        Err(_) => sealed(c"barepod-runtime", &fs::read(SELF).during("read", SELF)?)
            .during("copy", SELF)?
            .into(),
    };
    let own = |text: std::ffi::OsString| CString::new(text.into_vec()).unwrap_or_default();
    let arguments: Vec<CString> = std::env::args_os().map(own).collect();
    let environment: Vec<CString> = std::env::vars_os()
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            own(name)
        })
        .collect();
    execveat(&program, c"", &arguments, &environment, AtFlags::AT_EMPTY_PATH).during("execute", SELF)
}
