//! What is looked at in every write beyond its own kind: quotas, limits, pod security, service accounts, defaults.
//!
//! A plugin is one file and one row of [`PLUGINS`], whose order is kube-apiserver's. All are pure functions of the
//! request, the object and what is stored; the engine calls [`admit`] before a kind's own preparation and [`validate`]
//! after its validation.
//!
//! Invariants
//! 1. [`validate`] sees what will be stored and changes nothing.
//! 2. A plugin that has nothing to do with a request costs one comparison.

mod certificates;
mod claim_status;
mod default_ingress_class;
mod default_storage_class;
mod default_toleration_seconds;
mod limit_ranger;
pub mod matching;
mod node_restriction;
pub mod pod_security;
pub mod policy;
mod priority;
mod pvc_resize;
pub mod quota;
mod rbac_escalation;
mod request;
mod runtime_class;
mod service_account;
mod storage_protection;
#[cfg(test)]
mod testing;
pub mod webhook;

pub use request::{Notes, Operation, Refusal, Request, World};

use serde_json::Value;

/// One look at a request.
pub trait Plugin: Sync {
    /// Whether it has to do with the request at all.
    fn handles(&self, request: &Request<'_>) -> bool;

    /// Fills in or refuses, before the kind's own preparation.
    fn admit(
        &self,
        _world: &dyn World,
        _request: &Request<'_>,
        _object: &mut Value,
        _notes: &mut Notes,
    ) -> Result<(), Refusal> {
        Ok(())
    }

    /// Refuses, after the kind's own validation. For removals the object is null.
    fn validate(
        &self,
        _world: &dyn World,
        _request: &Request<'_>,
        _object: &Value,
        _notes: &mut Notes,
    ) -> Result<(), Refusal> {
        Ok(())
    }
}

/// All plugins, in kube-apiserver's order. NamespaceLifecycle comes before them and ResourceQuota after, in the engine:
/// the one answers with an error of its own, the other writes.
static PLUGINS: &[&dyn Plugin] = &[
    &limit_ranger::LimitRanger,
    &service_account::ServiceAccount,
    &node_restriction::NodeRestriction,
    &pod_security::PodSecurity,
    &priority::Priority,
    &default_toleration_seconds::DefaultTolerationSeconds,
    &default_storage_class::DefaultStorageClass,
    &storage_protection::StorageObjectInUseProtection,
    &pvc_resize::PersistentVolumeClaimResize,
    &runtime_class::RuntimeClass,
    &certificates::Certificates,
    &default_ingress_class::DefaultIngressClass,
    &rbac_escalation::RbacEscalation,
    &claim_status::ClaimStatus,
    &policy::Expressions,
];

/// Lets every plugin fill in or refuse.
pub fn admit(world: &dyn World, request: &Request<'_>, object: &mut Value, notes: &mut Notes) -> Result<(), Refusal> {
    for plugin in PLUGINS.iter().filter(|plugin| plugin.handles(request)) {
        plugin.admit(world, request, object, notes)?;
    }
    Ok(())
}

/// Lets every plugin refuse what is about to be stored or removed.
pub fn validate(world: &dyn World, request: &Request<'_>, object: &Value, notes: &mut Notes) -> Result<(), Refusal> {
    for plugin in PLUGINS.iter().filter(|plugin| plugin.handles(request)) {
        plugin.validate(world, request, object, notes)?;
    }
    Ok(())
}
