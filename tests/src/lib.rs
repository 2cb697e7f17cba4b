//! The harness of the integration tests: nodes in namespaces of their own, the real kubectl, leak checks.
//!
//! A [`Cluster`] is a mount, network and PID namespace with nothing but loopback, in which `barepod up` was run with
//! directories and a cgroup parent of its own. When it is dropped, `barepod reset` must leave nothing behind, and the
//! end of the namespaces ends whatever a broken build might have left. A [`Space`] is one Kubernetes namespace of it.

pub mod api;
mod background;
mod cluster;
mod images;
mod leak;
mod namespaces;
mod ran;
mod space;
pub mod stats;
mod sys;
mod wait;
mod words;

pub use background::Background;
pub use cluster::{Cluster, Options, barepod, kubectl};
pub use images::images;
pub use leak::Snapshot;
pub use ran::Ran;
pub use space::{Objects, Space, is_ready};
pub use wait::{eventually, within};
pub use words::words;
