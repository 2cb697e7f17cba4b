//! What a node may do: what the pods bound to it need, and nothing about others.

mod authorize;
mod graph;
mod references;

pub use authorize::Nodes;
pub use graph::{Graph, Needed};
pub use references::references_of_pod;
