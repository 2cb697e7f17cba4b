//! The descriptor-based mount calls: a tree is cloned detached, given its attributes, and attached to an open
//! directory, so that no path is resolved twice.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::NixPath;

use super::{check, check_fd};

/// Attributes of a mount, and its propagation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, `MS_UNBINDABLE` or 0.
    pub propagation: u64,
}

/// Clones the mount at `path` below `dir` (or `dir` itself if `path` is empty), with what is mounted below it if
/// `recursive`. The clone is attached nowhere and goes with its descriptor.
///
/// # Errors
/// What `open_tree(2)` says.
pub fn clone_tree(dir: BorrowedFd<'_>, path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= libc::AT_RECURSIVE.cast_unsigned();
    }
    if path.as_os_str().is_empty() {
        flags |= libc::AT_EMPTY_PATH.cast_unsigned();
    }
    open_tree(dir, path, flags)
}

/// Clones the mount of a file that may be a link: a link is not followed.
///
/// # Errors
/// What `open_tree(2)` says.
pub fn clone_link(dir: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_SYMLINK_NOFOLLOW.cast_unsigned();
    open_tree(dir, path, flags)
}

fn open_tree(dir: BorrowedFd<'_>, path: &Path, flags: libc::c_uint) -> io::Result<OwnedFd> {
    path.with_nix_path(|path| {
        // SAFETY: the path is a C string for the length of the call, the descriptor is open.
        check_fd(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), path.as_ptr(), flags) })
    })?
}

/// Attaches a detached tree to `target`.
///
/// # Errors
/// What `move_mount(2)` says.
pub fn attach(tree: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    let (tree, target) = (tree.as_fd().as_raw_fd(), target.as_fd().as_raw_fd());
    // SAFETY: both descriptors are open, both paths are static empty strings.
    check(unsafe { libc::syscall(libc::SYS_move_mount, tree, c"".as_ptr(), target, c"".as_ptr(), flags) }).map(drop)
}

/// Changes the attributes of the mount that `mount` refers to, and of all below it if `recursive`.
///
/// # Errors
/// What `mount_setattr(2)` says.
pub fn set_attributes(mount: impl AsFd, recursive: bool, attributes: Attributes) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: attributes.set,
        attr_clr: attributes.clear,
        propagation: attributes.propagation,
        userns_fd: 0,
    };
    change(mount.as_fd(), recursive, &attr)
}

/// Lets a detached mount, and all below it if `recursive`, be seen with the users of a user namespace.
///
/// # Errors
/// What `mount_setattr(2)` says: `EINVAL` for a file system that cannot be seen so.
pub fn map_users(mount: impl AsFd, users: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(users.as_raw_fd().cast_unsigned()),
    };
    change(mount.as_fd(), recursive, &attr)
}

fn change(mount: BorrowedFd<'_>, recursive: bool, attr: &libc::mount_attr) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let fd = mount.as_raw_fd();
    // SAFETY: the descriptors are open, the structure outlives the call and its size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of_val(attr),
        )
    })
    .map(drop)
}

/// A file system that is being configured.
#[derive(Debug)]
pub struct Context(OwnedFd);

impl Context {
    /// Begins with a file system type.
    ///
    /// # Errors
    /// What `fsopen(2)` says, such as `ENODEV` for an unknown type.
    pub fn open(fstype: &str) -> io::Result<Self> {
        fstype.with_nix_path(|name| {
            // SAFETY: the name is a C string for the length of the call.
            check_fd(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), FSOPEN_CLOEXEC) }).map(Self)
        })?
    }

    /// Sets a parameter with a value.
    ///
    /// # Errors
    /// What `fsconfig(2)` says.
    pub fn set(&self, key: &str, value: &Path) -> io::Result<()> {
        // SAFETY: key and value are C strings for the length of the call.
        key.with_nix_path(|key| {
            value.with_nix_path(|value| self.config(FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr()))
        })??
    }

    /// Sets a parameter without a value.
    ///
    /// # Errors
    /// What `fsconfig(2)` says.
    pub fn flag(&self, key: &str) -> io::Result<()> {
        key.with_nix_path(|key| self.config(FSCONFIG_SET_FLAG, key.as_ptr(), std::ptr::null()))?
    }

    /// Makes the file system and a detached mount of it with `MOUNT_ATTR_*`.
    ///
    /// # Errors
    /// What `fsconfig(2)` and `fsmount(2)` say.
    pub fn mount(self, attributes: u64) -> io::Result<OwnedFd> {
        self.config(FSCONFIG_CMD_CREATE, std::ptr::null(), std::ptr::null())?;
        // SAFETY: the context is open; the other arguments are numbers.
        check_fd(unsafe { libc::syscall(libc::SYS_fsmount, self.0.as_raw_fd(), FSMOUNT_CLOEXEC, attributes) })
    }

    fn config(&self, command: u32, key: *const libc::c_char, value: *const libc::c_char) -> io::Result<()> {
        // SAFETY: the callers pass C strings or null, as the command wants them.
        check(unsafe { libc::syscall(libc::SYS_fsconfig, self.0.as_raw_fd(), command, key, value, 0) }).map(drop)
    }
}

/// linux/mount.h; libc has it for some targets only.
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
