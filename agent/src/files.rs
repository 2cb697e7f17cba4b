//! Files the agent keeps: written whole or not at all, removed without ever following a mount into somebody's data.

use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

/// Writes a file beside its place and renames it there, so that a reader sees the old or the new content.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)?;
    let written = file.write_all(content).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // On a full disk nothing is left half.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Makes a directory and its parents; private to root.
pub fn make_private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o750).create(path)
}

/// Mount points below `path` (and `path` itself), innermost first.
pub fn mounts_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let table = fs::read("/proc/self/mountinfo")?;
    let mut found: Vec<PathBuf> = table
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(unescape)
        .filter(|target| target.starts_with(path))
        .collect();
    // Later lines are mounted on top of earlier ones.
    found.reverse();
    Ok(found)
}

/// Detaches every mount below `path`, then removes the tree. A tree that still holds a mount is left alone: removing
/// it would remove what is mounted. Succeeds if it is already gone.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    if !path.try_exists()? {
        return Ok(());
    }
    detach_below(path)?;
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Detaches every mount below `path`, then moves the tree to a new name below `trash`, on the same file system. Returns
/// where it is now; nothing if it was not there.
pub fn move_away(path: &Path, trash: &Path) -> io::Result<Option<PathBuf>> {
    if !path.try_exists()? {
        return Ok(None);
    }
    detach_below(path)?;
    make_private_dir(trash)?;
    let target = trash.join(random_id());
    match fs::rename(path, &target) {
        Ok(()) => Ok(Some(target)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Detaches every mount below `path` (and at `path`).
pub fn detach_below(path: &Path) -> io::Result<()> {
    // A path is compared with the kernel's idea of it, which has no symbolic links.
    let path = match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result?,
    };
    for target in mounts_below(&path)? {
        umount2(&target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).map_err(|errno| {
            io::Error::new(
                io::Error::from(errno).kind(),
                format!("unmount {}: {errno}", target.display()),
            )
        })?;
    }
    match mounts_below(&path)?.first() {
        None => Ok(()),
        Some(left) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!("{} is still mounted", left.display()),
        )),
    }
}

/// Undoes the octal escapes of proc_pid_mountinfo(5).
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = (*first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&out))
}

/// A random 128-bit id of 32 hexadecimal digits.
pub fn random_id() -> String {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).expect("the kernel's random source answers once the machine has booted");
    hex(&bytes)
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// A directory for one test, removed at its end.
#[cfg(test)]
pub fn scratch(name: &str) -> Scratch {
    let path = std::env::temp_dir().join(format!("barepod-agent-{name}-{}", random_id()));
    fs::create_dir_all(&path).unwrap();
    Scratch(path)
}

/// See [`scratch`].
#[cfg(test)]
pub struct Scratch(PathBuf);

#[cfg(test)]
impl Scratch {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_escapes_of_the_mount_table() {
        assert_eq!(unescape(br"/a\040b\134c"), PathBuf::from(r"/a b\c"));
        assert_eq!(unescape(b"/plain"), PathBuf::from("/plain"));
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let dir = scratch("atomic");
        let taken = dir.path().join("taken");
        fs::create_dir(&taken).unwrap();
        assert!(write_atomic(&taken, b"x", 0o600).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn tree_is_removed_and_absence_is_no_error() {
        let dir = scratch("tree");
        let tree = dir.path().join("a/b");
        fs::create_dir_all(&tree).unwrap();
        fs::write(tree.join("f"), "x").unwrap();
        remove_tree(&dir.path().join("a")).unwrap();
        assert!(!dir.path().join("a").exists());
        remove_tree(&dir.path().join("a")).unwrap();
    }

    #[test]
    fn tree_is_moved_away_whole() {
        let dir = scratch("trash");
        let (tree, trash) = (dir.path().join("a"), dir.path().join("trash"));
        fs::create_dir_all(tree.join("b")).unwrap();
        let moved = move_away(&tree, &trash).unwrap().unwrap();
        assert!(!tree.exists() && moved.join("b").is_dir());
        assert_eq!(move_away(&tree, &trash).unwrap(), None);
    }

    #[test]
    fn atomic_write_replaces() {
        let dir = scratch("atomic");
        let path = dir.path().join("f");
        write_atomic(&path, b"one", 0o644).unwrap();
        write_atomic(&path, b"two", 0o644).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn ids_are_random() {
        assert_eq!(random_id().len(), 32);
        assert_ne!(random_id(), random_id());
    }
}
