//! Changing mounts that are there already.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::unistd::fchdir;

use super::options::Options;
use super::root::Root;
use crate::error::{During, Result};
use crate::sys::mount::{Attributes, set_attributes};

/// Every attribute but the kind of access time, which is changed as a whole.
const ALL: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;

fn open(root: &Root, path: &Path) -> Result<OwnedFd> {
    root.open(path, libc::O_PATH).during("open", path.display())
}

/// Changes what is mounted on `destination`: `remount`, of the mount alone with `bind`, else of the file system; and
/// the propagation.
///
/// # Errors
/// Nothing is mounted there, or the kernel refuses.
pub fn change(root: &Root, destination: &Path, kind: Option<&str>, options: &Options) -> Result<()> {
    if options.remount && options.bind.is_some() {
        let target = open(root, destination)?;
        // As with mount(2), what is not asked for is not so afterwards.
        let attributes = Attributes {
            set: options.attributes.set,
            clear: (ALL | options.attributes.clear) & !options.attributes.set,
            propagation: 0,
        };
        set_attributes(&target, false, attributes).during("remount", destination.display())?;
    } else if options.remount {
        let target = root.open(destination, libc::O_PATH | libc::O_DIRECTORY);
        fchdir(target.during("open", destination.display())?).during("enter", destination.display())?;
        let data = options.data.join(",");
        let data = (!data.is_empty()).then_some(data.as_str());
        let flags = options.flags | MsFlags::MS_REMOUNT;
        mount(None::<&str>, ".", kind, flags, data).during("remount", destination.display())?;
    }
    finish(root, destination, options)
}

/// Gives a mount the propagation and the recursive attributes that are asked for.
///
/// # Errors
/// The kernel refuses.
pub fn finish(root: &Root, destination: &Path, options: &Options) -> Result<()> {
    let propagation = Attributes {
        propagation: options.attributes.propagation,
        ..Attributes::default()
    };
    set(root, destination, options.propagation_recursive, propagation)?;
    set(root, destination, true, options.recursive)
}

/// Changes attributes of what is mounted on `destination`.
///
/// # Errors
/// The kernel refuses.
pub fn set(root: &Root, destination: &Path, recursive: bool, attributes: Attributes) -> Result<()> {
    if attributes == Attributes::default() {
        return Ok(());
    }
    set_attributes(open(root, destination)?.as_fd(), recursive, attributes)
        .during("change the mount on", destination.display())
}
