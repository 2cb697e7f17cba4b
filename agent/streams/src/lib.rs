//! The HTTPS API of a node, as the kubelet serves it: logs, exec, attach and port-forward of its pods.
//!
//! Only callers with a client certificate are served: administrators (`O=system:masters`) and the API server
//! (`CN=kube-apiserver-kubelet-client`), which passes `kubectl`'s upgraded connections through byte by byte. This crate
//! is therefore the only place that speaks WebSocket, the remote command channels and SPDY.
//!
//! ```text
//! serve ─ accepts; one task a connection
//!   └─ connection ─ TLS, HTTP; request → [`Node`] → answer
//!        ├─ logs: one task, reads ahead by one chunk ──(mpsc)──► response body
//!        └─ upgraded: one task a connection, WebSocket or SPDY
//!             ├─ exec, attach: reader, writer and pumps, joined by a bounded channel
//!             └─ port-forward: reader, writer and one future a forwarded connection
//! ```
//!
//! Every task ends when [`serve`]'s `shutdown` does. Invariants:
//! - Every queue is bounded; a client that does not read stops its own session only.
//! - A session is dropped when its client goes away; whoever implements [`Node`] sees that as the drop of what it
//!   returned in [`Session`].
//! - A WebSocket is always closed with code 1000 after the last message, because `kubectl` takes a close without a code
//!   for a failure even after an exit status has arrived.

mod auth;
mod error;
mod exec;
pub mod logs;
mod node;
mod portforward;
mod query;
mod route;
mod server;
pub mod spdy;
mod status;
mod sys;
mod upgrade;
mod websocket;

pub use error::{Error, ServeError};
pub use node::{ExecRequest, ExitStatus, LogSource, Node, Session, TerminalSize};
pub use server::serve;
