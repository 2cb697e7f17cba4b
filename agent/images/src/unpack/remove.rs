//! Removes directory trees by descriptor.

use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Removes `name` in `parent` with everything in it; succeeds if it is gone. Links are removed, never followed. Holds
/// one descriptor a level, which the bound on a layer's depth keeps small.
pub(crate) fn remove_tree(parent: impl AsFd, name: &OsStr) -> io::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EISDIR | Errno::EPERM) => {}
        Err(error) => return Err(error.into()),
    }
    let mut open = vec![(Dir::openat(&parent, name, flags, Mode::empty())?, name.to_owned())];
    while let Some((directory, _)) = open.last_mut() {
        match empty(directory)? {
            Some(child) => {
                let opened = Dir::openat(&*directory, child.as_os_str(), flags, Mode::empty())?;
                open.push((opened, child));
            }
            None => {
                let (_, done) = open.pop().expect("the loop runs while there is one");
                match open.last() {
                    Some((above, _)) => unlinkat(above, done.as_os_str(), UnlinkatFlags::RemoveDir)?,
                    None => unlinkat(&parent, done.as_os_str(), UnlinkatFlags::RemoveDir)?,
                }
            }
        }
    }
    Ok(())
}

/// Removes everything but directories; returns a directory that is left.
fn empty(directory: &mut Dir) -> io::Result<Option<OsString>> {
    let mut names = Vec::new();
    for entry in directory.iter() {
        let entry = entry?;
        let name: &CStr = entry.file_name();
        if name.to_bytes() != b"." && name.to_bytes() != b".." {
            names.push(OsStr::from_bytes(name.to_bytes()).to_owned());
        }
        // A directory changed while it is read may skip names, so it is read again until it is empty; the bound keeps
        // huge directories from being held in memory.
        if names.len() >= 4096 {
            break;
        }
    }
    if names.is_empty() {
        return Ok(None);
    }
    let mut child = None;
    for name in names {
        match unlinkat(&*directory, name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            // EPERM is what POSIX asks for a directory, EISDIR what Linux says (unlink(2)).
            Err(Errno::EISDIR | Errno::EPERM) => child = Some(name),
            Err(error) => return Err(error.into()),
        }
    }
    match child {
        Some(child) => Ok(Some(child)),
        // Nothing but files in this batch: look again.
        None => empty(directory),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn trees_go_and_links_are_not_followed() {
        let dir = TempDir::new();
        let victim = dir.path().join("victim");
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("kept"), "").unwrap();
        let mut deep = dir.path().join("tree");
        for level in 0..200 {
            fs::create_dir(&deep).unwrap();
            std::os::unix::fs::symlink(&victim, deep.join("link")).unwrap();
            fs::write(deep.join("file"), "").unwrap();
            fs::create_dir(deep.join("empty")).unwrap();
            deep = deep.join(format!("{level}"));
        }
        let parent = fs::File::open(dir.path()).unwrap();
        remove_tree(&parent, OsStr::new("tree")).unwrap();
        assert!(!dir.path().join("tree").exists());
        assert!(victim.join("kept").exists());
        remove_tree(&parent, OsStr::new("tree")).unwrap();
    }
}
