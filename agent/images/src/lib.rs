//! The images of a node: imported from files, verified, unpacked once, and found again by name.
//!
//! The crate is synchronous and starts no task; callers with an event loop use a blocking thread.
//!
//! ```text
//! <dir>/lock                       flock of whoever writes
//! <dir>/index.json                 the images; replaced by rename, so a reader sees the old or the new state
//! <dir>/blobs/sha256/<hex>         image configurations and manifests
//! <dir>/layers/<hex of chain id>/  unpacked layers, used as overlay lower directories
//! <dir>/tmp/                       work in progress; swept by every writer and at open
//! ```
//!
//! Invariants:
//! - What the index names is complete on disk: layers and blobs are synced and renamed into place before the index is.
//! - A layer is named by its chain id (the digest over it and everything below it), because what it contains can
//!   depend on what it lies on: directories that a layer only implies take owner and mode from the layers below.
//! - A layer is removed only when no image in the index refers to it.
//! - Everything read from an image is checked against its digest, and nothing in an archive can name a file outside
//!   of the directory it is unpacked to.

pub mod build;
mod compression;
mod digest;
mod error;
mod image;
mod import;
mod reference;
mod store;
mod sys;
mod tarball;
#[cfg(test)]
mod testing;
mod unpack;
pub mod user;
mod view;

pub use error::{Error, Result};
pub use image::Image;
pub use reference::Reference;
pub use store::{ImageStore, Pruned};
pub use unpack::{LayerError, Limits};
