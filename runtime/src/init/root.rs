//! A container's root file system as an open directory. Nothing below it is ever reached by a path from outside.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::sys::stat::{FileStat, Mode, fstat, mkdirat};

use crate::broken;
use crate::error::{During, Error, Result};
use crate::sys::path::{Scope, is_procfs, open_beneath};

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

    /// Opens a directory, making it and its parents where they are missing. A link to what is missing makes that.
    ///
    /// # Errors
    /// Something that is no directory is in the way.
    pub fn make_dir(&self, path: &Path, mode: Mode) -> Result<OwnedFd> {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        match self.open(path, flags) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            other => return other.during("open", path.display()),
        }
        let path = &self.settle(path).during("follow", path.display())?;
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

    /// Opens a file as a place to mount on, making it empty, and its parents, where it is missing. A link to what is
    /// missing makes that.
    ///
    /// # Errors
    /// A directory is in the way, or it cannot be made.
    pub fn make_file(&self, path: &Path) -> Result<OwnedFd> {
        match self.open(path, libc::O_PATH) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            other => return other.during("open", path.display()),
        }
        let path = &self.settle(path).during("follow", path.display())?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::Invalid(format!("{} is no path of a file", path.display())));
        };
        let parent = self.make_dir(parent, Mode::from_bits_truncate(0o755))?;
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDONLY;
        open_beneath(parent.as_fd(), Path::new(name), flags, 0o644, Scope::NoLinks).during("make", path.display())
    }

    /// Where a path leads below the root, of which something is missing: without links and `..`. Whoever goes there must
    /// not trust it to be so still.
    fn settle(&self, path: &Path) -> io::Result<PathBuf> {
        // As the kernel's: path_resolution(7).
        const LINKS: u32 = 40;
        let parts = |path: &Path| -> Vec<OsString> {
            let parts = path.components().rev();
            parts.map(|part| part.as_os_str().to_owned()).collect()
        };
        let mut settled = PathBuf::from("/");
        let mut left = parts(path);
        let mut links = 0;
        while let Some(part) = left.pop() {
            if part == ".." {
                settled.pop();
                continue;
            }
            // The root's name replaces what is before it.
            let place = settled.join(&part);
            match self.link(&place)? {
                Some(_) if links == LINKS => return Err(Errno::ELOOP.into()),
                Some(target) => {
                    links += 1;
                    left.extend(parts(Path::new(&target)));
                }
                None => settled = place,
            }
        }
        Ok(settled)
    }

    /// Where a link leads, if there is one. None of procfs is read: what they lead to is not what they say.
    fn link(&self, place: &Path) -> io::Result<Option<OsString>> {
        let opened = match self.open(place, libc::O_PATH | libc::O_NOFOLLOW) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            opened => opened?,
        };
        if !is_link(&opened) {
            return Ok(None);
        }
        if is_procfs(opened.as_fd()) {
            return Err(Errno::ELOOP.into());
        }
        Ok(Some(readlinkat(&opened, c"")?))
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

/// Whether an open file is a link.
fn is_link(file: impl AsFd) -> bool {
    fstat(file).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFLNK)
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
    use std::os::unix::fs::symlink;

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
        symlink("/etc", dir.join("absolute")).unwrap();
        symlink("../../../../..", dir.join("up")).unwrap();
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
        symlink("/nowhere", dir.join("dangling")).unwrap();
        assert_eq!(
            place(&root.make_dir(Path::new("/dangling/x"), mode).unwrap()),
            dir.join("nowhere/x")
        );
        symlink("../../../nowhere/../some/./file", dir.join("etc/file")).unwrap();
        assert_eq!(
            place(&root.make_file(Path::new("/etc/file")).unwrap()),
            dir.join("some/file")
        );
        assert!(!Path::new("/nowhere").exists() && !Path::new("/some").exists());
        symlink("round/x", dir.join("round")).unwrap();
        for path in ["/round", "/missing/../round"] {
            assert_eq!(
                root.make_dir(Path::new(path), mode).unwrap_err().errno(),
                Some(libc::ELOOP)
            );
        }
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn only_the_null_device_is_null() {
        assert!(is_null(fs::File::open("/dev/null").unwrap()));
        assert!(!is_null(fs::File::open("/dev/zero").unwrap()));
        assert!(!is_null(fs::File::open("/").unwrap()));
    }
}
