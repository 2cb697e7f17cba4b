//! The kinds this version serves: one row each, and a file where a kind has needs of its own.

pub mod config_map;
pub mod deployment;
pub mod endpoint_slice;
pub mod endpoints;
pub mod event;
pub mod lease;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod priority_class;
pub mod replica_set;
pub mod replication_controller;
pub mod secret;
pub mod service;
pub mod service_account;
mod workload;

use crate::strategy::{Plain, Strategy};

struct Row {
    group: &'static str,
    resource: &'static str,
    strategy: &'static dyn Strategy,
}

const fn row(group: &'static str, resource: &'static str, strategy: &'static dyn Strategy) -> Row {
    Row {
        group,
        resource,
        strategy,
    }
}

static ROWS: &[Row] = &[
    row("", "configmaps", &config_map::ConfigMap),
    row("", "endpoints", &endpoints::Endpoints),
    row("", "events", &event::Event),
    row("", "namespaces", &namespace::Namespace),
    row("", "nodes", &node::Node),
    row("", "pods", &pod::Pod),
    row(
        "",
        "replicationcontrollers",
        &replication_controller::ReplicationController,
    ),
    row("", "secrets", &secret::Secret),
    row("", "serviceaccounts", &service_account::ServiceAccount),
    row("", "services", &service::Service),
    row("apps", "deployments", &deployment::Deployment),
    row("apps", "replicasets", &replica_set::ReplicaSet),
    row("coordination.k8s.io", "leases", &lease::Lease),
    row("discovery.k8s.io", "endpointslices", &endpoint_slice::EndpointSlice),
    row("scheduling.k8s.io", "priorityclasses", &priority_class::PriorityClass),
];

static SERVED: [(&str, &str); ROWS.len()] = {
    let mut list = [("", ""); ROWS.len()];
    let mut i = 0;
    while i < ROWS.len() {
        list[i] = (ROWS[i].group, ROWS[i].resource);
        i += 1;
    }
    list
};

/// The strategy of a resource; a plain one for kinds without needs of their own.
pub fn strategy(group: &str, resource: &str) -> &'static dyn Strategy {
    ROWS.iter()
        .find(|r| r.resource == resource && r.group == group)
        .map_or(&Plain, |r| r.strategy)
}

/// Group and resource of everything this version serves.
pub fn served() -> &'static [(&'static str, &'static str)] {
    &SERVED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_unique_and_found() {
        for (i, (group, resource)) in served().iter().enumerate() {
            assert!(!served()[..i].contains(&(group, resource)));
            let _ = strategy(group, resource);
        }
    }
}
