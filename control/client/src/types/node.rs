//! Nodes and their leases.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MicroTime, ObjectMeta, Quantity, Time, nullable};

api_struct! {
    /// A Node.
    #[derive(Deserialize)]
    pub struct Node {
        metadata: ObjectMeta,
        #[serde(deserialize_with = "nullable")]
        spec: NodeSpec,
        #[serde(deserialize_with = "nullable")]
        status: NodeStatus,
    }
}

crate::object!(Node, "", "v1", "nodes");

api_struct! {
    /// What a node is given.
    #[derive(Deserialize)]
    pub struct NodeSpec {
        #[serde(deserialize_with = "nullable")]
        taints: Vec<Taint>,
    } optional {
        #[serde(rename = "podCIDR")]
        pod_cidr: String,
        #[serde(rename = "podCIDRs")]
        pod_cidrs: Vec<String>,
        unschedulable: bool,
    }
}

api_struct! {
    /// Keeps pods away that do not tolerate it.
    #[derive(Eq, Serialize, Deserialize)]
    pub struct Taint {
        key: String,
        effect: String,
    } optional {
        value: String,
        time_added: Time,
    }
}

api_struct! {
    /// What a node says of itself.
    #[derive(Deserialize)]
    pub struct NodeStatus {
        #[serde(deserialize_with = "nullable")]
        conditions: Vec<NodeCondition>,
    } optional {
        allocatable: BTreeMap<String, Quantity>,
    }
}

api_struct! {
    /// One thing a node says of itself.
    #[derive(Eq, Serialize, Deserialize)]
    pub struct NodeCondition {
        #[serde(rename = "type")]
        type_: String,
        status: String,
    } optional {
        reason: String,
        message: String,
        last_heartbeat_time: Time,
        last_transition_time: Time,
    }
}

api_struct! {
    /// A Lease.
    #[derive(Deserialize)]
    pub struct Lease {
        metadata: ObjectMeta,
        #[serde(deserialize_with = "nullable")]
        spec: LeaseSpec,
    }
}

crate::object!(Lease, "coordination.k8s.io", "v1", "leases");

api_struct! {
    /// Who holds a lease, and since when.
    #[derive(Deserialize)]
    pub struct LeaseSpec {} optional {
        holder_identity: String,
        renew_time: MicroTime,
    }
}
