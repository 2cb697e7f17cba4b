//! Cgroups made by systemd, which owns the hierarchy of the machines it runs: a container is in a scope, made and ended
//! through systemd's D-Bus interface, and below the scope the hierarchy is the runtime's (`Delegate`).
//!
//! A scope is made of processes that run already, and containers are born into their cgroups: so a process that does
//! nothing holds the scope until the container is in it ([`Holder`]).

mod bus;
mod devices;
mod gvariant;
mod holder;
mod properties;
mod scope;
mod wire;

pub use holder::Holder;
pub use scope::{Scope, remove, update};
