//! The node authorizer.

use super::graph::{Graph, Needed};
use crate::attributes::{Attributes, Decision, Object, Resource};
use crate::rbac::{Rule, Source, defaults};

/// Decides about requests of nodes.
#[derive(Debug)]
pub struct Nodes {
    /// What every node may do as far as nothing finer is said below.
    rules: Vec<Rule>,
}

impl Default for Nodes {
    fn default() -> Self {
        let own = |one: &&crate::rbac::Default| one.source == Source::ClusterRole && one.name() == "system:node";
        let rules = defaults().iter().find(own).map(|one| Rule::of_role(&one.object));
        Nodes {
            rules: rules.unwrap_or_default(),
        }
    }
}

const READ: [&str; 3] = ["get", "list", "watch"];

impl Nodes {
    /// Whether a node may do what is asked. Users that are no nodes are not this authorizer's business.
    pub fn authorize(&self, graph: &Graph, asked: &Attributes<'_>) -> Decision {
        let Some(node) = asked.user.node() else {
            return Decision::NoOpinion(String::new());
        };
        let fine = match asked.object {
            Object::Resource(resource) => fine(graph, node, asked.verb, &resource),
            Object::Path(_) => None,
        };
        let allowed = match fine {
            Some(Ok(())) => true,
            Some(Err(why)) => return Decision::NoOpinion(why),
            None => self.rules.iter().any(|rule| rule.allows(asked)),
        };
        if allowed {
            Decision::Allow(String::new())
        } else {
            Decision::NoOpinion(String::new())
        }
    }
}

fn unless(allowed: bool, why: impl FnOnce() -> String) -> Option<Result<(), String>> {
    Some(if allowed { Ok(()) } else { Err(why()) })
}

/// What is decided by the object; `None` where the rules of all nodes decide.
fn fine(graph: &Graph, node: &str, verb: &str, asked: &Resource<'_>) -> Option<Result<(), String>> {
    let Resource {
        group,
        resource,
        subresource,
        namespace,
        name,
        ..
    } = *asked;
    let stranger = || format!("no relationship found between node '{node}' and this object");
    let only = |verbs: &[&str]| verbs.contains(&verb);
    let of_one = |verbs: &[&str], needed: bool| -> Option<Result<(), String>> {
        if !only(verbs) {
            return unless(false, || format!("can only {} resources of this type", verbs.join("/")));
        }
        if name.is_empty() {
            return unless(false, || "No Object name found".into());
        }
        unless(needed, stranger)
    };
    let needs = |needed| graph.needs(node, needed, namespace, name);
    match (group, resource, subresource) {
        ("", "secrets", "") => of_one(&READ, needs(Needed::Secret)),
        ("", "configmaps", "") => of_one(&READ, needs(Needed::ConfigMap)),
        ("", "secrets" | "configmaps", _) => unless(false, || "cannot get subresource".into()),
        ("", "persistentvolumeclaims", "status") => of_one(&["get", "update", "patch"], needs(Needed::Claim)),
        ("", "persistentvolumeclaims", _) => of_one(&["get"], needs(Needed::Claim)),
        ("", "persistentvolumes", _) => of_one(&["get"], graph.uses_volume(node, name)),
        ("resource.k8s.io", "resourceclaims", _) => of_one(&["get"], needs(Needed::ResourceClaim)),
        ("storage.k8s.io", "volumeattachments", _) => of_one(&["get"], graph.is_of(node, "volumeattachments", name)),
        ("", "serviceaccounts", "token") => of_one(&["create"], needs(Needed::ServiceAccount)),
        ("", "serviceaccounts", "") => of_one(&["get"], needs(Needed::ServiceAccount)),
        ("coordination.k8s.io", "leases", _) => {
            let own = namespace == "kube-node-lease" && (name == node || verb == "create");
            match only(&["get", "create", "update", "patch", "delete"]) && subresource.is_empty() {
                true => unless(own, || {
                    "can only access node lease with the same name as the requesting node".into()
                }),
                false => unless(false, || {
                    "can only get, create, update, patch, or delete a node lease".into()
                }),
            }
        }
        ("storage.k8s.io", "csinodes", _) => {
            let own = name == node || verb == "create";
            match only(&["get", "create", "update", "patch", "delete"]) && subresource.is_empty() {
                true => unless(own, || {
                    "can only access CSINode with the same name as the requesting node".into()
                }),
                false => unless(false, || {
                    "can only get, create, update, patch, or delete a CSINode".into()
                }),
            }
        }
        ("resource.k8s.io", "resourceslices", "") => match verb {
            "create" => Some(Ok(())),
            "get" | "update" | "patch" | "delete" => unless(graph.is_of(node, "resourceslices", name), stranger),
            _ => unless(asked.selects("spec.nodeName") == Some(node), || {
                "can only list/watch/deletecollection resourceslices with spec.nodeName field selector".into()
            }),
        },
        ("", "nodes", _) if only(&READ) || only(&["update", "patch"]) => {
            unless(name == node, || "node can only access its own Node object".to_owned())
        }
        ("", "pods", "") if only(&["get"]) => unless(needs(Needed::Pod), stranger),
        ("", "pods", "") if only(&["list", "watch"]) => {
            let own = asked.selects("spec.nodeName") == Some(node) || (!name.is_empty() && needs(Needed::Pod));
            unless(own, || {
                "can only list/watch pods with spec.nodeName field selector".into()
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::{NODES, User};
    use serde_json::json;

    fn may(verb: &str, group: &str, full: &str, namespace: &str, name: &str, fields: &str) -> bool {
        let mut graph = Graph::default();
        let pod = json!({"metadata": {"namespace": "ns", "name": "p"}, "spec": {"nodeName": "n1",
            "serviceAccountName": "sa", "volumes": [{"secret": {"secretName": "mine"}}]}});
        graph.pod(None, Some(&pod));
        let user = User::new("system:node:n1", vec![NODES.into()]);
        let (resource, subresource) = full.split_once('/').unwrap_or((full, ""));
        let resource = Resource {
            group,
            version: "v1",
            resource,
            subresource,
            namespace,
            name,
            field_selector: fields,
        };
        let asked = Attributes {
            user: &user,
            verb,
            object: Object::Resource(resource),
        };
        Nodes::default().authorize(&graph, &asked).allowed()
    }

    #[test]
    fn a_node_reads_only_what_its_pods_name() {
        assert!(may("get", "", "secrets", "ns", "mine", "") && may("watch", "", "secrets", "ns", "mine", ""));
        assert!(!may("get", "", "secrets", "ns", "other", "") && !may("get", "", "secrets", "x", "mine", ""));
        assert!(!may("list", "", "secrets", "ns", "", "") && !may("update", "", "secrets", "ns", "mine", ""));
        assert!(may("get", "", "pods", "ns", "p", "") && !may("get", "", "pods", "ns", "q", ""));
        assert!(may("list", "", "pods", "", "", "spec.nodeName=n1"));
        assert!(!may("list", "", "pods", "", "", "") && !may("list", "", "pods", "", "", "spec.nodeName=n2"));
        assert!(may("create", "", "serviceaccounts/token", "ns", "sa", ""));
        assert!(!may("create", "", "serviceaccounts/token", "ns", "default", ""));
    }

    #[test]
    fn a_node_writes_only_what_is_its_own() {
        assert!(may("patch", "", "nodes/status", "", "n1", "") && !may("patch", "", "nodes/status", "", "n2", ""));
        assert!(may("create", "", "nodes", "", "", "") && !may("delete", "", "nodes", "", "n1", ""));
        assert!(may(
            "update",
            "coordination.k8s.io",
            "leases",
            "kube-node-lease",
            "n1",
            ""
        ));
        assert!(!may(
            "update",
            "coordination.k8s.io",
            "leases",
            "kube-node-lease",
            "n2",
            ""
        ));
        assert!(!may("update", "coordination.k8s.io", "leases", "default", "n1", ""));
        assert!(may("patch", "", "pods/status", "ns", "p", "") && !may("update", "", "pods", "ns", "p", ""));
        assert!(may("create", "", "events", "ns", "", "") && may("list", "", "services", "", "", ""));
    }

    #[test]
    fn others_are_not_its_business() {
        let user = User::new("bob", vec![NODES.into()]);
        let asked = Attributes {
            user: &user,
            verb: "list",
            object: Object::Path("/api"),
        };
        assert_eq!(
            Nodes::default().authorize(&Graph::default(), &asked),
            Decision::NoOpinion(String::new())
        );
    }
}
