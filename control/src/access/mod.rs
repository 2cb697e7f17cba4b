//! Who asks, whether it may, and what it may write: the state behind [`barepod_auth`]'s tables, kept up to date from
//! the store.

mod audit;
mod audit_file;
mod authorize;
mod flow;
mod follow;
mod hooks;
mod nodes;
mod policies;
mod roles;
mod tokens;

pub use audit::{Audit, AuditError, Entry, Request as Audited};
pub use authorize::Access;
pub use flow::{Admitted, Fairness, Seat, WIDEST};
pub use hooks::Hooks;
pub use policies::{Bound, Policies};
pub use tokens::{SigningError, Tokens};
