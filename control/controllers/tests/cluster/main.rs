//! The scheduler and the controllers against the real API engine, in one process and without a socket, with nodes that
//! only pretend to run pods.

mod deletion;
mod nodes;
mod scheduling;
mod services;
mod support;
mod workloads;
