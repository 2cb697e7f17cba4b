//! The machine's procfs, and nothing that was put in its place (CVE-2019-16884, CVE-2023-27561, CVE-2025-52881).

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{During, Error, Result};
use crate::sys::path::{Scope, is_procfs, open_beneath};

/// An open `/proc` that was seen to be procfs.
#[derive(Debug)]
pub struct Procfs(OwnedFd);

impl Procfs {
    /// Opens the one of the caller's mount namespace.
    ///
    /// # Errors
    /// There is none.
    pub fn open() -> Result<Self> {
        let directory: OwnedFd = File::options()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open("/proc")
            .during("open", "/proc")?
            .into();
        if !is_procfs(directory.as_fd()) {
            return Err(Error::Invalid("/proc is not a procfs".to_owned()));
        }
        Ok(Self(directory))
    }

    /// Opens a file of it; nothing mounted over a part of it is ever entered.
    ///
    /// # Errors
    /// There is no such file, or something is in its place.
    pub fn open_file(&self, path: &Path, flags: i32) -> Result<OwnedFd> {
        let opened = open_beneath(self.0.as_fd(), path, flags, 0, Scope::SameMount);
        let opened = opened.during("open", Path::new("/proc").join(path).display())?;
        if is_procfs(opened.as_fd()) {
            return Ok(opened);
        }
        Err(Error::Invalid(format!("/proc/{} is not of procfs", path.display())))
    }

    /// Writes a value with one system call.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn write(&self, path: &Path, value: &str) -> Result<()> {
        let file = self.open_file(path, libc::O_WRONLY)?;
        let written = File::from(file).write_all(value.as_bytes());
        written.during("write", Path::new("/proc").join(path).display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_procfs_is_procfs() {
        let procfs = Procfs::open().unwrap();
        procfs.open_file(Path::new("self/stat"), libc::O_RDONLY).unwrap();
        assert!(
            procfs.open_file(Path::new("self/exe"), libc::O_RDONLY).is_err(),
            "leads out"
        );
        assert!(procfs.open_file(Path::new("../etc/passwd"), libc::O_RDONLY).is_err());
        assert!(
            procfs
                .open_file(Path::new("self/root/etc/passwd"), libc::O_RDONLY)
                .is_err()
        );
    }
}
