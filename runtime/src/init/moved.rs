//! The root file system without `pivot_root`, for machines that run on their initial RAM disk: there is nothing that its
//! root could be put below.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, chroot, fchdir};

use super::root::Root;
use crate::error::{During, Result};

const MOUNTS: &str = "/proc/self/mountinfo";

/// Moves `root` over the root of the mount namespace. The old one stays below it, out of reach by any path; procfs and
/// sysfs are taken out of it first, because the kernel lets whoever has all of one in sight mount another one.
///
/// # Errors
/// The kernel refuses.
pub fn enter(root: &Root) -> Result<()> {
    fchdir(root).during("enter", "the root file system")?;
    let place = fs::read_link("/proc/self/cwd").during("find", "the root file system")?;
    let text = fs::read(MOUNTS).during("read", MOUNTS)?;
    // The last one mounted is the first one to go.
    for target in of_the_kernel(&text)
        .into_iter()
        .rev()
        .filter(|target| !target.starts_with(&place))
    {
        if umount2(&target, MntFlags::MNT_DETACH).is_err() {
            // One that came with the namespace of somebody with more rights cannot be unmounted, but covered.
            mount(Some("tmpfs"), &target, Some("tmpfs"), MsFlags::empty(), None::<&str>)
                .during("cover", target.display())?;
        }
    }
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).during("move", "the root file system")?;
    chroot(".").during("change the root to", "the root file system")?;
    chdir("/").during("enter", "/")
}

/// The mount points of procfs and sysfs, in the order of `mountinfo`: proc_pid_mountinfo(5).
fn of_the_kernel(text: &[u8]) -> Vec<PathBuf> {
    let target = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let target = fields.nth(4)?;
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        matches!(kind, b"proc" | b"sysfs").then(|| plain(target))
    };
    text.split(|byte| *byte == b'\n').filter_map(target).collect()
}

/// A path whose blanks and backslashes are written as octal numbers.
fn plain(text: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let number = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match number.filter(|_| *first == b'\\') {
            Some(byte) => {
                out.push(byte);
                rest = &after[3..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    Path::new(OsStr::from_bytes(&out)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_file_systems_are_found() {
        let text = b"22 1 0:20 / /proc rw,nosuid shared:5 - proc proc rw\n23 1 8:1 / / rw - ext4 /dev/sda rw\n\
                     24 22 0:30 / /a\\040b/sys rw master:1 shared:2 - sysfs sysfs rw\n";
        assert_eq!(of_the_kernel(text), [PathBuf::from("/proc"), PathBuf::from("/a b/sys")]);
    }
}
