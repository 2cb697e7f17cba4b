//! The list of images on disk and in memory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};

use super::files::{self, Stamp};
use crate::digest;
use crate::error::{Error, Result};
use crate::image::Image;

/// What `index.json` holds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) images: Vec<ImageRecord>,
    /// Unpacked layers by chain id, with the bytes they take.
    pub(crate) layers: BTreeMap<String, u64>,
}

/// One image in the index.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageRecord {
    /// Digest of the configuration.
    pub(crate) id: String,
    /// Digest of the manifest, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) manifest: Option<String>,
    pub(crate) references: Vec<String>,
    pub(crate) digests: Vec<String>,
    /// Chain ids, lowest first.
    pub(crate) layers: Vec<String>,
}

impl Index {
    /// Reads the index; an absent one is empty.
    pub(crate) fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(files::INDEX);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(Error::json(path.display().to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// Replaces the index on disk.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        let path = dir.join(files::INDEX);
        let bytes = serde_json::to_vec_pretty(self).map_err(Error::json(path.display().to_string()))?;
        files::write_atomically(dir, &path, &bytes)
    }

    /// Adds an image, or to an image; names it has are taken from other images.
    pub(crate) fn put(&mut self, record: ImageRecord) {
        for other in &mut self.images {
            other
                .references
                .retain(|reference| !record.references.contains(reference));
        }
        match self.images.iter_mut().find(|image| image.id == record.id) {
            Some(image) => {
                merge(&mut image.references, record.references);
                merge(&mut image.digests, record.digests);
                image.manifest = record.manifest.or(image.manifest.take());
            }
            None => self.images.push(record),
        }
    }

    /// Drops layers that no image refers to any more; returns their chain ids.
    pub(crate) fn drop_unused_layers(&mut self) -> Vec<(String, u64)> {
        let used = |chain_id: &String| self.images.iter().any(|image| image.layers.contains(chain_id));
        let unused: Vec<_> = self.layers.keys().filter(|chain_id| !used(chain_id)).cloned().collect();
        unused
            .into_iter()
            .filter_map(|chain_id| self.layers.remove_entry(&chain_id))
            .collect()
    }
}

fn merge(into: &mut Vec<String>, from: Vec<String>) {
    for text in from {
        if !into.contains(&text) {
            into.push(text);
        }
    }
}

/// One version of the index, ready for callers.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) stamp: Stamp,
    pub(super) images: Vec<Image>,
}

impl Snapshot {
    pub(super) fn load(dir: &Path) -> Result<Self> {
        // Taken first: if the index changes after it, the next look reads again.
        let stamp = files::stamp(dir)?;
        let index = Index::load(dir)?;
        let mut images = Vec::with_capacity(index.images.len());
        for record in &index.images {
            match load_config(dir, &record.id) {
                Ok(config) => images.push(image(&index, record, config)),
                // One damaged image must not take the others away.
                Err(error) => tracing::error!(image = record.id, %error, "cannot use an image; import it again"),
            }
        }
        Ok(Self { stamp, images })
    }

    pub(super) fn by_id(&self, id: &str) -> Option<&Image> {
        self.images.iter().find(|image| image.id == id)
    }
}

fn load_config(dir: &Path, id: &str) -> Result<ImageConfiguration> {
    let path = files::blob(dir, id)?;
    let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
    digest::verify(&path.display().to_string(), id, &digest::sha256(&bytes))?;
    serde_json::from_slice(&bytes).map_err(Error::json(path.display().to_string()))
}

fn image(index: &Index, record: &ImageRecord, config: ImageConfiguration) -> Image {
    Image {
        id: record.id.clone(),
        references: record.references.clone(),
        digests: record.digests.clone(),
        size_bytes: record.layers.iter().filter_map(|layer| index.layers.get(layer)).sum(),
        config,
        layers: record.layers.clone(),
    }
}
