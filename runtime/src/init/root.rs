//! A container's root file system as an open directory. Nothing below it is ever reached by a path from outside.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, Mode, fstat, mkdirat};

use crate::broken;
use crate::error::{During, Error, Result};
use crate::sys::path::{Scope, open_beneath};

/// The directory that will be `/`.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Takes an open directory for the root.
    #[must_use]
    pub fn new(directory: OwnedFd) -> Self {
        Self(directory)
    }

    /// Opens something below the root; links are followed as the container would see them.
    ///
    /// # Errors
    /// What `openat2(2)` says.
    pub fn open(&self, path: &Path, flags: i32) -> io::Result<OwnedFd> {
        open_beneath(self.0.as_fd(), path, flags, 0, Scope::InRoot)
    }

    /// Opens something below the root on the way to which there is no link.
    ///
    /// # Errors
    /// What `openat2(2)` says; `ELOOP` for a link.
    pub fn open_plain(&self, path: &Path, flags: i32) -> io::Result<OwnedFd> {
        let path = path.strip_prefix("/").unwrap_or(path);
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        open_beneath(self.0.as_fd(), path, flags, 0, Scope::NoLinks)
    }

    /// Opens a directory, making it and its parents where they are missing.
    ///
    /// # Errors
    /// Something that is no directory is in the way.
    pub fn make_dir(&self, path: &Path, mode: Mode) -> Result<OwnedFd> {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        match self.open(path, flags) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            other => return other.during("open", path.display()),
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::Invalid(format!("{} is no path of a directory", path.display())));
        };
        let parent = self.make_dir(parent, mode)?;
        match mkdirat(&parent, name, mode) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error).during("make", path.display()),
        }
        open_beneath(parent.as_fd(), Path::new(name), flags, 0, Scope::NoLinks).during("open", path.display())
    }

    /// Opens a file as a place to mount on, making it empty, and its parents, where it is missing.
    ///
    /// # Errors
    /// A directory is in the way, or it cannot be made.
    pub fn make_file(&self, path: &Path) -> Result<OwnedFd> {
        match self.open(path, libc::O_PATH) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            other => return other.during("open", path.display()),
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::Invalid(format!("{} is no path of a file", path.display())));
        };
        let parent = self.make_dir(parent, Mode::from_bits_truncate(0o755))?;
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDONLY;
        open_beneath(parent.as_fd(), Path::new(name), flags, 0o644, Scope::NoLinks).during("make", path.display())
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether an open file is the null device, and not something put in its place (CVE-2025-31133).
pub fn is_null(file: impl AsFd) -> bool {
    broken::lacks("null-device")
        || fstat(file).is_ok_and(|stat| is_character(&stat) && stat.st_rdev == libc::makedev(1, 3))
}

/// Whether an open file is a directory.
pub fn is_dir(file: impl AsFd) -> bool {
    fstat(file).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

fn is_character(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFCHR
}

/// Whether two paths are the same file now.
pub fn same_file(a: &std::fs::Metadata, b: &std::fs::Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsRawFd;
    use std::path::PathBuf;

    fn root(name: &str) -> (PathBuf, Root) {
        let dir = std::env::temp_dir().join(format!("barepodtest-root-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let fd = fs::File::open(&dir).unwrap().into();
        (dir, Root::new(fd))
    }

    fn place(fd: &OwnedFd) -> PathBuf {
        fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap()
    }

    #[test]
    fn links_never_lead_out() {
        let (dir, root) = root("links");
        std::os::unix::fs::symlink("/etc", dir.join("absolute")).unwrap();
        std::os::unix::fs::symlink("../../../../..", dir.join("up")).unwrap();
        fs::create_dir(dir.join("etc")).unwrap();
        let mode = Mode::from_bits_truncate(0o755);
        assert_eq!(
            place(&root.make_dir(Path::new("/absolute/new"), mode).unwrap()),
            dir.join("etc/new")
        );
        assert_eq!(
            place(&root.make_dir(Path::new("/up/etc"), mode).unwrap()),
            dir.join("etc")
        );
        assert_eq!(place(&root.make_file(Path::new("/up/a/b")).unwrap()), dir.join("a/b"));
        assert!(
            root.open_plain(Path::new("/absolute"), libc::O_PATH | libc::O_DIRECTORY)
                .is_err()
        );
        std::os::unix::fs::symlink("/nowhere", dir.join("dangling")).unwrap();
        assert!(root.make_dir(Path::new("/dangling/x"), mode).is_err());
        assert!(!Path::new("/nowhere").exists());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn only_the_null_device_is_null() {
        assert!(is_null(fs::File::open("/dev/null").unwrap()));
        assert!(!is_null(fs::File::open("/dev/zero").unwrap()));
        assert!(!is_null(fs::File::open("/").unwrap()));
    }
}
