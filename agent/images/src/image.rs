//! An image as callers see it.

use oci_spec::image::ImageConfiguration;

/// An image that is complete in the store.
#[derive(Debug, Clone)]
pub struct Image {
    /// Digest of the configuration, `sha256:…`: what docker and Kubernetes call the image id.
    pub id: String,
    /// Full names with tags, `docker.io/library/nginx:latest`.
    pub references: Vec<String>,
    /// Full names with digests, `docker.io/library/nginx@sha256:…`; the digest of what the name pointed at first, of
    /// this platform's manifest after it. Empty for archives that carry no manifest.
    pub digests: Vec<String>,
    /// Room its unpacked layers take, in bytes.
    pub size_bytes: u64,
    /// The image's configuration: program, environment, user, …
    pub config: ImageConfiguration,
    /// Chain ids of the layers, lowest first.
    pub layers: Vec<String>,
}
