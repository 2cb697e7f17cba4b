//! Container logs: files in the CRI format, read with the options of `kubectl logs`.
//!
//! A log is a chain of files: `<path>` is being written, `<path>.1` is what it was before the last rotation, and so on.
//! Files are told apart by inode, so that reading goes on in the right place when they are renamed meanwhile.
//!
//! ```text
//! files (chain) ─► tail (where to start) ─► reader (lines) ─► join (whole lines, options) ─► bytes
//!                                             ▲ inotify (follow)
//! ```

mod files;
mod follow;
mod join;
mod messages;
mod options;
mod reader;
mod record;
mod tail;
#[cfg(test)]
mod tests;
mod watch;

pub(crate) use follow::send;
pub(crate) use messages::{PROTOCOLS, carry};
pub use options::LogOptions;
pub use record::{Record, Stream};
