//! Opening beneath a directory with `openat2(2)`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::NixPath;
use nix::sys::statfs::{FsType, fstatfs};

use super::check_fd;
use crate::broken;

/// How far a path may lead, for [`open_beneath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The directory is the root: `/` and `..` stop there, links are followed inside.
    InRoot,
    /// Leaving the directory is an error, even for a moment; links inside are followed.
    Beneath,
    /// As `Beneath`, and no link is followed.
    NoLinks,
    /// As `Beneath`, and no mount is entered or left.
    SameMount,
}

/// Opens `path` below `dir`, close-on-exec. Links of `/proc` that jump elsewhere are never followed.
///
/// # Errors
/// What `openat2(2)` says: `EXDEV` if the path leads out, `ELOOP` if a link is in the way.
pub fn open_beneath(dir: BorrowedFd<'_>, path: &Path, flags: i32, mode: u32, scope: Scope) -> io::Result<OwnedFd> {
    let scope = match scope {
        Scope::InRoot if broken::lacks("resolution-in-root") => return open_below(dir, path, flags, mode),
        Scope::Beneath if broken::lacks("resolution-beneath") => return open_below(dir, path, flags, mode),
        Scope::SameMount if broken::lacks("resolution-in-mount") => return open_below(dir, path, flags, mode),
        Scope::NoLinks if broken::lacks("resolution-without-links") => Scope::InRoot,
        Scope::InRoot | Scope::Beneath if broken::lacks("resolution-at-once") => {
            return open_twice(dir, path, flags, mode);
        }
        scope => scope,
    };
    let how = match scope {
        Scope::InRoot => libc::RESOLVE_IN_ROOT,
        Scope::Beneath => libc::RESOLVE_BENEATH,
        Scope::NoLinks => libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS,
        Scope::SameMount => libc::RESOLVE_BENEATH | libc::RESOLVE_NO_XDEV,
    };
    resolve(dir, path, flags, mode, libc::RESOLVE_NO_MAGICLINKS | how)
}

/// `openat2(2)` with flags for the resolution of the path.
fn resolve(dir: BorrowedFd<'_>, path: &Path, flags: i32, mode: u32, resolve: u64) -> io::Result<OwnedFd> {
    // SAFETY: all fields of the structure are plain numbers for which zero means "not used".
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = u64::from((flags | libc::O_CLOEXEC).cast_unsigned());
    how.mode = u64::from(mode);
    how.resolve = resolve;
    path.with_nix_path(|path| {
        loop {
            // SAFETY: the path is a C string for the length of the call, the structure outlives it and its size is given.
            let opened = check_fd(unsafe {
                libc::syscall(
                    libc::SYS_openat2,
                    dir.as_raw_fd(),
                    path.as_ptr(),
                    &raw const how,
                    size_of_val(&how),
                )
            });
            // A rename anywhere in the system may make the kernel unsure whether `..` stayed inside: openat2(2).
            match opened {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
                other => break other,
            }
        }
    })?
}

/// Goes where a path leads from a directory: links and all.
fn open_below(dir: BorrowedFd<'_>, path: &Path, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    let path = Path::new(".").join(path.strip_prefix("/").unwrap_or(path));
    resolve(dir, &path, flags, mode, 0)
}

/// Looks where a path leads, and goes there by that name: what this is all about not doing (CVE-2021-30465).
fn open_twice(dir: BorrowedFd<'_>, path: &Path, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    let inside = resolve(dir, path, libc::O_PATH, 0, libc::RESOLVE_IN_ROOT)?;
    let name = std::fs::read_link(format!("/proc/self/fd/{}", inside.as_raw_fd()))?;
    resolve(dir, &name, flags, mode, 0)
}

/// Which mount a path leads to.
///
/// # Errors
/// The path leads nowhere, or `/proc` is not mounted.
pub fn mount_id(path: &Path) -> io::Result<u64> {
    let file = std::fs::File::options()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path)?;
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or_else(|| io::Error::other("procfs tells of no mount"))
}

/// Whether a descriptor is on procfs, and not on something a container put in its place.
pub fn is_procfs(fd: BorrowedFd<'_>) -> bool {
    fstatfs(fd).is_ok_and(|stat| stat.filesystem_type() == FsType(libc::PROC_SUPER_MAGIC))
}
