//! Paths of procfs and sysfs that are hidden or made read-only.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::root::{Root, is_dir, is_null};
use crate::error::{During, Error, Result};
use crate::sys::mount::{Attributes, Context, attach, clone_tree, set_attributes};

const READ_ONLY: Attributes = Attributes {
    set: libc::MOUNT_ATTR_RDONLY,
    clear: 0,
    propagation: 0,
};

/// Hides files behind the null device and directories behind an empty read-only one. What is not there needs no hiding.
///
/// # Errors
/// The container's null device is none, or the kernel refuses.
pub fn mask(root: &Root, paths: &[String]) -> Result<()> {
    let null = root.open(Path::new("/dev/null"), libc::O_PATH);
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let Some(target) = existing(root, path)? else { continue };
        let cover = if is_dir(&target) {
            match &empty {
                Some(empty) => clone_tree(empty.as_fd(), Path::new(""), false).during("clone the cover of", path)?,
                None => empty_directory().during("make a cover for", path)?,
            }
        } else {
            let null = null.as_ref().ok().filter(|null| is_null(null)).ok_or_else(|| {
                Error::Invalid(format!(
                    "{path} cannot be hidden: the container's /dev/null is not the null device"
                ))
            })?;
            clone_tree(null.as_fd(), Path::new(""), false).during("clone /dev/null for", path)?
        };
        attach(&cover, &target).during("hide", path)?;
        if empty.is_none() && is_dir(&target) {
            // Attached now, it can be cloned for the next directory, which is cheaper than another file system.
            empty = Some(cover);
        }
    }
    Ok(())
}

/// Makes paths read-only, with what is mounted below them.
///
/// # Errors
/// The kernel refuses.
pub fn make_read_only(root: &Root, paths: &[String]) -> Result<()> {
    for path in paths {
        let Some(target) = existing(root, path)? else { continue };
        let tree = clone_tree(target.as_fd(), Path::new(""), true).during("clone", path)?;
        set_attributes(&tree, true, READ_ONLY).during("make read-only", path)?;
        attach(&tree, &target).during("mount on", path)?;
    }
    Ok(())
}

/// Makes the root itself read-only; mounts below it keep what they were given.
///
/// # Errors
/// The kernel refuses.
pub fn make_root_read_only(root: &Root) -> Result<()> {
    set_attributes(root, false, READ_ONLY).during("make read-only", "the root file system")
}

fn existing(root: &Root, path: &str) -> Result<Option<OwnedFd>> {
    match root.open(Path::new(path), libc::O_PATH) {
        Ok(target) => Ok(Some(target)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
        Err(error) => Err(error).during("open", path),
    }
}

/// A read-only directory with nothing in it, attached nowhere.
pub fn empty_directory() -> io::Result<OwnedFd> {
    let context = Context::open("tmpfs")?;
    context.set("nr_blocks", Path::new("1"))?;
    context.set("nr_inodes", Path::new("1"))?;
    context.mount(libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC)
}
