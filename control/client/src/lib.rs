//! A client of the Kubernetes API: requests, watches, and the objects that several parts of barepod read.
//!
//! ```text
//! watch ─┐
//!        ├─► Client ─► Transport ─┬─► Connections   HTTP/2 over TLS, as a kubeconfig says
//! verbs ─┘                        └─► the API server of this very process, without a socket
//! ```
//!
//! Long-lived tasks: one a connection, which ends with the last request on it. A watch is a stream, and whoever polls it
//! owns it.
//!
//! Invariants:
//! 1. Objects are read through slim structs, which leave out what nobody looks at; nothing is ever written back from
//!    one. What exists is patched, what is new is sent as JSON.
//! 2. Every kind is decoded in one way, from text: one copy of its decoder is in the program.
//! 3. A watch never ends by itself: it goes on where it was, lists again when it cannot, and waits longer and longer
//!    while the server is away.

#![forbid(unsafe_code)]

mod backoff;
mod client;
mod connection;
mod error;
mod kubeconfig;
mod lines;
mod object;
mod request;
mod tls;
mod transport;
pub mod types;
mod watch;
pub mod yaml;

pub use backoff::Backoff;
pub use client::Client;
pub use error::{Cause, Details, Error, Status};
pub use kubeconfig::Kubeconfig;
pub use object::{Object, PartialObject, Read, Resource, decode};
pub use request::{DeleteOptions, Patch, Propagation, Request};
pub use tls::AnyCertificate;
pub use transport::{Body, BoxError, Transport};
pub use watch::{Event, List, ListMeta, Selection, watch};
