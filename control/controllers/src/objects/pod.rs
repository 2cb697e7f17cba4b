//! What scheduler and controllers read of a Pod.

use super::nullable;
use crate::informer::{IndexId, Object, trim_meta};
use crate::owner;
use barepod_client::types::{
    ContainerPort, ObjectMeta, PodCondition, PodIp, Quantity, ResourceRequirements, Time, Toleration,
};
use barepod_client::{api_struct, object};
use serde::Deserialize;
use std::collections::BTreeMap;

object!(Pod, "", "v1", "pods");

/// A Pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Pod {
    pub(crate) metadata: ObjectMeta,
    #[serde(deserialize_with = "nullable")]
    pub(crate) spec: PodSpec,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: PodStatus,
}

/// The part of a pod's spec that decides where it runs and how it is reached.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSpec {
    pub(crate) node_name: Option<Box<str>>,
    pub(crate) scheduler_name: Option<Box<str>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) scheduling_gates: Vec<serde::de::IgnoredAny>,
    pub(crate) priority: Option<i32>,
    pub(crate) node_selector: Option<BTreeMap<String, String>>,
    pub(crate) affinity: Option<Box<Affinity>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) tolerations: Vec<Toleration>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) containers: Vec<Container>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) init_containers: Vec<Container>,
    pub(crate) overhead: Option<BTreeMap<String, Quantity>>,
    pub(crate) resources: Option<ResourceRequirements>,
    pub(crate) host_network: Option<bool>,
    pub(crate) hostname: Option<Box<str>>,
    pub(crate) subdomain: Option<Box<str>>,
}

/// The affinities the scheduler knows.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Affinity {
    pub(crate) node_affinity: Option<NodeAffinity>,
}

api_struct! {
    /// Which nodes are wanted.
    #[derive(Deserialize)]
    pub(crate) struct NodeAffinity {} optional {
        required_during_scheduling_ignored_during_execution: NodeSelector,
        preferred_during_scheduling_ignored_during_execution: Vec<PreferredSchedulingTerm>,
    }
}

api_struct! {
    /// Any of these.
    #[derive(Deserialize)]
    pub(crate) struct NodeSelector {
        node_selector_terms: Vec<NodeSelectorTerm>,
    }
}

api_struct! {
    /// All of these.
    #[derive(Deserialize)]
    pub(crate) struct NodeSelectorTerm {} optional {
        match_expressions: Vec<NodeSelectorRequirement>,
        match_fields: Vec<NodeSelectorRequirement>,
    }
}

api_struct! {
    /// One requirement of a label or field.
    #[derive(Deserialize)]
    pub(crate) struct NodeSelectorRequirement {
        key: String,
        operator: String,
    } optional {
        values: Vec<String>,
    }
}

api_struct! {
    /// Nodes that are rather wanted.
    #[derive(Deserialize)]
    pub(crate) struct PreferredSchedulingTerm {
        preference: NodeSelectorTerm,
        weight: i32,
    }
}

/// The part of a container that takes room on a node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Container {
    #[serde(deserialize_with = "nullable")]
    pub(crate) ports: Vec<ContainerPort>,
    pub(crate) resources: Option<ResourceRequirements>,
    pub(crate) restart_policy: Option<Box<str>>,
}

/// The part of a pod's status that says whether it counts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodStatus {
    pub(crate) phase: Option<Box<str>>,
    #[serde(rename = "podIP")]
    pub(crate) pod_ip: Option<Box<str>>,
    #[serde(rename = "podIPs", deserialize_with = "nullable")]
    pub(crate) pod_ips: Vec<PodIp>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) conditions: Vec<PodCondition>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) container_statuses: Vec<ContainerStatus>,
}

/// How often a container was started again.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerStatus {
    pub(crate) restart_count: i32,
}

impl Pod {
    /// By `spec.nodeName`.
    pub(crate) const BY_NODE: IndexId = IndexId(0);
    /// By the uid of the controlling owner.
    pub(crate) const BY_OWNER: IndexId = IndexId(1);
    /// By namespace.
    pub(crate) const BY_NAMESPACE: IndexId = IndexId(2);
    /// By namespace, only those without a controlling owner.
    pub(crate) const UNOWNED: IndexId = IndexId(3);

    pub(crate) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub(crate) fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    pub(crate) fn phase(&self) -> &str {
        self.status.phase.as_deref().unwrap_or_default()
    }

    /// The node it is bound to.
    pub(crate) fn node(&self) -> Option<&str> {
        self.spec.node_name.as_deref().filter(|n| !n.is_empty())
    }

    pub(crate) fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// It ended and will not run again.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.phase(), "Succeeded" | "Failed")
    }

    /// It runs or is going to.
    pub(crate) fn is_active(&self) -> bool {
        !self.is_finished() && !self.is_deleting()
    }

    pub(crate) fn condition(&self, kind: &str) -> Option<&PodCondition> {
        self.status.conditions.iter().find(|c| c.type_ == kind)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.condition("Ready").is_some_and(|c| c.status == "True")
    }

    /// Since when it is ready.
    pub(crate) fn ready_since(&self) -> Option<&Time> {
        self.condition("Ready")
            .filter(|c| c.status == "True")
            .and_then(|c| c.last_transition_time.as_ref())
    }

    pub(crate) fn restarts(&self) -> i32 {
        self.status.container_statuses.iter().map(|s| s.restart_count).sum()
    }

    /// `controller.kubernetes.io/pod-deletion-cost` (KEP-2255).
    pub(crate) fn deletion_cost(&self) -> i32 {
        let annotations = self.metadata.annotations.as_ref();
        let cost = annotations.and_then(|a| a.get("controller.kubernetes.io/pod-deletion-cost"));
        cost.and_then(|c| c.parse().ok()).unwrap_or(0)
    }
}

impl Object for Pod {
    fn trim(&mut self) {
        trim_meta(&mut self.metadata);
        if let Some(annotations) = &mut self.metadata.annotations {
            annotations.retain(|key, _| key == "controller.kubernetes.io/pod-deletion-cost");
        }
    }

    fn index(&self, add: &mut dyn FnMut(IndexId, &str)) {
        if let Some(node) = self.node() {
            add(Self::BY_NODE, node);
        }
        match owner::controller(&self.metadata) {
            Some(owner) => add(Self::BY_OWNER, &owner.uid),
            None => add(Self::UNOWNED, self.namespace()),
        }
        add(Self::BY_NAMESPACE, self.namespace());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_nulls_as_absent() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "a", "creationTimestamp": null},
            "spec": {"containers": null, "nodeName": ""},
            "status": null,
        }))
        .unwrap();
        assert_eq!(pod.node(), None);
        assert!(pod.is_active() && !pod.is_ready());
    }
}
