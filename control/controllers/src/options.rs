//! What the operator decides about the controllers, parsed once by the caller.

use crate::cidr::Ipv4Cidr;
use crate::queue_numbers::Queues;
use std::time::Duration;

/// Settings of the scheduler and the controllers.
#[derive(Clone, Debug)]
pub struct Options {
    /// The network all pod addresses come from.
    pub cluster_cidr: Ipv4Cidr,
    /// Prefix length of the part of `cluster_cidr` each node gets.
    pub node_cidr_prefix: u8,
    /// How long a node may be silent before its Ready condition becomes Unknown.
    pub node_monitor_grace: Duration,
    /// Upper bound for the time a pod stays on a node that is not ready or unreachable. `None` leaves it to the pod's
    /// own `tolerationSeconds` (300 s unless the pod says otherwise).
    pub pod_eviction_timeout: Option<Duration>,
    /// How long a pod may be bound to a node that does not exist before it is removed by force.
    pub orphan_pod_grace: Duration,
    /// The name of the scheduler in `spec.schedulerName`.
    pub scheduler_name: String,
    /// PEM certificates published as `kube-root-ca.crt` in every namespace; not published if absent.
    pub root_ca_pem: Option<String>,
    /// Where the work queues count.
    pub queues: Queues,
}

impl Options {
    /// The usual timings of Kubernetes with the given pod network.
    pub fn new(cluster_cidr: Ipv4Cidr) -> Self {
        Self {
            cluster_cidr,
            node_cidr_prefix: 24,
            node_monitor_grace: Duration::from_secs(40),
            pod_eviction_timeout: None,
            orphan_pod_grace: Duration::from_secs(40),
            scheduler_name: "default-scheduler".to_owned(),
            root_ca_pem: None,
            queues: Queues::default(),
        }
    }
}
