//! What acts: the monitor of each sandbox, the node's network, the image store.

pub mod images;
pub mod monitor;
pub mod network;
