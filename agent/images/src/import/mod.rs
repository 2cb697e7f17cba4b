//! Brings images from files into the store.

mod docker;
mod documents;
mod layers;
mod oci;
mod platform;
mod source;

use std::path::Path;

use oci_spec::image::ImageConfiguration;

use crate::digest;
use crate::error::{Error, Result};
use crate::reference::{Reference, Version};
use crate::store::{ImageRecord, ImageStore, Index, Staging, WriteLock};
use source::Source;

/// An image found in a source: verified documents, and where its layers are.
pub(crate) struct Found {
    /// Normalised names.
    references: Vec<String>,
    /// Digests its names stand for: of an index if it was chosen from one, then of its manifest.
    digests: Vec<String>,
    manifest: Option<(String, Vec<u8>)>,
    config_digest: String,
    config: Vec<u8>,
    layers: Vec<LayerBlob>,
}

/// A layer as the source has it.
struct LayerBlob {
    /// Name of the file in the source.
    name: String,
    /// Digest and size of that file, if the source says.
    digest: Option<(String, u64)>,
}

/// Imports everything at `path` and returns the images' ids.
pub(crate) fn run(store: &ImageStore, _lock: &WriteLock, path: &Path, reference: Option<&str>) -> Result<Vec<String>> {
    let reference = reference.map(tagged).transpose()?;
    let staging = Staging::new(store.dir())?;
    let source = Source::open(path, staging.path())?;
    let mut found = if source.has(oci::INDEX) {
        oci::images(&source)?
    } else if source.has(docker::MANIFEST) {
        docker::images(&source)?
    } else {
        return Err(Error::UnknownFormat { path: path.to_path_buf() });
    };
    name(&mut found, reference, path)?;
    let mut index = Index::load(store.dir())?;
    let mut unpacker = layers::Unpacker::new(store, &staging, &source, &index);
    let mut records = Vec::new();
    for image in &found {
        records.push(unpacker.image(image)?);
    }
    let unpacked = unpacker.finish();
    for image in &found {
        staging.write_blob(&image.config_digest, &image.config)?;
        if let Some((digest, manifest)) = &image.manifest {
            staging.write_blob(digest, manifest)?;
        }
    }
    let chain_ids: Vec<_> = unpacked.iter().map(|(chain_id, _)| chain_id.clone()).collect();
    staging.publish_layers(&chain_ids)?;
    index.layers.extend(unpacked);
    let ids = records.iter().map(|record| record.id.clone()).collect();
    for record in records {
        index.put(record);
    }
    index.save(store.dir())?;
    Ok(ids)
}

fn tagged(text: &str) -> Result<Reference> {
    let reference = Reference::parse(text)?;
    match reference.version {
        Version::Tag(_) => Ok(reference),
        Version::Digest(_) => {
            Err(Error::InvalidReference { reference: text.to_owned(), reason: "an image is imported under a tag" })
        }
    }
}

/// Settles the images' names.
fn name(found: &mut [Found], reference: Option<Reference>, path: &Path) -> Result<()> {
    if let Some(reference) = reference {
        let count = found.len();
        let [image] = found else {
            let reference = reference.to_string();
            return Err(Error::ManyImages { path: path.to_path_buf(), count, reference });
        };
        image.references = vec![reference.to_string()];
    }
    if found.iter().any(|image| image.references.is_empty()) {
        return Err(Error::NoName { path: path.to_path_buf() });
    }
    Ok(())
}

impl Found {
    /// Checks that the documents fit together and returns the configuration.
    fn parse_config(&self) -> Result<ImageConfiguration> {
        let malformed = |reason| Error::Malformed { image: self.config_digest.clone(), reason };
        let config: ImageConfiguration = serde_json::from_slice(&self.config)
            .map_err(Error::json(format!("image configuration {}", self.config_digest)))?;
        let (diff_ids, layers) = (config.rootfs().diff_ids().len(), self.layers.len());
        if diff_ids != layers {
            return Err(malformed(format!("it lists {layers} layers, but its configuration {diff_ids}")));
        }
        for diff_id in config.rootfs().diff_ids() {
            digest::hex(diff_id)?;
        }
        Ok(config)
    }

    fn record(&self, chain_ids: Vec<String>) -> Result<ImageRecord> {
        let mut digests = Vec::new();
        for reference in &self.references {
            let repository = Reference::parse(reference)?.repository;
            digests.extend(self.digests.iter().map(|digest| format!("{repository}@{digest}")));
        }
        digests.dedup();
        Ok(ImageRecord {
            id: self.config_digest.clone(),
            manifest: self.manifest.as_ref().map(|(digest, _)| digest.clone()),
            references: self.references.clone(),
            digests,
            layers: chain_ids,
        })
    }
}
