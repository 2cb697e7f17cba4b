//! Who may do what: users, roles, nodes, tokens and certificates, as pure functions and small tables.
//!
//! No I/O, no tasks: stored objects, time and keys are handed in by the API server.
//!
//! Invariants
//! 1. An authorizer only ever says yes or nothing; a request that nobody says yes to is refused.
//! 2. A user comes from a certificate, a token or the code that makes an in-process client, never from a header, except
//!    by impersonation, which is itself authorized.

pub mod attributes;
pub mod audit;
pub mod certificate;
mod der;
pub mod flow;
pub mod impersonation;
pub mod node;
pub mod rbac;
pub mod token;
pub mod user;

pub use attributes::{Attributes, Decision};
pub use user::User;
