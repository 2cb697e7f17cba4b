//! What is in `/dev`.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, SFlag, makedev, mknodat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, symlinkat, unlinkat};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Mount};

use super::root::Root;
use crate::error::{During, Error, Result};

/// The devices every container has: OCI runtime specification, "Default Devices".
const DEFAULT: [(&str, u64, u64); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Links every container has: OCI runtime specification, "Dev symbolic links", and `ptmx`.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Makes devices and links, unless `/dev` is the machine's own.
///
/// # Errors
/// A node cannot be made.
pub fn make(root: &Root, mounts: &[Mount], devices: &[LinuxDevice]) -> Result<()> {
    let bound = |mount: &Mount| {
        mount
            .options()
            .iter()
            .flatten()
            .any(|option| option == "bind" || option == "rbind")
            || mount.typ().as_deref() == Some("bind")
    };
    if mounts
        .iter()
        .any(|mount| mount.destination() == Path::new("/dev") && bound(mount))
    {
        return Ok(());
    }
    let dev = root.make_dir(Path::new("/dev"), Mode::from_bits_truncate(0o755))?;
    for (name, major, minor) in DEFAULT {
        node(&dev, OsStr::new(name), SFlag::S_IFCHR, 0o666, (major, minor)).during("make device /dev/", name)?;
    }
    for (name, target) in LINKS {
        link(&dev, name, target).during("make link /dev/", name)?;
    }
    if Path::new("/proc/kcore").exists() {
        link(&dev, "core", "/proc/kcore").during("make link /dev/", "core")?;
    }
    devices.iter().try_for_each(|device| extra(root, device))
}

/// An image may bring its own; a link that is there is replaced.
fn link(dev: &OwnedFd, name: &str, target: &str) -> nix::Result<()> {
    match symlinkat(target, dev, name) {
        Err(Errno::EEXIST) => {
            unlinkat(dev, name, UnlinkatFlags::NoRemoveDir)?;
            symlinkat(target, dev, name)
        }
        other => other,
    }
}

fn node(dir: &OwnedFd, name: &OsStr, kind: SFlag, mode: u32, (major, minor): (u64, u64)) -> nix::Result<()> {
    let mode = Mode::from_bits_truncate(mode);
    match mknodat(dir, name, kind, mode, makedev(major, minor)) {
        // Whatever an image has there is not trusted to be the device.
        Err(Errno::EEXIST) => {
            unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)?;
            mknodat(dir, name, kind, mode, makedev(major, minor))
        }
        other => other,
    }
}

fn extra(root: &Root, device: &LinuxDevice) -> Result<()> {
    let path = device.path();
    let invalid = || Error::Invalid(format!("{} is no device that can be made", path.display()));
    let kind = match device.typ() {
        LinuxDeviceType::B => SFlag::S_IFBLK,
        LinuxDeviceType::C | LinuxDeviceType::U => SFlag::S_IFCHR,
        LinuxDeviceType::P => SFlag::S_IFIFO,
        LinuxDeviceType::A => return Err(invalid()),
    };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(invalid());
    };
    let parent = root.make_dir(parent, Mode::from_bits_truncate(0o755))?;
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    let numbers = (number(device.major()), number(device.minor()));
    node(
        &parent,
        name,
        kind,
        device.file_mode().unwrap_or(0o666) & 0o7777,
        numbers,
    )
    .during("make device", path.display())?;
    let (uid, gid) = (device.uid().map(Uid::from_raw), device.gid().map(Gid::from_raw));
    if uid.is_some() || gid.is_some() {
        fchownat(parent.as_fd(), name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
            .during("change the owner of", path.display())?;
    }
    Ok(())
}
