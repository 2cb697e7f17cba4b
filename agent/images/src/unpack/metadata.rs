//! Owner, mode, times and extended attributes of what was unpacked.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstat, fstatat, futimens, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};

use crate::sys;
use crate::tarball::{Entry, Kind};
use crate::view::kind;

/// Sets owner, mode and extended attributes of an opened file or directory. The order matters: a change of owner
/// clears set-id bits and capabilities (chown(2), capabilities(7)).
pub(super) fn set(file: impl AsFd, entry: &Entry) -> io::Result<()> {
    fchown(&file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))?;
    fchmod(&file, Mode::from_bits_truncate(entry.mode))?;
    for (name, value) in &entry.xattrs {
        if is_kept(name)
            && let Ok(name) = CString::new(name.clone())
        {
            match sys::set_xattr(&file, &name, value) {
                // A filesystem without user attributes is no reason to refuse the image; without capabilities it is.
                Err(error) if error.raw_os_error() == Some(libc::ENOTSUP) && name.to_bytes().starts_with(b"user.") => {}
                result => result?,
            }
        }
    }
    Ok(())
}

/// Attributes that a layer may carry. `trusted.overlay.*` would let it redirect lookups, labels belong to the node's
/// security module, and the rest is of no use in a container.
fn is_kept(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name == b"security.capability"
}

pub(super) fn set_times(file: impl AsFd, mtime: (i64, u32)) -> io::Result<()> {
    let time = time(mtime);
    Ok(futimens(file, &time, &time)?)
}

/// Sets owner, mode (not of links, which have none) and times of something that cannot be opened.
pub(super) fn set_at(parent: &OwnedFd, name: &OsStr, entry: &Entry) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    fchownat(parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if entry.kind != Kind::Symlink {
        // The node was just made in a directory nobody else can enter, so it is no link.
        fchmodat(
            parent,
            name,
            Mode::from_bits_truncate(entry.mode),
            FchmodatFlags::FollowSymlink,
        )?;
    }
    let time = time(entry.mtime);
    Ok(utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink)?)
}

fn time((seconds, nanos): (i64, u32)) -> TimeSpec {
    TimeSpec::new(seconds, i64::from(nanos))
}

/// Gives `copy` the owner and mode of `original`; returns the time it should get when nothing more is made in it.
pub(super) fn copy_directory(original: BorrowedFd<'_>, copy: &OwnedFd) -> io::Result<(i64, u32)> {
    let stat = fstat(original)?;
    fchown(copy, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(copy, Mode::from_bits_truncate(stat.st_mode))?;
    Ok((stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)))
}

/// What `name` is, without following it.
pub(super) fn existing(parent: &OwnedFd, name: &OsStr) -> io::Result<Option<(SFlag, u64)>> {
    match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some((kind(&stat), stat.st_rdev))),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether `name` is a whiteout: a character device 0/0 (kernel documentation, filesystems/overlayfs).
pub(super) fn is_whiteout(parent: &OwnedFd, name: &OsStr) -> io::Result<bool> {
    Ok(existing(parent, name)? == Some((SFlag::S_IFCHR, 0)))
}
