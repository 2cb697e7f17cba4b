//! The kinds the controllers read.
//!
//! Pods and the kinds with a pod template are read through slim structs of our own: only the fields some controller
//! looks at are decoded and kept, and a template stays the JSON it came as, so that nothing in it is ever lost. The
//! other kinds are those of `k8s-openapi`.

mod deployment;
mod indices;
mod pod;
mod replica_set;
mod replication_controller;

pub(crate) use deployment::Deployment;
pub(crate) use indices::{SERVICE_NAME, SERVICES_BY_NAMESPACE, SLICES_BY_SERVICE};
pub(crate) use pod::{Container, Pod, ResourceRequirements};
pub(crate) use replica_set::ReplicaSet;
pub(crate) use replication_controller::ReplicationController;

pub(crate) use k8s_openapi::api::coordination::v1::Lease;
pub(crate) use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Namespace, Node, Service, ServiceAccount};
pub(crate) use k8s_openapi::api::discovery::v1::EndpointSlice;

use serde::{Deserialize, Deserializer};

/// Reads `null` as the default value, as Kubernetes does.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Makes a slim struct a resource of the API.
macro_rules! resource {
    ($kind:ident, $group:literal, $version:literal, $plural:literal) => {
        impl kube::Resource for $kind {
            type DynamicType = ();
            type Scope = kube::core::NamespaceResourceScope;

            fn kind(_: &()) -> std::borrow::Cow<'_, str> {
                stringify!($kind).into()
            }
            fn group(_: &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }
            fn version(_: &()) -> std::borrow::Cow<'_, str> {
                $version.into()
            }
            fn plural(_: &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
pub(crate) use resource;
