//! Copying what a tmpfs covers into it: the mount option `tmpcopyup`.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::{AtFlags, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstat, fstatat, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use crate::error::{During, Result};
use crate::sys::path::{Scope, open_beneath};

/// Directories below this many others are not looked into: nobody has such trees, but who does may mean harm.
const DEEPEST: usize = 128;

/// Copies what is in `from` to `to`, with owners, modes and times, and gives `to` those of `from`. Nothing outside is
/// followed or entered.
///
/// # Errors
/// A file cannot be read, or the new file system is full.
pub fn copy(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    copy_directory(from, to, DEEPEST).during("copy to", "the file system that covers it")
}

fn copy_directory(from: &OwnedFd, to: &OwnedFd, depth: usize) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::from_raw_os_error(libc::ELOOP));
    }
    let mut entries = Dir::from_fd(from.try_clone()?)?;
    for entry in entries.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(from, to, name, depth)?;
        }
    }
    let stat = fstat(from)?;
    nix::unistd::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(to, mode(&stat))?;
    let (accessed, modified) = times(&stat);
    Ok(nix::sys::stat::futimens(to, &accessed, &modified)?)
}

fn copy_entry(from: &OwnedFd, to: &OwnedFd, name: &CStr, depth: usize) -> io::Result<()> {
    let stat = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let path = Path::new(OsStr::from_bytes(name.to_bytes()));
    let open = |dir: &OwnedFd, flags: i32| {
        // The kernel refuses a mode where nothing is made: openat2(2).
        let mode = if flags & libc::O_CREAT == 0 { 0 } else { 0o600 };
        open_beneath(dir.as_fd(), path, flags | libc::O_NOFOLLOW, mode, Scope::NoLinks)
    };
    match SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT) {
        SFlag::S_IFDIR => {
            mkdirat(to, name, Mode::from_bits_truncate(0o700))?;
            let flags = libc::O_RDONLY | libc::O_DIRECTORY;
            return copy_directory(&open(from, flags)?, &open(to, flags)?, depth - 1);
        }
        SFlag::S_IFREG => {
            let mut source = File::from(open(from, libc::O_RDONLY | libc::O_NONBLOCK)?);
            let mut target = File::from(open(to, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL)?);
            io::copy(&mut source, &mut target)?;
            own(to, name, &stat)?;
            // After the owner, whose change takes set-user-ID away.
            fchmod(&target, mode(&stat))?;
        }
        SFlag::S_IFLNK => {
            symlinkat(readlinkat(from, name)?.as_os_str(), to, name)?;
            own(to, name, &stat)?;
        }
        kind => {
            mknodat(to, name, kind, mode(&stat), stat.st_rdev)?;
            own(to, name, &stat)?;
        }
    }
    let (accessed, modified) = times(&stat);
    Ok(utimensat(
        to,
        name,
        &accessed,
        &modified,
        UtimensatFlags::NoFollowSymlink,
    )?)
}

fn own(dir: &OwnedFd, name: &CStr, stat: &FileStat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    Ok(fchownat(dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?)
}

fn mode(stat: &FileStat) -> Mode {
    Mode::from_bits_truncate(stat.st_mode)
}

fn times(stat: &FileStat) -> (TimeSpec, TimeSpec) {
    (
        TimeSpec::new(stat.st_atime, stat.st_atime_nsec),
        TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn a_tree_is_the_same_afterwards() {
        let dir = std::env::temp_dir().join(format!("barepodtest-copyup-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let (from, to) = (dir.join("from"), dir.join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::write(from.join("a/b/file"), "text").unwrap();
        fs::set_permissions(from.join("a/b/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::set_permissions(from.join("a"), fs::Permissions::from_mode(0o1777)).unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        let open = |path: &Path| OwnedFd::from(File::open(path).unwrap());
        copy(&open(&from), &open(&to)).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/b/file")).unwrap(), "text");
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
        for name in ["a", "a/b", "a/b/file"] {
            let (old, new) = (
                fs::metadata(from.join(name)).unwrap(),
                fs::metadata(to.join(name)).unwrap(),
            );
            assert_eq!((old.mode(), old.mtime_nsec()), (new.mode(), new.mtime_nsec()), "{name}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
