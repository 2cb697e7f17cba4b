//! The image store: a directory that several processes may use.

mod files;
mod index;
mod remove;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::digest;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::import;
use crate::reference::{Reference, Version};
use crate::unpack::Limits;

pub(crate) use files::{Staging, WriteLock};
use index::Snapshot;
pub(crate) use index::{ImageRecord, Index};
pub use remove::Pruned;

/// The images of a node.
///
/// Reading takes no lock: the index is replaced as a whole, and read again when it changed. Writing takes an
/// exclusive file lock, across threads and processes.
#[derive(Debug)]
pub struct ImageStore {
    dir: PathBuf,
    limits: Limits,
    snapshot: Mutex<Option<Arc<Snapshot>>>,
}

impl ImageStore {
    /// Opens the store in `dir`, making it if needed, and removes what an interrupted import left.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be made or read.
    pub fn open(dir: &Path) -> Result<Self> {
        let store = Self {
            dir: dir.to_path_buf(),
            limits: Limits::default(),
            snapshot: Mutex::new(None),
        };
        files::make_directories(dir)?;
        // Whoever holds the lock has swept already.
        if let Some(lock) = WriteLock::try_take(dir)? {
            store.sweep(&lock)?;
        }
        Ok(store)
    }

    /// The same store with other limits for the layers it unpacks.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Imports every image for this machine that is at `path`: an OCI layout directory, an OCI archive, or an archive
    /// written by `docker save`, each plain or compressed; told apart by content. `reference` names the image instead
    /// of the names found there. A name that another image had moves to the new one.
    ///
    /// Nothing is visible before everything is complete, verified and on disk.
    ///
    /// # Errors
    /// Any of [`Error`]; the store is then as it was.
    pub fn import(&self, path: &Path, reference: Option<&str>) -> Result<Vec<Image>> {
        let lock = WriteLock::take(&self.dir)?;
        self.sweep(&lock)?;
        let ids = import::run(self, &lock, path, reference)?;
        self.by_ids(&ids)
    }

    /// Imports the archive that `write` writes.
    pub(crate) fn import_written(&self, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<Vec<Image>> {
        let lock = WriteLock::take(&self.dir)?;
        self.sweep(&lock)?;
        let staging = Staging::new(&self.dir)?;
        let path = staging.path().join("image.tar");
        File::create_new(&path)
            .and_then(|mut file| write(&mut file))
            .map_err(Error::io("write", &path))?;
        let ids = import::run(self, &lock, &path, None)?;
        self.by_ids(&ids)
    }

    fn by_ids(&self, ids: &[String]) -> Result<Vec<Image>> {
        let snapshot = self.snapshot()?;
        Ok(ids.iter().filter_map(|id| snapshot.by_id(id).cloned()).collect())
    }

    /// The image that a name, a name with digest, or an id (`sha256:…`, or at least 12 of its hexadecimal digits)
    /// stands for.
    ///
    /// # Errors
    /// [`Error::InvalidReference`] if it is none of these, [`Error::Io`].
    pub fn resolve(&self, reference: &str) -> Result<Option<Image>> {
        let snapshot = self.snapshot()?;
        Ok(find(&snapshot, reference)?.cloned())
    }

    /// All images, by name.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`].
    pub fn list(&self) -> Result<Vec<Image>> {
        let mut images = self.snapshot()?.images.clone();
        images.sort_by(|a, b| (&a.references, &a.id).cmp(&(&b.references, &b.id)));
        Ok(images)
    }

    /// The unpacked layers of an image, uppermost first, as overlayfs wants its lower directories.
    ///
    /// # Errors
    /// [`Error::MissingLayer`] if the image was removed meanwhile.
    pub fn lower_dirs(&self, image: &Image) -> Result<Vec<PathBuf>> {
        let existing = |layer: &String| {
            let path = files::layer(&self.dir, layer)?;
            if path.is_dir() {
                return Ok(path);
            }
            Err(Error::MissingLayer {
                image: image.id.clone(),
                layer: layer.clone(),
            })
        };
        image.layers.iter().rev().map(existing).collect()
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where an unpacked layer is, or would be.
    pub(crate) fn layer_dir(&self, chain_id: &str) -> Result<PathBuf> {
        files::layer(&self.dir, chain_id)
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// The current index with the images' configurations, from memory unless it changed.
    fn snapshot(&self) -> Result<Arc<Snapshot>> {
        let stamp = files::stamp(&self.dir)?;
        let mut cached = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = &*cached
            && snapshot.stamp == stamp
        {
            return Ok(Arc::clone(snapshot));
        }
        let snapshot = Arc::new(Snapshot::load(&self.dir)?);
        *cached = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// Removes work in progress nobody works on, and layers and blobs no image refers to.
    fn sweep(&self, _lock: &WriteLock) -> Result<()> {
        let index = Index::load(&self.dir)?;
        files::empty(&self.dir.join(files::TMP))?;
        for entry in files::list(&self.dir.join(files::LAYERS))? {
            if !index.layers.contains_key(&format!("sha256:{entry}")) {
                tracing::info!(layer = entry, "removing a layer that no image refers to");
                files::discard_layer(&self.dir, &entry)?;
            }
        }
        let blobs = self.dir.join(files::BLOBS);
        for entry in files::list(&blobs)? {
            let digest = format!("sha256:{entry}");
            if !index
                .images
                .iter()
                .any(|image| image.id == digest || image.manifest.as_ref() == Some(&digest))
            {
                let path = blobs.join(&entry);
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }
}

fn find<'a>(snapshot: &'a Snapshot, text: &str) -> Result<Option<&'a Image>> {
    let bare = text.strip_prefix("sha256:").unwrap_or(text);
    if digest::is_hex64(bare) {
        return Ok(snapshot.by_id(&format!("sha256:{bare}")));
    }
    let reference = match Reference::parse(text) {
        Ok(reference) => reference,
        Err(_) if is_short_id(bare) => return Ok(by_short_id(snapshot, bare)),
        Err(error) => return Err(error),
    };
    let name = reference.to_string();
    let named = |image: &&Image| match &reference.version {
        Version::Tag(_) => image.references.contains(&name),
        Version::Digest(_) => image.digests.contains(&name),
    };
    let found = snapshot.images.iter().find(named);
    Ok(found.or_else(|| is_short_id(bare).then(|| by_short_id(snapshot, bare)).flatten()))
}

fn is_short_id(text: &str) -> bool {
    (12..64).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn by_short_id<'a>(snapshot: &'a Snapshot, hex: &str) -> Option<&'a Image> {
    let mut matching = snapshot
        .images
        .iter()
        .filter(|image| image.id["sha256:".len()..].starts_with(hex));
    let first = matching.next();
    if matching.next().is_some() { None } else { first }
}
