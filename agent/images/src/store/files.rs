//! Where the store keeps what, and how it is written so that a crash leaves nothing half-made.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{Flock, FlockArg};

use crate::digest;
use crate::error::{Error, Result};
use crate::unpack::remove_tree;

pub(super) const INDEX: &str = "index.json";
pub(super) const BLOBS: &str = "blobs/sha256";
pub(super) const LAYERS: &str = "layers";
pub(super) const TMP: &str = "tmp";
const LOCK: &str = "lock";

/// Makes the store's directories. Only root may enter: layers hold set-id programs that are nobody's business outside
/// of a container.
pub(super) fn make_directories(dir: &Path) -> Result<()> {
    for name in ["", BLOBS, LAYERS, TMP] {
        let path = dir.join(name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(Error::io("make the directory", &path))?;
    }
    Ok(())
}

/// The directory of an unpacked layer.
pub(crate) fn layer(dir: &Path, chain_id: &str) -> Result<PathBuf> {
    Ok(dir.join(LAYERS).join(digest::hex(chain_id)?))
}

/// The file of a blob.
pub(crate) fn blob(dir: &Path, digest: &str) -> Result<PathBuf> {
    Ok(dir.join(BLOBS).join(digest::hex(digest)?))
}

/// Tells one version of the index from another; nothing if there is none yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Option<(u64, i64, i64, u64)>);

pub(super) fn stamp(dir: &Path) -> Result<Stamp> {
    let path = dir.join(INDEX);
    match fs::metadata(&path) {
        Ok(data) => Ok(Stamp(Some((data.ino(), data.mtime(), data.mtime_nsec(), data.len())))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Stamp(None)),
        Err(error) => Err(Error::io("look at", &path)(error)),
    }
}

/// The names in a directory.
pub(super) fn list(dir: &Path) -> Result<Vec<String>> {
    let fail = || Error::io("list", dir);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(fail())? {
        names.push(entry.map_err(fail())?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Removes everything in a directory.
pub(super) fn empty(dir: &Path) -> Result<()> {
    let handle = File::open(dir).map_err(Error::io("open", dir))?;
    for name in list(dir)? {
        remove_tree(&handle, OsStr::new(&name)).map_err(Error::io("remove", &dir.join(&name)))?;
    }
    Ok(())
}

/// Removes a layer: out of sight in one step, then from the disk.
pub(super) fn discard_layer(dir: &Path, hex: &str) -> Result<()> {
    let from = dir.join(LAYERS).join(hex);
    let to = dir.join(TMP).join(unique("discarded"));
    match fs::rename(&from, &to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result.map_err(Error::io("remove", &from))?,
    }
    remove_at(&to)
}

fn remove_at(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let parent = File::open(parent).map_err(Error::io("open", parent))?;
    remove_tree(&parent, name).map_err(Error::io("remove", path))
}

fn unique(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Writes a file so that its name stands for the old or the whole new content, also after a power cut.
pub(super) fn write_atomically(dir: &Path, path: &Path, content: &[u8]) -> Result<()> {
    let temporary = dir.join(TMP).join(unique("file"));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(Error::io("create", &temporary))?;
    let written = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The first error is the one to tell; what is left is swept later.
        let _ = fs::remove_file(&temporary);
        return Err(Error::io("write", path)(error));
    }
    sync_directory(path.parent().unwrap_or(dir))
}

/// Makes renames in a directory durable.
pub(super) fn sync_directory(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|handle| handle.sync_all())
        .map_err(Error::io("sync", dir))
}

/// A directory for work in progress, removed with what is left in it.
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    store: PathBuf,
}

impl Staging {
    pub(crate) fn new(store: &Path) -> Result<Self> {
        let path = store.join(TMP).join(unique("import"));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(Error::io("make the directory", &path))?;
        Ok(Self {
            path,
            store: store.to_path_buf(),
        })
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes an empty directory for a layer.
    pub(crate) fn make_layer(&self, chain_id: &str) -> Result<PathBuf> {
        let path = self.path.join(digest::hex(chain_id)?);
        DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .map_err(Error::io("make the directory", &path))?;
        // The mode above went through the umask.
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(Error::io("set the mode of", &path))?;
        Ok(path)
    }

    /// Puts unpacked layers into place. What they contain reaches the disk first, all at once: syncing thousands of
    /// files one by one would take many times as long.
    pub(crate) fn publish_layers(&self, chain_ids: &[String]) -> Result<()> {
        if chain_ids.is_empty() {
            return Ok(());
        }
        let handle = File::open(&self.path).map_err(Error::io("open", &self.path))?;
        nix::unistd::syncfs(&handle).map_err(Error::io("sync", &self.path))?;
        for chain_id in chain_ids {
            let from = self.path.join(digest::hex(chain_id)?);
            let to = layer(&self.store, chain_id)?;
            fs::rename(&from, &to).map_err(Error::io("move a layer to", &to))?;
        }
        sync_directory(&self.store.join(LAYERS))
    }

    /// Stores a blob whose digest was checked.
    pub(crate) fn write_blob(&self, digest: &str, content: &[u8]) -> Result<()> {
        let path = blob(&self.store, digest)?;
        write_atomically(&self.store, &path, content)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = remove_at(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "leaving unfinished work to the next start");
        }
    }
}

/// The right to write to the store, across threads and processes, until dropped.
#[derive(Debug)]
pub(crate) struct WriteLock {
    _file: Flock<File>,
}

impl WriteLock {
    /// Waits for the lock.
    pub(crate) fn take(dir: &Path) -> Result<Self> {
        let (file, path) = Self::file(dir)?;
        let file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| Error::io("lock", &path)(error))?;
        Ok(Self { _file: file })
    }

    /// Takes the lock unless somebody has it.
    pub(crate) fn try_take(dir: &Path) -> Result<Option<Self>> {
        let (file, path) = Self::file(dir)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Some(Self { _file: file })),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(Error::io("lock", &path)(error)),
        }
    }

    fn file(dir: &Path) -> Result<(File, PathBuf)> {
        let path = dir.join(LOCK);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        Ok((file, path))
    }
}
