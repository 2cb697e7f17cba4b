//! The operating system's files as far as the log needs them. Tests put a disk in their place that loses its power.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::Error;

/// A directory of files.
pub(crate) trait Media: Send + Sync {
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn Blob>>;
    /// Makes an empty file, in place of one of that name.
    fn create(&self, name: &str) -> io::Result<Box<dyn Blob>>;
    /// Gives a file another name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes what happened to names durable.
    fn sync(&self) -> io::Result<()>;
}

/// One file.
pub(crate) trait Blob: Send {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Reads as much as there is, at most the buffer; 0 at the end.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all of it.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Cuts it off or lengthens it with zeros.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Makes its content durable.
    fn sync(&self) -> io::Result<()>;
}

/// A real directory, which one process has at a time.
pub(crate) struct Directory {
    path: PathBuf,
    /// Held for its lock, see flock(2).
    _lock: Option<File>,
}

impl Directory {
    /// Makes the directory if there is none, and takes it.
    pub(crate) fn take(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Directory {
            path: path.into(),
            source,
        };
        if !path.is_dir() {
            // Secrets are in there.
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(path).map_err(failed)?;
            // The new name itself must survive a crash, see fsync(2) on directories.
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)
                    .and_then(|parent| parent.sync_all())
                    .map_err(failed)?;
            }
        }
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { path: path.into() }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        Ok(Directory {
            path: path.into(),
            _lock: Some(lock),
        })
    }

    /// Looks at a directory that another process may have.
    pub(crate) fn look(path: &Path) -> Self {
        Directory {
            path: path.into(),
            _lock: None,
        }
    }
}

impl Media for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?;
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Blob>> {
        let file = File::options()
            .read(true)
            .write(self._lock.is_some())
            .open(self.path.join(name))?;
        Ok(Box::new(file))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Blob>> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        Ok(Box::new(options.open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl Blob for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, into, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_all_at(data, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        File::set_len(self, length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
