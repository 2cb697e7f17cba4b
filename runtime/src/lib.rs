//! The low-level container runtime: pod sandboxes and containers on Linux namespaces and cgroups, without a daemon.

pub mod protocol;
