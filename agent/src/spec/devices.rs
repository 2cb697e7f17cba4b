//! The node's devices, which a privileged container sees. Blocking.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::sys::stat::{major, minor};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};

/// Every device node below `/dev`, except those each container has of its own.
pub fn of_node() -> Vec<LinuxDevice> {
    let mut found = Vec::new();
    walk(Path::new("/dev"), &mut found);
    found
}

fn walk(dir: &Path, found: &mut Vec<LinuxDevice>) {
    const OWN: [&str; 12] = [
        "/dev/pts",
        "/dev/shm",
        "/dev/fd",
        "/dev/mqueue",
        "/dev/console",
        "/dev/ptmx",
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/urandom",
        "/dev/tty",
    ];
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if OWN.iter().any(|own| Path::new(own) == path) {
            continue;
        }
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        let kind = metadata.file_type();
        if kind.is_dir() {
            walk(&path, found);
            continue;
        }
        let typ = if kind.is_char_device() {
            LinuxDeviceType::C
        } else if kind.is_block_device() {
            LinuxDeviceType::B
        } else {
            continue;
        };
        let mut device = LinuxDevice::default();
        device.set_path(path);
        device.set_typ(typ);
        device.set_major(i64::try_from(major(metadata.rdev())).unwrap_or_default());
        device.set_minor(i64::try_from(minor(metadata.rdev())).unwrap_or_default());
        device.set_file_mode(Some(metadata.mode() & 0o7777));
        device.set_uid(Some(metadata.uid()));
        device.set_gid(Some(metadata.gid()));
        found.push(device);
    }
}
