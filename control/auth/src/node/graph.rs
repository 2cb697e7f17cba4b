//! Which node needs which object.

use std::collections::HashMap;

use serde_json::Value;

pub use super::references::Needed;
use super::references::{key, of_pod, of_volume};

#[derive(Debug)]
struct Volume {
    claim: String,
    secrets: Vec<String>,
}

/// What the pods bound to each node need.
#[derive(Debug, Default)]
pub struct Graph {
    /// By node, what its pods need, with the number of pods that do.
    needed: HashMap<Box<str>, HashMap<Box<str>, u32>>,
    /// PersistentVolumes by name.
    volumes: HashMap<Box<str>, Volume>,
    /// Names of PersistentVolumes by the Secrets they need.
    volumes_by_secret: HashMap<String, Vec<Box<str>>>,
    /// The node of VolumeAttachments and ResourceSlices, by resource and name.
    placed: HashMap<(&'static str, Box<str>), Box<str>>,
}

fn node_of(pod: &Value) -> Option<&str> {
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str)?;
    (!node.is_empty()).then_some(node)
}

impl Graph {
    /// Takes note of a pod that changed: its state before and after, as far as there are.
    pub fn pod(&mut self, old: Option<&Value>, new: Option<&Value>) {
        // First what comes, so that what stays is never gone in between.
        if let Some(pod) = new
            && let Some(node) = node_of(pod)
        {
            let needed = self.needed.entry(node.into()).or_default();
            for key in of_pod(pod) {
                *needed.entry(key.into()).or_default() += 1;
            }
        }
        if let Some(pod) = old
            && let Some(node) = node_of(pod)
            && let Some(needed) = self.needed.get_mut(node)
        {
            for key in of_pod(pod) {
                if let Some(count) = needed.get_mut(key.as_str()) {
                    *count -= 1;
                    if *count == 0 {
                        needed.remove(key.as_str());
                    }
                }
            }
            if needed.is_empty() {
                self.needed.remove(node);
            }
        }
    }

    /// Takes note of a PersistentVolume, or of its absence.
    pub fn volume(&mut self, name: &str, object: Option<&Value>) {
        if let Some(old) = self.volumes.remove(name) {
            for secret in &old.secrets {
                if let Some(list) = self.volumes_by_secret.get_mut(secret) {
                    list.retain(|other| **other != *name);
                    if list.is_empty() {
                        self.volumes_by_secret.remove(secret);
                    }
                }
            }
        }
        let Some(object) = object else { return };
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let (Some(namespace), Some(claim)) = (text("/spec/claimRef/namespace"), text("/spec/claimRef/name")) else {
            return;
        };
        let volume = Volume {
            claim: key(Needed::Claim, namespace, claim),
            secrets: of_volume(object),
        };
        for secret in &volume.secrets {
            self.volumes_by_secret
                .entry(secret.clone())
                .or_default()
                .push(name.into());
        }
        self.volumes.insert(name.into(), volume);
    }

    /// Takes note of an object that belongs to one node, or of its absence.
    pub fn place(&mut self, resource: &'static str, name: &str, node: Option<&str>) {
        match node {
            Some(node) => self.placed.insert((resource, name.into()), node.into()),
            None => self.placed.remove(&(resource, name.into())),
        };
    }

    /// Whether a pod of the node needs the object.
    pub fn needs(&self, node: &str, needed: Needed, namespace: &str, name: &str) -> bool {
        let Some(own) = self.needed.get(node) else { return false };
        let key = key(needed, namespace, name);
        if own.contains_key(key.as_str()) {
            return true;
        }
        let volumes = self.volumes_by_secret.get(&key).into_iter().flatten();
        volumes
            .filter_map(|volume| self.volumes.get(volume))
            .any(|volume| own.contains_key(volume.claim.as_str()))
    }

    /// Whether a pod of the node uses the PersistentVolume.
    pub fn uses_volume(&self, node: &str, name: &str) -> bool {
        let claim = self.volumes.get(name).map(|volume| volume.claim.as_str());
        let own = self.needed.get(node);
        claim.is_some_and(|claim| own.is_some_and(|own| own.contains_key(claim)))
    }

    /// Whether an object belongs to the node.
    pub fn is_of(&self, node: &str, resource: &'static str, name: &str) -> bool {
        self.placed
            .get(&(resource, name.into()))
            .is_some_and(|own| **own == *node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, node: &str, secret: &str) -> Value {
        json!({"metadata": {"namespace": "n", "name": name}, "spec": {"nodeName": node, "volumes": [
            {"secret": {"secretName": secret}}, {"persistentVolumeClaim": {"claimName": "c"}}]}})
    }

    #[test]
    fn what_the_last_pod_needed_is_forgotten() {
        let mut graph = Graph::default();
        let (a, b, c) = (pod("a", "n1", "s"), pod("b", "n1", "s"), pod("c", "", "s"));
        graph.pod(None, Some(&a));
        graph.pod(None, Some(&b));
        graph.pod(None, Some(&c));
        assert!(graph.needs("n1", Needed::Secret, "n", "s") && !graph.needs("n2", Needed::Secret, "n", "s"));
        assert!(!graph.needs("n1", Needed::Secret, "other", "s") && !graph.needs("n1", Needed::ConfigMap, "n", "s"));
        graph.pod(Some(&a), None);
        assert!(graph.needs("n1", Needed::Secret, "n", "s") && !graph.needs("n1", Needed::Pod, "n", "a"));
        graph.pod(Some(&b), Some(&pod("b", "n1", "other")));
        assert!(!graph.needs("n1", Needed::Secret, "n", "s") && graph.needs("n1", Needed::Secret, "n", "other"));
        graph.pod(Some(&pod("b", "n1", "other")), None);
        assert!(graph.needed.is_empty());
    }

    #[test]
    fn volumes_are_needed_through_their_claims() {
        let mut graph = Graph::default();
        let volume = json!({"spec": {"claimRef": {"namespace": "n", "name": "c"},
            "csi": {"nodeStageSecretRef": {"namespace": "x", "name": "key"}}}});
        graph.volume("pv", Some(&volume));
        assert!(!graph.uses_volume("n1", "pv"));
        graph.pod(None, Some(&pod("a", "n1", "s")));
        assert!(graph.uses_volume("n1", "pv") && graph.needs("n1", Needed::Secret, "x", "key"));
        graph.volume("pv", None);
        assert!(!graph.uses_volume("n1", "pv") && !graph.needs("n1", Needed::Secret, "x", "key"));
        assert!(graph.volumes_by_secret.is_empty());
    }
}
