//! Webhook configurations and admission policies.

mod policy;
mod rules;
pub(super) mod webhook;

pub use policy::{MUTATING_BINDING, MUTATING_POLICY, VALIDATING_BINDING, VALIDATING_POLICY};
pub use webhook::{MUTATING, VALIDATING};
