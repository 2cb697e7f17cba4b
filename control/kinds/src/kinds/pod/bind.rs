//! Binding a pod to a node: what `POST pods/NAME/binding` does.

use jiff::Timestamp;
use serde_json::Value;

use crate::conditions;
use crate::invalid::Denied;
use crate::path::{Errors, Path};
use crate::value::{self, list_at, object_mut, str_at};

/// The pod, bound to a node: `spec.nodeName` set and the condition PodScheduled true.
///
/// Refused with a conflict when the pod is bound already, being deleted, or gated.
fn bind(pod: &Value, node: &str, now: Timestamp) -> Result<Value, Denied> {
    let name = str_at(pod, &["metadata", "name"]).unwrap_or("");
    if value::at(pod, &["metadata", "deletionTimestamp"]).is_some() {
        return Err(Denied::Conflict(format!(
            "pod {name} is being deleted, cannot be assigned to a host"
        )));
    }
    if let Some(current) = str_at(pod, &["spec", "nodeName"]) {
        return Err(Denied::Conflict(format!(
            "pod {name} is already assigned to node \"{current}\""
        )));
    }
    if !list_at(pod, &["spec", "schedulingGates"]).is_empty() {
        return Err(Denied::Conflict(format!(
            "pod {name} has non-empty .spec.schedulingGates"
        )));
    }
    let mut bound = pod.clone();
    if let Some(spec) = object_mut(&mut bound, "spec") {
        spec.insert("nodeName".into(), node.into());
    }
    conditions::set(&mut bound, "PodScheduled", "True", "", "", now);
    Ok(bound)
}

/// The pod, bound as a `v1` Binding says: its target, the UID it expects, and annotations and labels it carries along.
pub fn bind_with(pod: &Value, binding: &Value, now: Timestamp) -> Result<Value, Denied> {
    let mut errors = Errors::new();
    let target = Path::new("target");
    let kind = str_at(binding, &["target", "kind"]).unwrap_or("");
    if !kind.is_empty() && kind != "Node" {
        errors.not_supported(&target.child("kind"), kind, &["Node", "<empty>"]);
    }
    let node = str_at(binding, &["target", "name"]).unwrap_or("");
    if node.is_empty() {
        errors.required(&target.child("name"), "");
    }
    if !errors.is_empty() {
        return Err(Denied::Invalid(errors.into_vec()));
    }
    let (expected, actual) = (str_at(binding, &["metadata", "uid"]), str_at(pod, &["metadata", "uid"]));
    if let Some(expected) = expected
        && Some(expected) != actual
    {
        return Err(Denied::Conflict(format!(
            "Precondition failed: UID in precondition: {expected}, UID in object meta: {}",
            actual.unwrap_or("")
        )));
    }
    let mut bound = bind(pod, node, now)?;
    if let Some(metadata) = object_mut(&mut bound, "metadata") {
        for key in ["annotations", "labels"] {
            let Some(more) = value::map_at(binding, &["metadata", key]) else {
                continue;
            };
            let slot = metadata
                .entry(key)
                .or_insert_with(|| Value::Object(serde_json::Map::new()));
            if let Some(map) = slot.as_object_mut() {
                map.extend(more.iter().map(|(k, v)| (k.clone(), v.clone())));
            }
        }
    }
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn now() -> Timestamp {
        super::super::tests::now()
    }

    #[test]
    fn a_pod_is_bound_once() {
        let pod = json!({"metadata": {"name": "a", "uid": "1"}, "spec": {}, "status": {"phase": "Pending"}});
        let bound = bind(&pod, "n", now()).unwrap();
        assert_eq!(bound["spec"]["nodeName"], "n");
        assert_eq!(
            bound["status"]["conditions"],
            json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}])
        );
        assert_eq!(
            bind(&bound, "m", now()).unwrap_err(),
            Denied::Conflict("pod a is already assigned to node \"n\"".into())
        );
    }

    #[test]
    fn bindings_are_checked() {
        let pod = json!({"metadata": {"name": "a", "uid": "1"}, "spec": {}});
        let binding =
            json!({"metadata": {"uid": "1", "annotations": {"k": "v"}}, "target": {"kind": "Node", "name": "n"}});
        assert_eq!(
            bind_with(&pod, &binding, now()).unwrap()["metadata"]["annotations"]["k"],
            "v"
        );
        assert!(matches!(
            bind_with(&pod, &json!({"target": {}}), now()),
            Err(Denied::Invalid(_))
        ));
        let other = json!({"metadata": {"uid": "2"}, "target": {"name": "n"}});
        assert!(matches!(bind_with(&pod, &other, now()), Err(Denied::Conflict(_))));
        let gated = json!({"metadata": {"name": "a"}, "spec": {"schedulingGates": [{"name": "g"}]}});
        assert!(bind(&gated, "n", now()).is_err());
    }
}
