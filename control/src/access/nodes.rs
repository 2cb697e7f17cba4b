//! What the nodes' pods need, followed.

use std::sync::Arc;

use barepod_auth::node::Graph;
use barepod_store::Object;
use serde_json::Value;

use super::follow::Table;
use crate::engine::registry::Kind;
use crate::engine::{Head, parse};

const PODS: &str = "/pods/";
const VOLUMES: &str = "/persistentvolumes/";
const ATTACHMENTS: &str = "/storage.k8s.io/volumeattachments/";
const SLICES: &str = "/resource.k8s.io/resourceslices/";

/// The graph as the store has it.
pub struct Needs {
    /// The graph.
    pub graph: Graph,
    /// The kind of pods.
    pub pods: Option<Arc<Kind>>,
}

impl Needs {
    /// The node that a pod is bound to, empty if it is not.
    fn node(&self, pod: &Object) -> String {
        let Some(kind) = &self.pods else { return String::new() };
        Head::of(kind, pod).field("spec.nodeName").unwrap_or("").to_owned()
    }

    fn pod(&mut self, old: Option<&Object>, new: Option<&Object>) {
        let bound = |pod: &&Object| !self.node(pod).is_empty();
        let (old, new) = (old.filter(bound), new.filter(bound));
        if let (Some(old), Some(new)) = (old, new) {
            // What a bound pod needs changes with these only, see the pod's validation.
            let may_change = |pod: &Object| {
                let text = String::from_utf8_lossy(pod.bytes());
                text.contains("\"ephemeralContainers\"") || text.contains("\"resourceClaimStatuses\"")
            };
            if !may_change(old) && !may_change(new) {
                return;
            }
        }
        let (old, new) = (old.map(parse), new.map(parse));
        self.graph.pod(old.as_ref(), new.as_ref());
    }
}

impl Table for Needs {
    fn prefixes(&self) -> &[&'static str] {
        &[PODS, VOLUMES, ATTACHMENTS, SLICES]
    }

    fn change(&mut self, prefix: &'static str, key: &str, old: Option<&Object>, new: Option<&Object>) {
        let node = |object: Option<&Object>, pointer: &str| {
            let object = parse(object?);
            object.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
        };
        match prefix {
            PODS => self.pod(old, new),
            VOLUMES => self.graph.volume(key, new.map(parse).as_ref()),
            ATTACHMENTS => self
                .graph
                .place("volumeattachments", key, node(new, "/spec/nodeName").as_deref()),
            _ => self
                .graph
                .place("resourceslices", key, node(new, "/spec/nodeName").as_deref()),
        }
    }

    fn clear(&mut self) {
        self.graph = Graph::default();
    }
}
