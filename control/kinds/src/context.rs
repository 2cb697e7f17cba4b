//! What a strategy may know about the world besides the object itself.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

/// Read access to objects that are already stored.
///
/// Strategies look up few things: a priority class, a service account, the addresses other Services hold.
pub trait Cluster {
    /// The stored object, or `None` when there is none. `namespace` is `None` for cluster-scoped resources.
    fn get(&self, group: &str, resource: &str, namespace: Option<&str>, name: &str) -> Option<Arc<Value>>;

    /// All stored objects of a resource, in one namespace or (with `None`) in the whole cluster.
    fn list(&self, group: &str, resource: &str, namespace: Option<&str>) -> Vec<Arc<Value>>;
}

/// A cluster with nothing in it, for objects that need no look-ups.
#[derive(Debug, Clone, Copy, Default)]
pub struct EmptyCluster;

impl Cluster for EmptyCluster {
    fn get(&self, _: &str, _: &str, _: Option<&str>, _: &str) -> Option<Arc<Value>> {
        None
    }

    fn list(&self, _: &str, _: &str, _: Option<&str>) -> Vec<Arc<Value>> {
        Vec::new()
    }
}

/// The address plan of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Service addresses: network address and prefix length, by default 10.96.0.0/16.
    pub service_cidr: (Ipv4Addr, u8),
    /// Pod addresses, by default 10.244.0.0/16.
    pub cluster_cidr: (Ipv4Addr, u8),
    /// Ports that Services of type NodePort and LoadBalancer get, by default 30000–32767.
    pub node_port_range: RangeInclusive<u16>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 16),
            cluster_cidr: (Ipv4Addr::new(10, 244, 0, 0), 16),
            node_port_range: 30_000..=32_767,
        }
    }
}

/// One request, as far as a strategy needs to know it.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The time of the request.
    pub now: Timestamp,
    /// The authenticated user's name.
    pub user: &'a str,
    /// The groups of that user.
    pub groups: &'a [String],
    /// The namespace of the request; empty for cluster-scoped resources.
    pub namespace: &'a str,
    /// Stored objects.
    pub cluster: &'a dyn Cluster,
    /// The address plan.
    pub settings: &'a Settings,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("now", &self.now)
            .field("user", &self.user)
            .field("namespace", &self.namespace)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
