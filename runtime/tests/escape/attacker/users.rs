//! User namespaces: becoming somebody on the machine that one is not inside.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Gid, Uid, setgroups, setresuid};

/// Tries whatever is known with a directory of the machine's that one may write to, and says what worked.
pub fn all(volume: &str) {
    let volume = Path::new(volume);
    said("read the secret", fs::read(volume.join("secret")));
    said("gave itself users", fs::write("/proc/self/uid_map", "0 0 1\n"));
    said("gave itself groups", fs::write("/proc/self/gid_map", "0 0 1\n"));
    said("gave its parent users", fs::write("/proc/1/uid_map", "0 0 1\n"));
    said(
        "became nobody known",
        setresuid(Uid::from_raw(70_000), Uid::from_raw(70_000), Uid::from_raw(70_000)),
    );
    said("joined unknown groups", setgroups(&[Gid::from_raw(70_000)]));
    let made = volume.join("made");
    if File::create(&made).is_ok() {
        println!("made a file");
        said("gave a file to nobody known", chown(&made, Some(70_000), None));
        let _ = fs::set_permissions(&made, Permissions::from_mode(0o6755));
    }
    let disk = volume.join("disk");
    said(
        "made a disk",
        mknod(&disk, SFlag::S_IFBLK, Mode::from_bits_truncate(0o666), makedev(254, 0)),
    );
    let memory = volume.join("memory");
    said(
        "made the machine's memory",
        mknod(&memory, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 1)),
    );
    // One namespace further down everybody is root again, of nothing.
    if unshare(CloneFlags::CLONE_NEWUSER).is_ok() {
        let _ = fs::write("/proc/self/setgroups", "deny");
        said("gave itself two users", fs::write("/proc/self/uid_map", "0 0 2\n"));
        let _ = fs::write("/proc/self/uid_map", "0 0 1\n");
        said("read the secret from further down", fs::read(volume.join("secret")));
        let _ = File::create(volume.join("deeper"));
    }
}

fn said<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) {
    match result {
        Ok(_) => println!("gained: {what}"),
        Err(error) => println!("failed: {what}: {error}"),
    }
}
