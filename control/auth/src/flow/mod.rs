//! API priority and fairness (KEP-1040): which requests share a limit, and which of them belong together.

mod defaults;
mod level;
mod schema;

pub use defaults::{Default, defaults};
pub use level::{Level, Queues};
pub use schema::{Flows, Place};

/// The group of the API.
pub const GROUP: &str = "flowcontrol.apiserver.k8s.io";
