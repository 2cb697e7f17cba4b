//! NodeRestriction: a node writes only what is its own. What it may read the node authorizer says.

use barepod_auth::node::references_of_pod;
use barepod_kinds::kinds::pod::MIRROR_ANNOTATION;
use barepod_kinds::value::{at, bool_at, list_at, map_at, str_at, text};
use serde_json::{Map, Value};

use crate::{Notes, Operation, Plugin, Refusal, Request, World};

/// The plugin.
pub(crate) struct NodeRestriction;

/// Labels that nodes may set although their names belong to Kubernetes.
const OWN_LABELS: [&str; 13] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.kubernetes.io/region",
    "failure-domain.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

impl Plugin for NodeRestriction {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.user.node().is_some()
    }

    fn validate(&self, world: &dyn World, request: &Request<'_>, object: &Value, _: &mut Notes) -> Result<(), Refusal> {
        let Some(node) = request.user.node() else { return Ok(()) };
        match (request.group, request.resource) {
            ("", "pods") => pod(world, node, request, object),
            ("", "nodes") => own_node(node, request, object),
            ("", "persistentvolumeclaims") => claim(node, request, object),
            ("coordination.k8s.io", "leases") => named(node, request, "lease"),
            ("storage.k8s.io", "csinodes") => named(node, request, "CSINode"),
            ("resource.k8s.io", "resourceslices") => slice(node, request, object),
            _ => Ok(()),
        }
    }
}

fn refuse<T>(why: String) -> Result<T, Refusal> {
    Err(Refusal::forbidden(why))
}

fn node_of(pod: &Value) -> &str {
    str_at(pod, &["spec", "nodeName"]).unwrap_or("")
}

fn pod(world: &dyn World, node: &str, request: &Request<'_>, new: &Value) -> Result<(), Refusal> {
    let old = request.old.unwrap_or(&Value::Null);
    match (request.subresource, request.operation) {
        ("", Operation::Create) => mirror_pod(world, node, new),
        ("", Operation::Delete) if node_of(old) == node => Ok(()),
        ("", Operation::Delete) => refuse(format!(
            "node \"{node}\" can only delete pods with spec.nodeName set to itself"
        )),
        ("status", Operation::Update) => {
            if node_of(old) != node {
                return refuse(format!(
                    "node \"{node}\" can only update pod status for pods with spec.nodeName set to itself"
                ));
            }
            if map_at(old, &["metadata", "labels"]) != map_at(new, &["metadata", "labels"]) {
                return refuse(format!("node \"{node}\" cannot update labels through pod status"));
            }
            let claims = |pod| list_at(pod, &["status", "resourceClaimStatuses"]);
            if claims(old) != claims(new) {
                return refuse(format!("node \"{node}\" cannot update resource claim statuses"));
            }
            Ok(())
        }
        ("eviction", _) if node_of(old) == node => Ok(()),
        ("eviction", _) => refuse(format!(
            "node {node} can only evict pods with spec.nodeName set to itself"
        )),
        ("", Operation::Update) => refuse(format!(
            "unexpected operation \"UPDATE\", node \"{node}\" can only create and delete mirror pods"
        )),
        (subresource, _) => refuse(format!(
            "unexpected pod subresource \"{subresource}\", only 'status' and 'eviction' are allowed"
        )),
    }
}

fn mirror_pod(world: &dyn World, node: &str, pod: &Value) -> Result<(), Refusal> {
    if at(pod, &["metadata", "annotations", MIRROR_ANNOTATION]).is_none() {
        return refuse(format!(
            "pod does not have \"{MIRROR_ANNOTATION}\" annotation, node \"{node}\" can only create mirror pods"
        ));
    }
    if node_of(pod) != node {
        return refuse(format!(
            "node \"{node}\" can only create pods with spec.nodeName set to itself"
        ));
    }
    let [owner] = list_at(pod, &["metadata", "ownerReferences"]) else {
        return refuse(format!(
            "node \"{node}\" can only create pods with an owner reference set to itself"
        ));
    };
    if (text(owner, "apiVersion"), text(owner, "kind"), text(owner, "name")) != ("v1", "Node", node) {
        return refuse(format!(
            "node \"{node}\" can only create pods with an owner reference set to itself"
        ));
    }
    if !bool_at(owner, &["controller"]) {
        return refuse(format!(
            "node \"{node}\" can only create pods with a controller owner reference set to itself"
        ));
    }
    if bool_at(owner, &["blockOwnerDeletion"]) {
        return refuse(format!(
            "node \"{node}\" must not set blockOwnerDeletion on an owner reference"
        ));
    }
    let stored = world.cluster().get("", "nodes", None, node);
    if stored.is_none_or(|stored| str_at(&stored, &["metadata", "uid"]) != Some(text(owner, "uid"))) {
        return refuse(format!("node {node} UID mismatch: expected {}", text(owner, "uid")));
    }
    if str_at(pod, &["spec", "serviceAccountName"]).is_some() {
        return refuse(format!(
            "node \"{node}\" can not create pods that reference a service account"
        ));
    }
    if let Some(what) = references_of_pod(pod).first() {
        return refuse(format!("node \"{node}\" can not create pods that reference {what}"));
    }
    Ok(())
}

fn own_node(node: &str, request: &Request<'_>, new: &Value) -> Result<(), Refusal> {
    if request.name != node {
        return refuse(format!(
            "node \"{node}\" is not allowed to modify node \"{}\"",
            request.name
        ));
    }
    let labels = |object| map_at(object, &["metadata", "labels"]);
    match (request.operation, request.old) {
        (Operation::Create, _) => {
            let forbidden = forbidden_labels(None, labels(new));
            if !forbidden.is_empty() {
                return refuse(format!(
                    "node \"{node}\" is not allowed to set the following labels: {}",
                    forbidden.join(", ")
                ));
            }
        }
        (Operation::Update, Some(old)) => {
            if list_at(old, &["spec", "taints"]) != list_at(new, &["spec", "taints"]) {
                return refuse(format!("node \"{node}\" is not allowed to modify taints"));
            }
            let owners = |object| list_at(object, &["metadata", "ownerReferences"]);
            if owners(old) != owners(new) {
                return refuse(format!("node \"{node}\" is not allowed to modify ownerReferences"));
            }
            let forbidden = forbidden_labels(labels(old), labels(new));
            if !forbidden.is_empty() {
                return refuse(format!("is not allowed to modify labels: {}", forbidden.join(", ")));
            }
        }
        _ => {}
    }
    Ok(())
}

/// Labels that differ and that a node may not set.
fn forbidden_labels(old: Option<&Map<String, Value>>, new: Option<&Map<String, Value>>) -> Vec<String> {
    let get = |map: Option<&Map<String, Value>>, key: &str| map.and_then(|map| map.get(key)).cloned();
    let keys = old.into_iter().chain(new).flat_map(Map::keys);
    let mut forbidden: Vec<String> = keys
        .filter(|key| get(old, key) != get(new, key) && !may_set(key))
        .cloned()
        .collect();
    forbidden.sort();
    forbidden.dedup();
    forbidden
}

fn may_set(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let in_domain =
        |wanted: &str| domain == wanted || domain.strip_suffix(wanted).is_some_and(|rest| rest.ends_with('.'));
    if in_domain("node-restriction.kubernetes.io") {
        return false;
    }
    let reserved = in_domain("kubernetes.io") || in_domain("k8s.io");
    !reserved || OWN_LABELS.contains(&label) || in_domain("kubelet.kubernetes.io") || in_domain("node.kubernetes.io")
}

fn claim(node: &str, request: &Request<'_>, new: &Value) -> Result<(), Refusal> {
    let old = request.old.unwrap_or(&Value::Null);
    if request.subresource != "status" || request.operation != Operation::Update {
        return refuse(format!(
            "unexpected operation, node \"{node}\" can only update the status of persistentvolumeclaims"
        ));
    }
    if old.get("spec") != new.get("spec")
        || map_at(old, &["metadata", "labels"]) != map_at(new, &["metadata", "labels"])
    {
        return refuse(format!(
            "node \"{node}\" is not allowed to update fields other than status"
        ));
    }
    Ok(())
}

/// Objects of a node that have its name.
fn named(node: &str, request: &Request<'_>, what: &str) -> Result<(), Refusal> {
    let placed = request.resource != "leases" || request.namespace == "kube-node-lease";
    if request.name == node && placed {
        return Ok(());
    }
    refuse(format!(
        "can only access {what} with the same name as the requesting node"
    ))
}

fn slice(node: &str, request: &Request<'_>, new: &Value) -> Result<(), Refusal> {
    let own = |slice: &Value| str_at(slice, &["spec", "nodeName"]) == Some(node);
    let allowed = match request.operation {
        Operation::Create => own(new),
        Operation::Update => own(new) && request.old.is_some_and(own),
        Operation::Delete => request.old.is_some_and(own),
    };
    if allowed {
        return Ok(());
    }
    refuse("can only create, update or delete ResourceSlice with the same NodeName as the requesting node".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Small, handle, request};
    use barepod_auth::user::{NODES, User};
    use serde_json::json;

    fn as_node(
        operation: Operation,
        group: &str,
        full: &str,
        name: &str,
        old: Option<&Value>,
        new: Value,
    ) -> Result<(), String> {
        let user = User::new("system:node:n1", vec![NODES.into()]);
        let world = Small(
            vec![("nodes", json!({"metadata": {"name": "n1", "uid": "u"}}))],
            Default::default(),
        );
        let request = Request {
            user: &user,
            name,
            ..request(operation, group, full, old)
        };
        handle(&NodeRestriction, &world, &request, new).map(drop)
    }

    #[test]
    fn only_mirror_pods_of_its_own() {
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u", "controller": true});
        let mirror = json!({"metadata": {"annotations": {MIRROR_ANNOTATION: "1"}, "ownerReferences": [owner]}, "spec": {"nodeName": "n1"}});
        let create = |pod: Value| as_node(Operation::Create, "", "pods", "p", None, pod);
        assert_eq!(create(mirror.clone()), Ok(()));
        let with = |pointer: &str, value: Value| {
            let mut pod = mirror.clone();
            *pod.pointer_mut(pointer).unwrap() = value;
            create(pod)
        };
        assert!(
            with("/metadata/annotations", json!({}))
                .unwrap_err()
                .contains("only create mirror pods")
        );
        assert!(with("/spec/nodeName", json!("n2")).is_err());
        assert!(with("/metadata/ownerReferences", json!([])).is_err());
        assert!(with("/metadata/ownerReferences/0/uid", json!("other")).is_err());
        assert!(with("/spec", json!({"nodeName": "n1", "serviceAccountName": "x"})).is_err());
        let volumes = json!({"nodeName": "n1", "volumes": [{"secret": {"secretName": "s"}}]});
        assert!(with("/spec", volumes).unwrap_err().ends_with("reference secrets"));
    }

    #[test]
    fn only_the_status_of_its_own_pods() {
        let mine = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"nodeName": "n1"}});
        let other = json!({"spec": {"nodeName": "n2"}});
        let status = |old: &Value, new: Value| as_node(Operation::Update, "", "pods/status", "p", Some(old), new);
        assert_eq!(status(&mine, mine.clone()), Ok(()));
        assert!(status(&other, other.clone()).is_err());
        assert!(
            status(&mine, json!({"spec": {"nodeName": "n1"}}))
                .unwrap_err()
                .contains("labels")
        );
        assert_eq!(
            as_node(Operation::Delete, "", "pods", "p", Some(&mine), Value::Null),
            Ok(())
        );
        assert!(as_node(Operation::Delete, "", "pods", "p", Some(&other), Value::Null).is_err());
        assert!(as_node(Operation::Update, "", "pods", "p", Some(&mine), mine.clone()).is_err());
    }

    #[test]
    fn only_its_own_node_without_reserved_labels_and_taints() {
        let node = |labels: Value| json!({"metadata": {"labels": labels}});
        let create = |name: &str, labels: Value| as_node(Operation::Create, "", "nodes", name, None, node(labels));
        assert_eq!(
            create(
                "n1",
                json!({"kubernetes.io/hostname": "n1", "own": "x", "node.kubernetes.io/x": "y"})
            ),
            Ok(())
        );
        assert!(create("n2", json!({})).is_err());
        assert!(create("n1", json!({"node-role.kubernetes.io/control-plane": ""})).is_err());
        assert!(create("n1", json!({"node-restriction.kubernetes.io/x": ""})).is_err());
        let old = node(json!({"node-restriction.kubernetes.io/x": "1"}));
        let update = |new: Value| as_node(Operation::Update, "", "nodes", "n1", Some(&old), new);
        assert_eq!(update(old.clone()), Ok(()));
        assert!(
            update(node(json!({})))
                .unwrap_err()
                .contains("node-restriction.kubernetes.io/x")
        );
        let mut tainted = old.clone();
        tainted["spec"] = json!({"taints": [{"key": "x"}]});
        assert!(update(tainted).unwrap_err().contains("taints"));
    }

    #[test]
    fn leases_have_the_nodes_name() {
        let user = User::new("system:node:n1", vec![NODES.into()]);
        let lease = |namespace, name| {
            let request = Request {
                user: &user,
                name,
                namespace,
                ..request(Operation::Create, "coordination.k8s.io", "leases", None)
            };
            handle(&NodeRestriction, &Small::default(), &request, json!({})).is_ok()
        };
        assert!(lease("kube-node-lease", "n1") && !lease("kube-node-lease", "n2") && !lease("default", "n1"));
    }
}
