//! The harness of the integration tests: nodes in namespaces of their own, the real kubectl, leak checks.
//!
//! A [`Cluster`] is a mount, network and PID namespace with nothing but loopback, in which `barepod up` was run with
//! directories and a cgroup parent of its own. When it is dropped, `barepod reset` must leave nothing behind, and the
//! end of the namespaces ends whatever a broken build might have left.

pub mod api;
mod cluster;
mod images;
mod leak;
pub mod stats;
mod sys;
mod wait;

pub use cluster::{Cluster, Options, Ran, barepod};
pub use images::images;
pub use leak::Snapshot;
pub use wait::{eventually, within};
