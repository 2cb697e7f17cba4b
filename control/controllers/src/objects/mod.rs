//! The kinds the controllers read.
//!
//! All are slim structs: only the fields some controller looks at are decoded and kept, and a template stays the JSON it
//! came as, so that nothing in it is ever lost.

mod deployment;
mod endpoints;
mod indices;
mod namespace;
mod pod;
mod replica_set;
mod replication_controller;

pub(crate) use barepod_client::types::{ConfigMap, EndpointSlice, Lease, Node, Service, nullable};
pub(crate) use deployment::{Deployment, DeploymentCondition, DeploymentStatus};
pub(crate) use endpoints::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints};
pub(crate) use indices::{SERVICE_NAME, SERVICES_BY_NAMESPACE, SLICES_BY_SERVICE};
pub(crate) use namespace::{Namespace, NamespaceCondition, ServiceAccount};
pub(crate) use pod::{
    Container, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PreferredSchedulingTerm,
};
pub(crate) use replica_set::{ReplicaSet, ReplicaStatus};
pub(crate) use replication_controller::ReplicationController;
