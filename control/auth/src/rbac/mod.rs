//! Role-based access control: who may do what, by roles and their bindings.
//!
//! [`Policy`] holds the rules of all roles and, by subject, the bindings, so that a request costs a few hash look-ups
//! and the comparison of the rules that its user has.

mod aggregate;
mod defaults;
mod escalation;
mod policy;
mod rule;

pub use aggregate::aggregated;
pub use defaults::{Default, defaults};
pub use escalation::{BindingError, check_binding, check_role};
pub use policy::{Grant, Policy, Source};
pub use rule::{Rule, uncovered};

/// The group of the API.
pub const GROUP: &str = "rbac.authorization.k8s.io";
