//! What is in `/dev`.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstatat, makedev, mknodat, umask};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, symlinkat, unlinkat};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Mount};

use super::root::Root;
use super::users::Mappings;
use crate::error::{During, Error, Result};
use crate::sys::mount::{Context, attach, clone_tree};

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

/// Makes devices and links, unless `/dev` is the machine's own. `prepared` are the nodes of [`prepare`], for those who
/// may make none.
///
/// # Errors
/// A node cannot be made, or something else is in its place.
pub fn make(root: &Root, mounts: &[Mount], devices: &[LinuxDevice], prepared: Option<&OwnedFd>) -> Result<()> {
    let bound = |mount: &Mount| {
        mount
            .options()
            .iter()
            .flatten()
            .any(|option| option == "bind" || option == "rbind")
            || mount.typ().as_deref() == Some("bind")
    };
    let machines = mounts
        .iter()
        .any(|mount| mount.destination() == Path::new("/dev") && bound(mount));
    if machines {
        // What is in there the machine has, and gets nothing new.
        let others = devices.iter().filter(|device| !device.path().starts_with("/dev"));
        return match prepared {
            Some(nodes) => bind_all(root, nodes, false, devices),
            None => others.into_iter().try_for_each(|device| extra(root, device)),
        };
    }
    let dev = root.make_dir(Path::new("/dev"), Mode::from_bits_truncate(0o755))?;
    match prepared {
        Some(nodes) => bind_all(root, nodes, true, devices)?,
        None => {
            for (name, major, minor) in DEFAULT {
                default_node(&dev, name, makedev(major, minor)).during("make device /dev/", name)?;
            }
        }
    }
    for (name, target) in LINKS {
        link(&dev, name, target).during("make link /dev/", name)?;
    }
    if Path::new("/proc/kcore").exists() {
        link(&dev, "core", "/proc/kcore").during("make link /dev/", "core")?;
    }
    match prepared {
        Some(_) => Ok(()),
        None => devices.iter().try_for_each(|device| extra(root, device)),
    }
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

/// Whatever an image has there is not trusted to be the device.
fn default_node(dir: &OwnedFd, name: &str, device: u64) -> nix::Result<()> {
    let make = || mknodat(dir, name, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), device);
    match make() {
        Err(Errno::EEXIST) => {
            unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)?;
            make()
        }
        other => other,
    }
}

/// Type and number of a device that a document asks for.
fn kind(device: &LinuxDevice) -> Result<(SFlag, u64)> {
    let invalid = || Error::Invalid(format!("{} is no device that can be made", device.path().display()));
    let kind = match device.typ() {
        LinuxDeviceType::B => SFlag::S_IFBLK,
        LinuxDeviceType::C | LinuxDeviceType::U => SFlag::S_IFCHR,
        LinuxDeviceType::P => return Ok((SFlag::S_IFIFO, 0)),
        LinuxDeviceType::A => return Err(invalid()),
    };
    let number = |number: i64| u64::try_from(number).map_err(|_| invalid());
    Ok((kind, makedev(number(device.major())?, number(device.minor())?)))
}

fn mode(device: &LinuxDevice) -> Mode {
    Mode::from_bits_truncate(device.file_mode().unwrap_or(0o666) & 0o7777)
}

fn extra(root: &Root, device: &LinuxDevice) -> Result<()> {
    let path = device.path();
    if path == Path::new("/dev/ptmx") {
        // Engines list it among the machine's devices; a container's is the link to its own devpts.
        return Ok(());
    }
    let (kind, number) = kind(device)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::Invalid(format!(
            "{} is no device that can be made",
            path.display()
        )));
    };
    let parent = root.make_dir(parent, Mode::from_bits_truncate(0o755))?;
    match mknodat(&parent, name, kind, mode(device), number) {
        Err(Errno::EEXIST) => reuse(&parent, name, device, kind, number)?,
        other => other.during("make device", path.display())?,
    }
    let (uid, gid) = (device.uid().map(Uid::from_raw), device.gid().map(Gid::from_raw));
    if uid.is_some() || gid.is_some() {
        fchownat(parent.as_fd(), name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
            .during("change the owner of", path.display())?;
    }
    Ok(())
}

/// Something is there already: the very device is as good, anything else an error (OCI runtime specification,
/// "Devices").
fn reuse(dir: &OwnedFd, name: &OsStr, device: &LinuxDevice, kind: SFlag, number: u64) -> Result<()> {
    let path = device.path().display();
    let stat = fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).during("look at", &path)?;
    let same = SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT) == kind;
    if !same || kind != SFlag::S_IFIFO && stat.st_rdev != number {
        return Err(Error::Invalid(format!(
            "linux.devices: something else is at {path} already"
        )));
    }
    // It is no link, as was just seen, and nobody else is in this container yet.
    fchmodat(dir, name, mode(device), FchmodatFlags::FollowSymlink).during("change the mode of", &path)
}

/// Makes the nodes that a container in a user namespace of its own may not make: on a file system that is attached
/// nowhere, with the owners that the container's are outside. Their names are numbers: the default ones, then the others.
///
/// # Errors
/// A node cannot be made.
pub fn prepare(devices: &[LinuxDevice], users: Mappings<'_>) -> Result<OwnedFd> {
    let nodes = Context::open("tmpfs").and_then(|context| {
        context.set("mode", Path::new("0755"))?;
        context.mount(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC)
    });
    let nodes = nodes.during("make", "a file system for devices")?;
    // The permissions are as they are asked for, whatever the caller's new files have.
    let inherited = umask(Mode::empty());
    let filled = fill(&nodes, devices, users);
    umask(inherited);
    filled.map(|()| nodes)
}

fn fill(nodes: &OwnedFd, devices: &[LinuxDevice], users: Mappings<'_>) -> Result<()> {
    let make = |at: usize, kind: SFlag, mode: Mode, number: u64, uid: u32, gid: u32| -> nix::Result<()> {
        let name = at.to_string();
        mknodat(nodes, name.as_str(), kind, mode, number)?;
        let (uid, gid) = (Mappings::outside(users.uids, uid), Mappings::outside(users.gids, gid));
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        fchownat(nodes, name.as_str(), uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
    };
    for (at, (name, major, minor)) in DEFAULT.iter().enumerate() {
        let mode = Mode::from_bits_truncate(0o666);
        make(at, SFlag::S_IFCHR, mode, makedev(*major, *minor), 0, 0).during("make device /dev/", name)?;
    }
    for (at, device) in (DEFAULT.len()..).zip(devices) {
        let (kind, number) = kind(device)?;
        let owner = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
        make(at, kind, mode(device), number, owner.0, owner.1).during("make device", device.path().display())?;
    }
    Ok(())
}

/// Binds prepared nodes in their places. They can be cloned only from where they are attached, for which the machine's
/// `/dev` does: it goes away with the old root.
fn bind_all(root: &Root, nodes: &OwnedFd, default: bool, devices: &[LinuxDevice]) -> Result<()> {
    const PLACE: &str = "/dev";
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let place = openat(AT_FDCWD, PLACE, flags, Mode::empty()).during("open", PLACE)?;
    attach(nodes, &place).during("mount on", PLACE)?;
    let bind = |at: usize, path: &Path| -> Result<()> {
        let node = clone_tree(nodes.as_fd(), Path::new(&at.to_string()), false).during("clone", path.display())?;
        let target = root.make_file(path)?;
        attach(&node, &target).during("mount on", path.display())
    };
    if default {
        for (at, (name, ..)) in DEFAULT.iter().enumerate() {
            bind(at, &Path::new(PLACE).join(name))?;
        }
    }
    for (at, device) in (DEFAULT.len()..).zip(devices) {
        let machines = !default && device.path().starts_with(PLACE);
        let repeated = DEFAULT
            .iter()
            .any(|(name, ..)| device.path() == &Path::new(PLACE).join(name));
        if !machines && !repeated {
            bind(at, device.path())?;
        }
    }
    umount2(PLACE, MntFlags::MNT_DETACH).during("unmount", PLACE)
}
