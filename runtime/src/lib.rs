//! The low-level container runtime: pod sandboxes and containers on Linux namespaces and cgroups, without a daemon.
//!
//! It knows OCI configurations and nothing of Kubernetes. There are two ways to it: a [`monitor`] for each pod, spoken to
//! over the [`protocol`] with the [`client`], and the [`oci`] command line. Both lead into [`init`], where a process turns
//! itself into a container.
//!
//! Invariants:
//! - A process is a pidfd; a pid alone never says who is meant. A container is its id, a sandbox its directory.
//! - One monitor is the parent of a pod's pause and of all its containers. It has one thread, and wakes for a reason only.
//! - What is made in the kernel can be found from the pod's cgroup path alone, and the sandbox is written down before it is
//!   made ([`records`]). Whatever dies when, [`records::cleanup`] removes the rest, and may be run again.
//! - Nobody is moved into a cgroup by pid ([`cgroup`]): a process is born there, or goes there itself.
//! - Files in a container's root are opened beneath it by descriptor; what is trusted to be procfs is verified to be.
//! - `unsafe` is in [`sys`] only.

pub mod broken;
pub mod cgroup;
pub mod client;
pub mod document;
pub mod error;
pub mod fault;
pub mod init;
pub mod monitor;
pub mod netlink;
pub mod oci;
pub mod procfs;
pub mod protocol;
pub mod records;
pub mod resctrl;
pub mod sealed;
pub mod seccomp;
pub mod spec;
pub mod sys;
pub mod systemd;
pub mod time;

pub use error::{Error, Result};
