//! The low-level container runtime: pod sandboxes and containers on Linux namespaces and cgroups, without a daemon.

pub mod cgroup;
pub mod client;
pub mod document;
pub mod error;
pub mod fault;
pub mod init;
pub mod monitor;
pub mod oci;
pub mod protocol;
pub mod records;
pub mod sealed;
pub mod seccomp;
pub mod spec;
pub mod sys;
pub mod time;

pub use error::{Error, Result};
