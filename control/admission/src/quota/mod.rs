//! ResourceQuota: what objects use, which quotas count them, and whether there is room.
//!
//! The engine reserves: it writes the new `status.used` of every quota concerned before it writes the object, one write
//! at a time in a namespace, so that no two requests see the same room.

mod charge;
mod scope;
mod usage;

pub use charge::{Charged, charge, is_current, text_of, total};
pub use scope::matches;
pub use usage::{Amounts, counts, usage};
