//! The monitor of one pod: parent of its pause and of all its containers, for as long as the pod lives.
//!
//! ```text
//! agent ─ asks ─► spawner ─ clone3 ─► monitor ─ clone3 ─► pause, containers, execs
//!                                       │ epoll: socket, clients, pidfds, output
//! ```
//!
//! One thread, no timer that ticks: it wakes when a descriptor is ready or an exec's time is over. It holds the pidfds
//! of what it made and the read ends of all output, and writes down what happens before it tells anybody.

mod attach;
mod attend;
mod clients;
mod containers;
mod execs;
mod log;
mod network;
mod output;
mod pause;
mod poller;
mod request;
mod sandbox;
mod server;
mod start;

pub use start::main;
