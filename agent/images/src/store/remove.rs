//! Removing images, and what only they used.

use std::fs;

use super::files::{self, WriteLock};
use super::{ImageStore, Index, find};
use crate::digest;
use crate::error::{Error, Result};
use crate::image::Image;

/// What [`ImageStore::prune`] removed.
#[derive(Debug)]
pub struct Pruned {
    /// The images.
    pub images: Vec<Image>,
    /// Room their layers took, in bytes.
    pub freed_bytes: u64,
}

impl ImageStore {
    /// Removes a name; with its last name, or by id, the image goes and every layer that no other image has, unless one
    /// of `in_use` (names, names with digest, ids) stands for it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InUse`], [`Error::InvalidReference`], [`Error::Io`].
    pub fn remove(&self, reference: &str, in_use: &[String]) -> Result<()> {
        let lock = WriteLock::take(&self.dir)?;
        let image = self.resolve(reference)?.ok_or_else(|| Error::NotFound {
            reference: reference.to_owned(),
        })?;
        let mut index = Index::load(&self.dir)?;
        let name = crate::Reference::parse(reference)
            .map(|reference| reference.to_string())
            .ok();
        match index.images.iter_mut().find(|record| record.id == image.id) {
            Some(record)
                if record.references.len() > 1 && name.as_ref().is_some_and(|n| record.references.contains(n)) =>
            {
                record.references.retain(|reference| Some(reference) != name.as_ref());
                index.save(&self.dir)
            }
            _ if self.ids(in_use)?.contains(&image.id) => Err(Error::InUse {
                reference: reference.to_owned(),
            }),
            _ => self.drop_images(&lock, index, &[image]).map(drop),
        }
    }

    /// Removes every image that none of `in_use` (names, names with digest, ids) stands for.
    ///
    /// # Errors
    /// [`Error::InvalidReference`] for a name that is none, [`Error::Io`].
    pub fn prune(&self, in_use: &[String]) -> Result<Pruned> {
        let lock = WriteLock::take(&self.dir)?;
        let kept = self.ids(in_use)?;
        let images: Vec<_> = self
            .snapshot()?
            .images
            .iter()
            .filter(|image| !kept.contains(&image.id))
            .cloned()
            .collect();
        let freed_bytes = self.drop_images(&lock, Index::load(&self.dir)?, &images)?;
        Ok(Pruned { images, freed_bytes })
    }

    /// The ids of those that are there.
    fn ids(&self, references: &[String]) -> Result<Vec<String>> {
        let snapshot = self.snapshot()?;
        let mut ids = Vec::new();
        for reference in references {
            ids.extend(find(&snapshot, reference)?.map(|image| image.id.clone()));
        }
        Ok(ids)
    }

    /// The index goes first, so that nobody finds an image whose layers are being removed.
    fn drop_images(&self, _lock: &WriteLock, mut index: Index, images: &[Image]) -> Result<u64> {
        let gone = |id: &str| images.iter().any(|image| image.id == id);
        let dropped: Vec<_> = index.images.extract_if(.., |record| gone(&record.id)).collect();
        let layers = index.drop_unused_layers();
        index.save(&self.dir)?;
        for record in dropped {
            for digest in [Some(record.id), record.manifest].into_iter().flatten() {
                let path = files::blob(&self.dir, &digest)?;
                match fs::remove_file(&path) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    result => result.map_err(Error::io("remove", &path))?,
                }
            }
        }
        let mut freed_bytes = 0;
        for (chain_id, size_bytes) in layers {
            files::discard_layer(&self.dir, digest::hex(&chain_id)?)?;
            freed_bytes += size_bytes;
        }
        Ok(freed_bytes)
    }
}
