//! ValidatingAdmissionPolicies and MutatingAdmissionPolicies: what they say, compiled, and what they say of a request.
//!
//! Invariant: nothing here looks anything up. The engine finds who is bound to what, and the parameters.

pub mod declared;
mod definition;
mod expressions;
mod judge;
mod scope;
mod typing;

pub use definition::{Action, Binding, Kind, Policy, Text, conditions};
pub(crate) use expressions::Expressions;
pub use judge::{Denial, Outcome, holds, judge, mutate};
pub use scope::{Inputs, Scope};
pub use typing::{Subject, named, warnings};
