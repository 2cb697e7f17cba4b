//! What can go wrong with images.

use std::io;
use std::path::{Path, PathBuf};

use crate::unpack::LayerError;

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed operation on images.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Something runs from the image.
    #[error("image {reference} is in use: delete the pods of this node that have it first")]
    InUse {
        /// As it was given.
        reference: String,
    },
    /// A name that is no image reference.
    #[error("invalid image reference {reference:?}: {reason}")]
    InvalidReference {
        /// As it was given.
        reference: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Text that is no digest this crate can check.
    #[error("unsupported digest {digest:?}: only sha256 digests are understood")]
    InvalidDigest {
        /// As it was found.
        digest: String,
    },
    /// Content that is not what its digest says.
    #[error("{object} is corrupt: its content has digest {actual}, expected {expected}")]
    DigestMismatch {
        /// What was read.
        object: String,
        /// What it should be.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// A document that could not be understood.
    #[error("cannot parse {object}")]
    Json {
        /// Which document.
        object: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A file or directory that holds no image.
    #[error(
        "{} holds no image: expected an OCI layout directory, an OCI archive or an archive written by docker save",
        path.display()
    )]
    UnknownFormat {
        /// What was to be imported.
        path: PathBuf,
    },
    /// An archive that could not be read.
    #[error("cannot read the archive {}", path.display())]
    Archive {
        /// Which archive.
        path: PathBuf,
        /// Why.
        source: LayerError,
    },
    /// An image names content that its archive does not have.
    #[error("{object} is missing from {}", path.display())]
    MissingBlob {
        /// What is missing.
        object: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// No image for this machine.
    #[error("{} has no image for {wanted}, only for {found}", path.display())]
    NoPlatform {
        /// What was to be imported.
        path: PathBuf,
        /// This machine's platform.
        wanted: String,
        /// The platforms that are there.
        found: String,
    },
    /// An image without a name.
    #[error("{} does not say the full name of its image; give one", path.display())]
    NoName {
        /// What was to be imported.
        path: PathBuf,
    },
    /// One name for several images.
    #[error("{} holds {count} images; they cannot all be named {reference}", path.display())]
    ManyImages {
        /// What was to be imported.
        path: PathBuf,
        /// How many images it has.
        count: usize,
        /// The name that was asked for.
        reference: String,
    },
    /// An image whose parts do not fit together.
    #[error("image {image} is malformed: {reason}")]
    Malformed {
        /// Its configuration's or manifest's digest.
        image: String,
        /// What does not fit.
        reason: String,
    },
    /// A document larger than any honest one.
    #[error("{object} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// Which document.
        object: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// A layer that could not be unpacked.
    #[error("cannot unpack layer {layer}")]
    Layer {
        /// Its digest.
        layer: String,
        /// Why.
        source: LayerError,
    },
    /// No such image.
    #[error("image {reference} is not present")]
    NotFound {
        /// The name that was asked for.
        reference: String,
    },
    /// An unpacked layer vanished.
    #[error("layer {layer} of image {image} is gone from the store; import the image again")]
    MissingLayer {
        /// The image's id.
        image: String,
        /// The layer's chain id.
        layer: String,
    },
    /// A user that the image does not have, or text that is no user.
    #[error("cannot find user {user:?}: {reason}")]
    User {
        /// As it was given, `user[:group]`.
        user: String,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// For `map_err`: an I/O error of `operation` on `path`.
    pub(crate) fn io<E: Into<io::Error>>(operation: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            operation,
            path,
            source: source.into(),
        }
    }

    /// For `map_err`: a parse error of `object`.
    pub(crate) fn json(object: impl Into<String>) -> impl FnOnce(serde_json::Error) -> Self {
        let object = object.into();
        move |source| Self::Json { object, source }
    }
}
