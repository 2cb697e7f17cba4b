//! Who asks, whether it may, and what it may write: the state behind [`barepod_auth`]'s tables, kept up to date from
//! the store.

mod authorize;
mod follow;
mod nodes;
mod roles;
mod tokens;

pub use authorize::Access;
pub use tokens::{SigningError, Tokens};
