//! The Node object: making it, keeping it true, and the Lease that says that the agent lives.

mod host;
mod lease;
mod object;
mod register;

pub use host::Machine;
pub use register::{Reporter, run};
