//! Who asks, whether it may, and what it may write: the state behind [`barepod_auth`]'s tables, kept up to date from
//! the store.

mod authorize;
mod follow;
mod nodes;
mod roles;

pub use authorize::Access;
