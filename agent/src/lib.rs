//! The node agent: it runs the pods that are bound to its node, does the work of Kubernetes' kubelet and kube-proxy,
//! and reports what it sees.
//!
//! Long-lived tasks, their channels, and who may see them:
//!
//! ```text
//! node::register ── Node, Lease ──► API; tells the pod CIDR ──► network opener ──► network thread
//! static_pods ──(set of manifests)──► manager ◄──(watch of pods)── API
//! manager ──watch(Desired)──► pods::worker (one a pod UID) ──► monitor, network thread, image store, API (status)
//! proxy ◄──(watch of Services, EndpointSlices)── API; ──(rules)──► network thread; ──watch(Routes)──► workers
//! objects (one a watched ConfigMap or Secret) ──watch──► workers
//! probes (one a probe) ──(verdicts)──► their worker
//! events ◄──(notes)── everybody; ──► API
//! image_watch ──watch──► workers, node::register
//! node API server ── registry (snapshots the workers leave) ──► monitors
//! ```
//!
//! Invariants:
//! - A pod is its UID, a container a random id. Names and process ids are never keys.
//! - The agent forks nothing but `barepod-runtime`; what runs is a child of the pod's monitor, and outlives the agent.
//! - [`pods::plan`] decides and only operations act; one worker polls the operations of its pod and of no other.
//! - What is needed to find something again is written down before it is made.
//! - Removal runs every step, whatever fails, and always ends.
//! - Nothing wakes up when nothing changes, but probes, the Lease, and what a pod itself asked for.

#![forbid(unsafe_op_in_unsafe_fn)]

mod advice;
mod api;
mod config;
mod drivers;
mod events;
mod fault;
mod files;
mod image_watch;
mod kinds;
mod laps;
mod node;
mod objects;
mod pods;
mod probes;
mod proxy;
mod run;
mod shared;
mod slots;
mod spec;
mod static_pods;
mod status;
mod sys;
mod time;
mod volumes;

pub use config::{
    Config, DEFAULT_BRIDGE, DEFAULT_LOG_MAX_BYTES, DEFAULT_LOG_MAX_FILES, DEFAULT_MAX_PODS, DEFAULT_POD_PIDS_LIMIT, Tls,
};
pub use fault::POINTS as FAULT_POINTS;
pub use pods::store::images_in_use;
pub use run::{run, runtime};
