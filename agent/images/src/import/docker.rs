//! Archives written by `docker save`: `manifest.json` names the configuration and the layers as files.

use super::documents::{DockerImage, Platform};
use super::platform;
use super::source::Source;
use super::{Found, LayerBlob};
use crate::digest;
use crate::error::{Error, Result};
use crate::reference::Reference;

pub(super) const MANIFEST: &str = "manifest.json";

/// Every image of the archive.
pub(super) fn images(source: &Source) -> Result<Vec<Found>> {
    let images: Vec<DockerImage> =
        serde_json::from_slice(&source.document(MANIFEST)?).map_err(Error::json(MANIFEST))?;
    let host = platform::host();
    let mut found = Vec::new();
    let mut others = Vec::new();
    for image in images {
        let config = source.document(&image.config)?;
        let config_digest = digest::sha256(&config);
        verify_name(&image.config, &config_digest)?;
        let platform: Platform = serde_json::from_slice(&config).map_err(Error::json(image.config.as_str()))?;
        if !platform.runs_on(&host) {
            others.push(platform.to_string());
            continue;
        }
        let tags = image.repo_tags.unwrap_or_default();
        let references = tags
            .iter()
            .map(|tag| Ok(Reference::parse(tag)?.to_string()))
            .collect::<Result<Vec<_>>>()?;
        // The files are checked against the configuration's diff ids; the archive says no digest of its own.
        let layers = image.layers.unwrap_or_default();
        let layers = layers
            .into_iter()
            .map(|name| LayerBlob { name, digest: None })
            .collect();
        found.push(Found {
            references,
            digests: Vec::new(),
            manifest: None,
            config_digest,
            config,
            layers,
        });
    }
    if found.is_empty() {
        let found = if others.is_empty() {
            "nothing".to_owned()
        } else {
            others.join(", ")
        };
        return Err(Error::NoPlatform {
            path: source.path().to_path_buf(),
            wanted: host.to_string(),
            found,
        });
    }
    Ok(found)
}

/// The configuration's file name is its digest, `<hex>.json` or `blobs/sha256/<hex>`; a mismatch means damage.
fn verify_name(name: &str, actual: &str) -> Result<()> {
    let file = name.rsplit('/').next().unwrap_or(name);
    let hex = file.strip_suffix(".json").unwrap_or(file);
    if digest::is_hex64(hex) {
        digest::verify(name, &format!("sha256:{hex}"), actual)
    } else {
        Ok(())
    }
}
