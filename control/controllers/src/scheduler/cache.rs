//! The nodes as the scheduler sees them: what they have, and what the pods bound to them take.
//!
//! A pod is counted on its node from the moment it is assumed there, before the binding is even sent, so that many pods
//! can be placed back to back.

use super::request::{Footprint, HostPort};
use super::resources::Amounts;
use crate::objects::{Node, Pod};
use barepod_client::types::{Quantity, Taint};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// One node.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeInfo {
    /// What the node said of itself; none while only its pods are known.
    pub(super) facts: Option<Arc<NodeFacts>>,
    pub(super) used: Amounts,
    pub(super) ranked: Amounts,
    pub(super) pods: usize,
    pub(super) ports: Vec<HostPort>,
}

/// The part of a Node that decides which pods fit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct NodeFacts {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) taints: Vec<Taint>,
    pub(super) unschedulable: bool,
    pub(super) allocatable: Amounts,
    pub(super) allowed_pods: usize,
}

impl NodeFacts {
    pub(super) fn of(node: &Node) -> Self {
        let allocatable = node.status.allocatable.clone().unwrap_or_default();
        let pods = allocatable.get("pods").and_then(Quantity::units);
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: node.spec.taints.clone(),
            unschedulable: node.spec.unschedulable == Some(true),
            allocatable: Amounts::from_list(&allocatable),
            allowed_pods: pods.and_then(|p| usize::try_from(p).ok()).unwrap_or(0),
        }
    }
}

struct Placed {
    node: Box<str>,
    footprint: Arc<Footprint>,
    /// Not yet confirmed by the API.
    assumed: bool,
}

/// All nodes and the pods on them.
#[derive(Default)]
pub(super) struct Cache {
    nodes: BTreeMap<Box<str>, NodeInfo>,
    pods: HashMap<Box<str>, Placed>,
}

impl Cache {
    /// The nodes that exist.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&NodeFacts, &NodeInfo)> {
        self.nodes
            .values()
            .filter_map(|info| Some((info.facts.as_deref()?, info)))
    }

    /// Takes in a node; says whether pods that did not fit may fit now.
    pub(super) fn set_node(&mut self, node: &Node) -> bool {
        let facts = NodeFacts::of(node);
        let info = self.nodes.entry(facts.name.as_str().into()).or_default();
        if info.facts.as_deref() == Some(&facts) {
            return false;
        }
        info.facts = Some(Arc::new(facts));
        true
    }

    pub(super) fn remove_node(&mut self, name: &str) {
        if let Some(info) = self.nodes.get_mut(name) {
            info.facts = None;
            if info.pods == 0 {
                self.nodes.remove(name);
            }
        }
    }

    /// Counts a pod on a node before its binding is sent.
    pub(super) fn assume(&mut self, uid: &str, node: &str, footprint: Arc<Footprint>) {
        self.place(uid, node, footprint, true);
    }

    /// Takes a pod off its node if its binding failed.
    pub(super) fn forget(&mut self, uid: &str) {
        if self.pods.get(uid).is_some_and(|p| p.assumed) {
            self.remove(uid);
        }
    }

    /// Whether the pod is counted on some node.
    pub(super) fn holds(&self, uid: &str) -> bool {
        self.pods.contains_key(uid)
    }

    /// Takes in a bound pod.
    pub(super) fn set_pod(&mut self, pod: &Pod, node: &str) {
        if let Some(placed) = self.pods.get_mut(pod.uid())
            && *placed.node == *node
        {
            placed.assumed = false;
            // Requests of a running pod change rarely (KEP-1287), its status often.
            if placed.footprint.ports.is_empty() && placed.footprint.exact == super::resources::requests(pod).0 {
                return;
            }
        }
        self.place(pod.uid(), node, Arc::new(Footprint::of(pod)), false);
    }

    fn place(&mut self, uid: &str, node: &str, footprint: Arc<Footprint>, assumed: bool) {
        self.remove(uid);
        let info = self.nodes.entry(node.into()).or_default();
        info.used.add(&footprint.exact);
        info.ranked.add(&footprint.ranked);
        info.pods += 1;
        info.ports.extend(footprint.ports.iter().cloned());
        self.pods.insert(
            uid.into(),
            Placed {
                node: node.into(),
                footprint,
                assumed,
            },
        );
    }

    /// Takes a pod off; says whether it was there.
    pub(super) fn remove(&mut self, uid: &str) -> bool {
        let Some(placed) = self.pods.remove(uid) else {
            return false;
        };
        let Some(info) = self.nodes.get_mut(&placed.node) else {
            return true;
        };
        info.used.subtract(&placed.footprint.exact);
        info.ranked.subtract(&placed.footprint.ranked);
        info.pods -= 1;
        for port in &placed.footprint.ports {
            if let Some(index) = info.ports.iter().position(|p| p == port) {
                info.ports.swap_remove(index);
            }
        }
        if info.pods == 0 && info.facts.is_none() {
            self.nodes.remove(&placed.node);
        }
        true
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub(in crate::scheduler) fn node(name: &str, extra: Value) -> Node {
        let mut node = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "spec": {},
            "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}},
        });
        for (part, value) in extra.as_object().cloned().unwrap_or_default() {
            node[&part]
                .as_object_mut()
                .unwrap()
                .extend(value.as_object().cloned().unwrap());
        }
        serde_json::from_value(node).unwrap()
    }

    pub(in crate::scheduler) fn pod(name: &str, cpu: &str, extra: Value) -> Pod {
        let mut spec = json!({"containers": [{"resources": {"requests": {"cpu": cpu}}}]});
        spec.as_object_mut()
            .unwrap()
            .extend(extra.as_object().cloned().unwrap_or_default());
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": spec}))
            .unwrap()
    }

    fn used(cache: &Cache, node: &str) -> (i64, usize) {
        cache.nodes.get(node).map_or((0, 0), |n| (n.used.milli_cpu, n.pods))
    }

    #[test]
    fn an_assumed_pod_counts_until_confirmed_or_forgotten() {
        let mut cache = Cache::default();
        cache.set_node(&node("n", json!({})));
        let p = pod("a", "500m", json!({}));
        cache.assume("a", "n", Arc::new(Footprint::of(&p)));
        assert_eq!(used(&cache, "n"), (500, 1));
        cache.set_pod(&p, "n");
        assert_eq!(used(&cache, "n"), (500, 1));
        cache.forget("a");
        assert_eq!(used(&cache, "n"), (500, 1), "a confirmed pod is not forgotten");
        assert!(cache.remove("a"));
        assert_eq!(used(&cache, "n"), (0, 0));
    }

    #[test]
    fn a_resized_pod_is_counted_anew() {
        let mut cache = Cache::default();
        cache.set_pod(&pod("a", "500m", json!({})), "n");
        cache.set_pod(&pod("a", "800m", json!({})), "n");
        assert_eq!(used(&cache, "n"), (800, 1));
    }

    #[test]
    fn pods_may_come_before_their_node_and_outlive_it() {
        let mut cache = Cache::default();
        cache.set_pod(&pod("a", "1", json!({})), "n");
        assert_eq!(cache.nodes().count(), 0);
        assert!(cache.set_node(&node("n", json!({}))));
        assert_eq!(cache.nodes().next().unwrap().1.used.milli_cpu, 1000);
        cache.remove_node("n");
        assert_eq!(cache.nodes().count(), 0);
        cache.remove("a");
        assert!(cache.nodes.is_empty());
    }

    #[test]
    fn only_facts_that_matter_wake_waiting_pods() {
        let mut cache = Cache::default();
        assert!(cache.set_node(&node("n", json!({}))));
        let mut heartbeat = node("n", json!({}));
        heartbeat.metadata.resource_version = Some("7".into());
        assert!(!cache.set_node(&heartbeat));
        assert!(cache.set_node(&node("n", json!({"spec": {"unschedulable": true}}))));
    }
}
