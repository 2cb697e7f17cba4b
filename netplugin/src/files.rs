//! Files of the state directory: written whole, durable before they count.

use crate::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The lock file of a state directory.
const LOCK: &str = "lock";

/// Whether to wait for another owner of the state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Give up at once: the other one is an agent that stays.
    No,
    /// Wait: the other one is a short command.
    Yes,
}

/// Makes the state directory and takes it; it is free again when the lock is dropped, or the process ends.
pub(crate) fn lock(dir: &Path, wait: Wait) -> Result<Flock<File>> {
    fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .map_err(Error::file("open", &path))?;
    let how = if wait == Wait::Yes {
        FlockArg::LockExclusive
    } else {
        FlockArg::LockExclusiveNonblock
    };
    Flock::lock(file, how).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => Error::Locked(dir.to_owned()),
        errno => Error::file("lock", &path)(errno.into()),
    })
}

/// Whether somebody has the state directory now.
pub(crate) fn locked(dir: &Path) -> bool {
    let Ok(file) = File::open(dir.join(LOCK)) else {
        return false;
    };
    matches!(
        Flock::lock(file, FlockArg::LockSharedNonblock),
        Err((_, Errno::EWOULDBLOCK))
    )
}

/// Replaces the file: after a crash there is the old content or the new one, whole.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let write = || {
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    };
    write().map_err(Error::file("write", path))
}

/// Makes the directory entry of a new or renamed file durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

/// The content, or `None` if there is no such file.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

/// Removes the file; it may be gone.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes the lock file and the directory, if nothing else is in it.
pub(crate) fn remove_state_dir(dir: &Path, lock: Flock<File>) -> Result<()> {
    remove_if_there(&dir.join(LOCK))?;
    drop(lock);
    match fs::remove_dir(dir) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
            Err(Error::file("remove", dir)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A directory of one test, removed at its end.
    #[derive(Debug)]
    pub(crate) struct TestDir(pub(crate) PathBuf);

    impl TestDir {
        pub(crate) fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("barepod-netplugin-{}-{number}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for TestDir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_directory_has_one_owner() {
        let dir = TestDir::new();
        let state = dir.0.join("a/b");
        let first = lock(&state, Wait::No).unwrap();
        assert!(matches!(lock(&state, Wait::No), Err(Error::Locked(_))));
        drop(first);
        let again = lock(&state, Wait::Yes).unwrap();
        remove_state_dir(&state, again).unwrap();
        assert!(!state.exists());
    }

    #[test]
    fn foreign_files_keep_the_directory() {
        let dir = TestDir::new();
        let state = dir.0.join("state");
        let lock = lock(&state, Wait::No).unwrap();
        fs::write(state.join("other"), "x").unwrap();
        remove_state_dir(&state, lock).unwrap();
        assert!(state.join("other").exists());
    }

    #[test]
    fn files_are_replaced_whole() {
        let dir = TestDir::new();
        let path = dir.0.join("file");
        assert_eq!(read_if_there(&path).unwrap(), None);
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read_if_there(&path).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 1);
        remove_if_there(&path).unwrap();
        remove_if_there(&path).unwrap();
    }
}
