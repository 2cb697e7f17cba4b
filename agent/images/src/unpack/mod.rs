//! Turns a layer's tar stream into a directory that overlayfs can use as a lower layer.
//!
//! The stream is written by whoever made the image and is not trusted. Every path is resolved beneath the layer's
//! directory by descriptor, symbolic links that earlier entries made included, so that none of the known escapes work:
//! `..` components, absolute names, links as parents, hard links to the host (CVE-2018-15664, CVE-2019-14271 and
//! CVE-2022-23648 are of this class).

mod apply;
mod metadata;
mod parents;
mod remove;
#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::tarball::{TarError, TarReader};
use crate::view::View;

pub(crate) use remove::remove_tree;

/// Bytes after an archive's end marker.
const MAX_TRAILING: u64 = 64 << 20;

/// How much one layer may hold. A stream beyond it is refused, since it can be far larger than the file it is
/// compressed in.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries in one layer.
    pub entries: u64,
    /// Bytes of file content in one layer.
    pub content_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 2_000_000,
            content_bytes: 256 << 30,
        }
    }
}

/// Why a layer or archive could not be read or unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The compressed or plain stream is damaged or could not be read.
    #[error("cannot read the stream")]
    Read(#[from] io::Error),
    /// The stream is no valid tar archive.
    #[error("bad tar header at byte {offset}: {reason}")]
    Header {
        /// Where, in the uncompressed stream.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// An entry whose name leads out of the layer, or is no name.
    #[error("entry {path:?} leads out of the layer or has no valid name")]
    Name {
        /// The entry's name.
        path: PathBuf,
    },
    /// An entry could not be made.
    #[error("cannot {operation} {path:?}")]
    Entry {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The entry's name.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A hard link to something that is not in the layer.
    #[error("hard link {path:?} names {target:?}, which is not in its layer")]
    LinkTarget {
        /// The entry's name.
        path: PathBuf,
        /// What it should be a link to.
        target: PathBuf,
    },
    /// More entries than allowed.
    #[error("more than {limit} entries")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// More content than allowed.
    #[error("more than {limit_bytes} bytes of content")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
}

impl From<TarError> for LayerError {
    fn from(error: TarError) -> Self {
        match error {
            TarError::Read(source) => Self::Read(source),
            TarError::Header { offset, reason } => Self::Header { offset, reason },
        }
    }
}

/// Unpacks the tar stream into the empty directory `root`, which will lie on the layers of `lower`. Reads the stream
/// to its end. Returns the bytes the content takes on disk.
pub(crate) fn unpack(stream: impl Read, root: OwnedFd, lower: &View, limits: Limits) -> Result<u64, LayerError> {
    let mut reader = TarReader::new(stream);
    let mut layer = apply::Layer::new(root, lower)?;
    let (mut entries, mut content, mut on_disk) = (0, 0_u64, 0);
    while let Some(entry) = reader.next()? {
        entries += 1;
        if entries > limits.entries {
            return Err(LayerError::TooManyEntries { limit: limits.entries });
        }
        content = content.saturating_add(entry.size);
        if content > limits.content_bytes {
            return Err(LayerError::TooLarge {
                limit_bytes: limits.content_bytes,
            });
        }
        on_disk += entry.size.next_multiple_of(4096);
        layer.apply(&entry, &mut reader)?;
    }
    layer.finish()?;
    // The digest covers what follows the end marker, which is only padding.
    let trailing = io::copy(&mut reader.into_inner().take(MAX_TRAILING + 1), &mut io::sink())?;
    if trailing > MAX_TRAILING {
        return Err(LayerError::TooLarge {
            limit_bytes: limits.content_bytes,
        });
    }
    Ok(on_disk)
}
