//! `subPath` and `subPathExpr`: one entry of a volume, found beneath the volume by descriptor.
//!
//! A container that shares the volume may swap path parts for symbolic links at any time (CVE-2017-1002101,
//! CVE-2021-25741), so the path is resolved once by the kernel with RESOLVE_BENEATH, and what is handed on is a bind
//! mount of the descriptor that was found, never the path.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};

use super::Error;
use crate::files;

fn failed(operation: &'static str, path: &Path) -> impl Fn(Errno) -> Error {
    let path = path.display().to_string();
    move |errno| Error::Io {
        operation,
        path: path.clone(),
        source: errno.into(),
    }
}

/// Binds `sub_path` of `volume` to `staging`, which is made; a missing entry is made as a directory.
pub fn bind(volume: &Path, sub_path: &str, staging: &Path) -> Result<PathBuf, Error> {
    let found = find(volume, sub_path)?;
    let directory = SFlag::from_bits_truncate(fstat(&found).map_err(failed("look at", volume))?.st_mode)
        & SFlag::S_IFMT
        == SFlag::S_IFDIR;
    prepare(staging, directory).map_err(|source| Error::Io {
        operation: "prepare",
        path: staging.display().to_string(),
        source,
    })?;
    let source = format!("/proc/self/fd/{}", found.as_raw_fd());
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source.as_str()), staging, None::<&str>, flags, None::<&str>).map_err(failed("bind mount", staging))?;
    Ok(staging.to_owned())
}

/// An empty mount point of the right sort, with nothing mounted on it.
fn prepare(staging: &Path, directory: bool) -> io::Result<()> {
    files::detach_below(staging)?;
    if let Ok(known) = fs::symlink_metadata(staging) {
        if known.is_dir() {
            fs::remove_dir(staging)?
        } else {
            fs::remove_file(staging)?
        }
    }
    if let Some(parent) = staging.parent() {
        files::make_private_dir(parent)?;
    }
    if directory {
        fs::create_dir(staging)
    } else {
        fs::File::create(staging).map(drop)
    }
}

/// Opens `sub_path` beneath `volume`, making what is missing.
fn find(volume: &Path, sub_path: &str) -> Result<OwnedFd, Error> {
    let wrong = || Error::Path(sub_path.to_owned());
    let mut parts = Vec::new();
    for part in Path::new(sub_path).components() {
        match part {
            Component::Normal(name) => parts.push(name),
            Component::CurDir => {}
            _ => return Err(wrong()),
        }
    }
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let root = open(volume, flags | OFlag::O_DIRECTORY, Mode::empty()).map_err(failed("open volume", volume))?;
    let whole: PathBuf = parts.iter().collect();
    if whole.as_os_str().is_empty() {
        return Ok(root);
    }
    match beneath(&root, &whole) {
        Err(Errno::ENOENT) => {}
        result => return result.map_err(failed("open beneath the volume", &volume.join(&whole))),
    }
    let mut parent = root.as_fd().try_clone_to_owned().map_err(|source| Error::Io {
        operation: "duplicate",
        path: volume.display().to_string(),
        source,
    })?;
    let mut path = PathBuf::new();
    for name in parts {
        path.push(name);
        let shown = volume.join(&path);
        let made = match beneath(&root, &path) {
            Err(Errno::ENOENT) => match mkdirat(&parent, name, Mode::from_bits_truncate(0o700)) {
                Ok(()) => true,
                Err(Errno::EEXIST) => false,
                Err(errno) => return Err(failed("make directory", &shown)(errno)),
            },
            _ => false,
        };
        parent = beneath(&root, &path).map_err(failed("open beneath the volume", &shown))?;
        if made {
            like(&parent, &root).map_err(|source| Error::Io {
                operation: "change mode of",
                path: shown.display().to_string(),
                source,
            })?;
        }
    }
    Ok(parent)
}

/// Gives a new directory the permissions of its volume: who may use the one may use the other.
fn like(made: &OwnedFd, volume: &OwnedFd) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fstat(volume)?.st_mode & 0o7777;
    fs::set_permissions(
        format!("/proc/self/fd/{}", made.as_raw_fd()),
        fs::Permissions::from_mode(mode),
    )
}

fn beneath(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(resolve);
    // EAGAIN: a rename raced with the lookup; openat2(2) asks to try again.
    for _ in 0..16 {
        match openat2(root, path, how) {
            Err(Errno::EAGAIN) => {}
            result => return result,
        }
    }
    Err(Errno::EAGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::scratch;
    use std::os::unix::fs::symlink;

    fn target(fd: &OwnedFd) -> PathBuf {
        fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap()
    }

    #[test]
    fn missing_parts_are_made_and_links_inside_are_followed() {
        let dir = scratch("subpath");
        let volume = dir.path().join("v");
        fs::create_dir(&volume).unwrap();
        fs::set_permissions(&volume, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        assert_eq!(
            target(&find(&volume, "a/b").unwrap()),
            volume.canonicalize().unwrap().join("a/b")
        );
        let made = fs::metadata(volume.join("a/b")).unwrap();
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&made.permissions()) & 0o7777,
            0o777
        );
        symlink("a", volume.join("l")).unwrap();
        assert_eq!(
            target(&find(&volume, "l/b").unwrap()),
            volume.canonicalize().unwrap().join("a/b")
        );
    }

    #[test]
    fn nothing_leads_out() {
        let dir = scratch("subpath");
        let volume = dir.path().join("v");
        fs::create_dir_all(dir.path().join("secret")).unwrap();
        fs::create_dir(&volume).unwrap();
        symlink("../secret", volume.join("up")).unwrap();
        symlink(dir.path().join("secret"), volume.join("abs")).unwrap();
        for path in ["up", "abs", "up/x", "../secret", "/etc", "a/../../secret"] {
            assert!(find(&volume, path).is_err(), "{path}");
        }
        assert_eq!(fs::read_dir(dir.path().join("secret")).unwrap().count(), 0);
    }
}
