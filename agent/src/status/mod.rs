//! What the API is told about a pod: built from what is observed, sent only when it differs from what was sent.

mod build;
mod diff;
mod publisher;

pub use build::{Place, build};
pub use publisher::{Publisher, Sent, Subject};
