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
        return Err(Error::UnknownFormat {
            path: path.to_path_buf(),
        });
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
        Version::Digest(_) => Err(Error::InvalidReference {
            reference: text.to_owned(),
            reason: "an image is imported under a tag",
        }),
    }
}

/// Settles the images' names.
fn name(found: &mut [Found], reference: Option<Reference>, path: &Path) -> Result<()> {
    if let Some(reference) = reference {
        let count = found.len();
        let [image] = found else {
            let reference = reference.to_string();
            return Err(Error::ManyImages {
                path: path.to_path_buf(),
                count,
                reference,
            });
        };
        image.references = vec![reference.to_string()];
    }
    if found.iter().any(|image| image.references.is_empty()) {
        return Err(Error::NoName {
            path: path.to_path_buf(),
        });
    }
    Ok(())
}

impl Found {
    /// Checks that the documents fit together and returns the configuration.
    fn parse_config(&self) -> Result<ImageConfiguration> {
        let malformed = |reason| Error::Malformed {
            image: self.config_digest.clone(),
            reason,
        };
        let config: ImageConfiguration = serde_json::from_slice(&self.config)
            .map_err(Error::json(format!("image configuration {}", self.config_digest)))?;
        let (diff_ids, layers) = (config.rootfs().diff_ids().len(), self.layers.len());
        if diff_ids != layers {
            return Err(malformed(format!(
                "it lists {layers} layers, but its configuration {diff_ids}"
            )));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As docker wrote configurations over the years: nulls, members of its own, layers without content.
    const DOCKER: &str = r#"{
        "architecture": "amd64", "os": "linux", "created": "2021-03-04T05:06:07.123456789Z", "docker_version": "19.03",
        "container": "abc", "container_config": { "Hostname": "x", "Cmd": null },
        "config": {
            "Hostname": "", "User": "", "AttachStdin": false, "ExposedPorts": { "6379/tcp": {} }, "Env": ["A=b"],
            "Cmd": ["redis-server"], "Entrypoint": null, "Volumes": null, "WorkingDir": "", "OnBuild": null,
            "Labels": null, "ArgsEscaped": true, "Healthcheck": { "Test": ["NONE"] }, "StopSignal": "SIGQUIT"
        },
        "history": [{ "created": "2021-03-04T05:06:07Z", "created_by": "/bin/sh -c #(nop)", "empty_layer": true }],
        "rootfs": { "type": "layers", "diff_ids": [] }
    }"#;

    fn found(config: &str, layers: usize) -> Found {
        let layers = (0..layers)
            .map(|n| LayerBlob {
                name: n.to_string(),
                digest: None,
            })
            .collect();
        Found {
            references: vec!["docker.io/library/redis:6".to_owned()],
            digests: vec!["sha256:a".to_owned(), "sha256:b".to_owned()],
            manifest: None,
            config_digest: digest::sha256(config.as_bytes()),
            config: config.as_bytes().to_vec(),
            layers,
        }
    }

    #[test]
    fn old_configurations_are_understood() {
        let config = found(DOCKER, 0).parse_config().unwrap();
        let config = config.config().as_ref().unwrap();
        assert_eq!(config.cmd().as_deref(), Some(&["redis-server".to_owned()][..]));
        assert_eq!((config.entrypoint(), config.volumes()), (&None, &None));
        assert_eq!(config.exposed_ports().as_deref(), Some(&["6379/tcp".to_owned()][..]));
    }

    #[test]
    fn layers_and_diff_ids_must_match() {
        assert!(matches!(found(DOCKER, 1).parse_config(), Err(Error::Malformed { .. })));
        let evil = DOCKER.replace("\"diff_ids\": []", "\"diff_ids\": [\"sha256:../../../x\"]");
        assert!(matches!(
            found(&evil, 1).parse_config(),
            Err(Error::InvalidDigest { .. })
        ));
    }

    #[test]
    fn every_digest_stands_under_every_name() {
        let record = found(DOCKER, 0).record(Vec::new()).unwrap();
        assert_eq!(
            record.digests,
            ["docker.io/library/redis@sha256:a", "docker.io/library/redis@sha256:b"]
        );
    }
}
