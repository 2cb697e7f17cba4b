//! The control service: the API server over the store, with the scheduler and the controllers in the same process.
//!
//! Long-lived tasks, all owned by [`run_until`]:
//! - the listener: accepts connections, one task for each; ends them when told to stop;
//! - the controllers: a client over [`inprocess::InProcess`], ended before the connections; of several control services
//!   on one etcd only the leader has them;
//! - the expiry of events: sleeps until the next one is an hour old, ends with the store;
//! - the giving back of memory: sleeps until there were many requests, and acts when there are few again;
//! - `store-writer`, the store's own thread.
//!
//! Invariants
//! 1. Everything that changes an object goes through [`engine::Engine`], whoever asks: a client over TLS, a controller
//!    in this process, the bootstrap.
//! 2. Identity comes from the TLS handshake, a token, or the code that builds an in-process client, never from other headers.
//! 3. A watch and a list share the stored bytes; neither holds a lock while it sends.

pub mod access;
pub mod bootstrap;
mod config;
pub mod engine;
mod expiry;
pub mod http;
pub mod inprocess;
mod internal;
pub mod keepers;
mod leader;
pub mod metrics;
mod quiet;
mod run;
mod sys;

pub use barepod_store as store;
pub use config::{AuditConfig, Backend, Config, FrontProxy, Pki};
pub use run::{run, run_until, runtime};
