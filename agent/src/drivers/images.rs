//! The node's images. They come into the store by `barepod images import`; registries are not asked yet.

use std::path::PathBuf;
use std::sync::Arc;

use crate::kinds::Container;
use barepod_images::{Image, ImageStore};

use super::network::chain;
use crate::pods::observed::Waiting;

/// The image store, for tasks.
#[derive(Clone)]
pub struct Images(Arc<ImageStore>);

/// An image with its unpacked layers.
#[derive(Debug, Clone)]
pub struct Found {
    /// The image.
    pub image: Image,
    /// Its layers, uppermost first.
    pub layers: Vec<PathBuf>,
}

impl Images {
    /// Over this store.
    pub fn new(store: ImageStore) -> Self {
        Self(Arc::new(store))
    }

    /// The container's image; blocking. The error is what the container waits for.
    pub fn find(&self, container: &Container) -> Result<Found, Waiting> {
        let reference = container.image.as_deref().unwrap_or_default();
        if reference.is_empty() {
            return Err(Waiting::new("InvalidImageName", "the container names no image"));
        }
        let resolve = || -> barepod_images::Result<Option<Found>> {
            let Some(image) = self.0.resolve(reference)? else {
                return Ok(None);
            };
            let layers = self.0.lower_dirs(&image)?;
            Ok(Some(Found { image, layers }))
        };
        match resolve() {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(absent(reference, container.image_pull_policy.as_deref())),
            Err(
                error @ (barepod_images::Error::InvalidReference { .. } | barepod_images::Error::InvalidDigest { .. }),
            ) => Err(Waiting::new(
                "InvalidImageName",
                format!("Failed to apply default image tag {reference:?}: {}", chain(&error)),
            )),
            Err(error) => Err(Waiting::new(
                "ErrImagePull",
                format!("Failed to look up image {reference:?}: {}", chain(&error)),
            )),
        }
    }

    /// Every image, for the node's status; blocking.
    pub fn list(&self) -> Vec<Image> {
        self.0.list().unwrap_or_else(|error| {
            tracing::warn!(error = chain(&error), "images not listed");
            Vec::new()
        })
    }
}

fn absent(reference: &str, policy: Option<&str>) -> Waiting {
    let advice = "import it with `barepod images import FILE` on this node";
    if policy == Some("Never") {
        let message = format!("Container image {reference:?} is not present with pull policy of Never; {advice}");
        return Waiting::new("ErrImageNeverPull", message);
    }
    let message =
        format!("Container image {reference:?} is not present, and registries are not supported yet; {advice}");
    Waiting::new("ErrImagePull", message)
}

/// The name under which the image is reported: the one that was asked for, made full.
pub fn display_name(found: &Found, asked: &str) -> String {
    found
        .image
        .references
        .iter()
        .find(|it| it.ends_with(asked))
        .or(found.image.references.first())
        .cloned()
        .unwrap_or_else(|| asked.into())
}

/// The digest under which the image is reported, or its id.
pub fn display_id(found: &Found) -> String {
    found
        .image
        .digests
        .first()
        .cloned()
        .unwrap_or_else(|| found.image.id.clone())
}
