//! Unpacks the layers of an import that the store does not have yet, checking every digest on the way.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::source::Source;
use super::{Found, LayerBlob};
use crate::compression;
use crate::digest::{self, HashReader};
use crate::error::{Error, Result};
use crate::store::{ImageRecord, ImageStore, Index, Staging};
use crate::unpack::{LayerError, unpack};
use crate::view::View;

/// Unpacks into the staging directory; nothing is visible until the caller publishes it.
pub(super) struct Unpacker<'a> {
    store: &'a ImageStore,
    staging: &'a Staging,
    source: &'a Source,
    index: &'a Index,
    /// Unpacked by this import: chain id and size.
    unpacked: BTreeMap<String, u64>,
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(store: &'a ImageStore, staging: &'a Staging, source: &'a Source, index: &'a Index) -> Self {
        Self {
            store,
            staging,
            source,
            index,
            unpacked: BTreeMap::new(),
        }
    }

    /// The chain ids and sizes of what was unpacked.
    pub(super) fn finish(self) -> Vec<(String, u64)> {
        self.unpacked.into_iter().collect()
    }

    /// Makes sure that every layer of `image` is unpacked.
    pub(super) fn image(&mut self, image: &Found) -> Result<ImageRecord> {
        let config = image.parse_config()?;
        let mut chain_ids: Vec<String> = Vec::new();
        for (layer, diff_id) in image.layers.iter().zip(config.rootfs().diff_ids()) {
            let chain_id = digest::chain_id(chain_ids.last().map(String::as_str), diff_id);
            if !self.unpacked.contains_key(&chain_id) && self.existing(&chain_id)?.is_none() {
                let size = self.layer(layer, diff_id, &chain_id, &chain_ids)?;
                self.unpacked.insert(chain_id.clone(), size);
            }
            chain_ids.push(chain_id);
        }
        image.record(chain_ids)
    }

    /// The directory of a layer the store has.
    fn existing(&self, chain_id: &str) -> Result<Option<PathBuf>> {
        if !self.index.layers.contains_key(chain_id) {
            return Ok(None);
        }
        let path = self.store.layer_dir(chain_id)?;
        Ok(path.is_dir().then_some(path))
    }

    fn directory(&self, chain_id: &str) -> Result<PathBuf> {
        match self.existing(chain_id)? {
            Some(path) => Ok(path),
            None => Ok(self.staging.path().join(digest::hex(chain_id)?)),
        }
    }

    fn layer(&self, layer: &LayerBlob, diff_id: &str, chain_id: &str, below: &[String]) -> Result<u64> {
        let fail = |source: LayerError| Error::Layer {
            layer: diff_id.to_owned(),
            source,
        };
        let lower = below
            .iter()
            .rev()
            .map(|chain_id| self.directory(chain_id))
            .collect::<Result<Vec<_>>>()?;
        let lower = View::open(lower).map_err(|error| fail(error.into()))?;
        let root = self.staging.make_layer(chain_id)?;
        let root = std::fs::File::open(&root).map_err(Error::io("open", &root))?;
        // A descriptor that promises fewer bytes than there are must not make us read them all.
        let limit = layer
            .digest
            .as_ref()
            .map_or(u64::MAX, |(_, size)| size.saturating_add(1));
        let mut blob = HashReader::new(self.source.read(&layer.name)?.take(limit));
        let mut content = HashReader::new(compression::decompress(&mut blob).map_err(|error| fail(error.into()))?);
        let unpacked = unpack(&mut content, OwnedFd::from(root), &lower, self.store.limits());
        // What failed is not read on: it may be far larger than the blob it is compressed in.
        let unpacked = unpacked.and_then(|size| Ok((size, content.finish()?.0)));
        if let Some((digest, size)) = &layer.digest {
            let (actual, length) = blob.finish().map_err(|error| fail(error.into()))?;
            // A damaged blob is the better explanation for whatever went wrong while unpacking it.
            digest::verify(&format!("layer {digest}"), digest, &actual)?;
            if length != *size {
                let reason = format!("layer {digest} has {length} bytes instead of {size}");
                return Err(Error::Malformed {
                    image: digest.clone(),
                    reason,
                });
            }
        }
        let (size, actual) = unpacked.map_err(fail)?;
        digest::verify(&format!("the content of layer {}", layer.name), diff_id, &actual)?;
        Ok(size)
    }
}
