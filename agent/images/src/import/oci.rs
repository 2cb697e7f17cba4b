//! OCI image layouts: `index.json` names manifests or further indexes, everything else is a blob.

use super::documents::{Descriptor, Document, Platform};
use super::platform;
use super::source::{Source, blob_name};
use super::{Found, LayerBlob};
use crate::error::{Error, Result};
use crate::reference::Reference;

pub(super) const INDEX: &str = "index.json";
/// The full name, where containerd and docker write it.
const FULL_NAME: &str = "io.containerd.image.name";
/// A name or only a tag, depending on the tool (OCI image specification, annotations).
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Indexes in indexes that are followed.
const MAX_DEPTH: u32 = 4;

/// Every image of the layout that runs on this machine.
pub(super) fn images(source: &Source) -> Result<Vec<Found>> {
    let top = parse(&source.document(INDEX)?, INDEX)?;
    let mut search = Search {
        source,
        host: platform::host(),
        others: Vec::new(),
    };
    let mut found: Vec<Found> = Vec::new();
    for descriptor in top.manifests.unwrap_or_default() {
        let Some(mut image) = search.descend(&descriptor, 0)? else {
            continue;
        };
        // The name stands for what the layout's index points at; of an index, the chosen manifest is also known.
        if !image.digests.contains(&descriptor.digest) {
            image.digests.insert(0, descriptor.digest.clone());
        }
        image.references.extend(name(&descriptor)?);
        match found
            .iter_mut()
            .find(|other| other.config_digest == image.config_digest)
        {
            // One image under several names has several entries.
            Some(other) => other.merge(image),
            None => found.push(image),
        }
    }
    if found.is_empty() {
        let mut others: Vec<_> = search.others.iter().map(Platform::to_string).collect();
        others.dedup();
        return Err(Error::NoPlatform {
            path: source.path().to_path_buf(),
            wanted: search.host.to_string(),
            found: if others.is_empty() {
                "nothing".to_owned()
            } else {
                others.join(", ")
            },
        });
    }
    Ok(found)
}

struct Search<'a> {
    source: &'a Source,
    host: Platform,
    /// What was passed over.
    others: Vec<Platform>,
}

impl Search<'_> {
    fn descend(&mut self, descriptor: &Descriptor, depth: u32) -> Result<Option<Found>> {
        if let Some(platform) = &descriptor.platform
            && !platform.runs_on(&self.host)
        {
            // Build attestations are listed like images, for a platform "unknown".
            if platform.os != "unknown" {
                self.others.push(platform.clone());
            }
            return Ok(None);
        }
        let bytes = self.source.blob(&descriptor.digest)?;
        let document = parse(&bytes, &descriptor.digest)?;
        if let Some(manifests) = document.manifests {
            if depth == MAX_DEPTH {
                let reason = format!("indexes are nested deeper than {MAX_DEPTH}");
                return Err(Error::Malformed {
                    image: descriptor.digest.clone(),
                    reason,
                });
            }
            for manifest in &manifests {
                if let Some(found) = self.descend(manifest, depth + 1)? {
                    return Ok(Some(found));
                }
            }
            return Ok(None);
        }
        let Some(config) = document.config else {
            let reason = "it is neither a manifest nor an index".to_owned();
            return Err(Error::Malformed {
                image: descriptor.digest.clone(),
                reason,
            });
        };
        self.manifest(descriptor, bytes, &config, &document.layers)
    }

    fn manifest(
        &mut self,
        descriptor: &Descriptor,
        manifest: Vec<u8>,
        config: &Descriptor,
        layers: &[Descriptor],
    ) -> Result<Option<Found>> {
        let content = self.source.blob(&config.digest)?;
        // Anything may be packed as an artifact; only images have a platform in their configuration.
        let Ok(platform) = serde_json::from_slice::<Platform>(&content) else {
            tracing::debug!(
                digest = descriptor.digest,
                media_type = config.media_type,
                "passing over what is no image"
            );
            return Ok(None);
        };
        if !platform.runs_on(&self.host) {
            self.others.push(platform);
            return Ok(None);
        }
        let layer = |layer: &Descriptor| {
            let digest = Some((layer.digest.clone(), layer.size));
            Ok(LayerBlob {
                name: blob_name(&layer.digest)?,
                digest,
            })
        };
        Ok(Some(Found {
            references: Vec::new(),
            digests: vec![descriptor.digest.clone()],
            manifest: Some((descriptor.digest.clone(), manifest)),
            config_digest: config.digest.clone(),
            config: content,
            layers: layers.iter().map(layer).collect::<Result<_>>()?,
        }))
    }
}

impl Found {
    fn merge(&mut self, other: Self) {
        self.references.extend(other.references);
        for digest in other.digests {
            if !self.digests.contains(&digest) {
                self.digests.push(digest);
            }
        }
    }
}

fn name(descriptor: &Descriptor) -> Result<Option<String>> {
    let Some(annotations) = &descriptor.annotations else {
        return Ok(None);
    };
    let full = annotations.get(FULL_NAME);
    // Without a separator it is a tag whose repository only the caller can know.
    let text = full.or_else(|| annotations.get(REF_NAME).filter(|name| name.contains([':', '/'])));
    Ok(text
        .map(|text| Reference::parse(text))
        .transpose()?
        .map(|reference| reference.to_string()))
}

fn parse(bytes: &[u8], what: &str) -> Result<Document> {
    serde_json::from_slice(bytes).map_err(Error::json(what))
}
