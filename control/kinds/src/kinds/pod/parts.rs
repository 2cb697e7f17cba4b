//! Parts of a pod that are written apart: containers that are added to a running pod, and the resources of its
//! containers.

use serde_json::{Map, Value};

use super::{MIRROR_ANNOTATION, SPEC};
use crate::path::{Errors, Path};
use crate::podspec::resources::qos_class;
use crate::podspec::validate;
use crate::value::{self, at, items_mut, list_at, map_at, str_at, text};

const LISTS: [&str; 2] = ["containers", "initContainers"];
const RESIZED: [&str; 2] = ["resources", "resizePolicy"];
const MUTABLE: &str = "only cpu and memory resources are mutable";

/// The stored pod with the ephemeral containers of the written one.
pub fn take_ephemeral(new: &mut Value, old: &Value) {
    let written = new.get("spec").cloned().unwrap_or_default();
    restore(new, old);
    if let Some(spec) = new.get_mut("spec") {
        value::keep(spec, &written, "ephemeralContainers");
    }
}

/// The stored pod with the resources of the written one's containers. Containers that do not match the stored ones stay
/// as they are, for [`resized`] to complain about.
pub fn take_resources(new: &mut Value, old: &Value) {
    let mut written = new.clone();
    for list in LISTS {
        let before = list_at(old, &["spec", list]);
        let Some(spec) = written.get_mut("spec") else { return };
        let after = items_mut(spec, list);
        if after.len() != before.len() {
            return;
        }
        for (container, stored) in after.iter_mut().zip(before) {
            if text(container, "name") != text(stored, "name") {
                continue;
            }
            let mut taken = stored.clone();
            for key in RESIZED {
                value::keep(&mut taken, container, key);
            }
            *container = taken;
        }
    }
    restore(new, old);
    let Some(spec) = new.get_mut("spec") else { return };
    for key in ["containers", "initContainers", "resources"] {
        value::keep(spec, &written["spec"], key);
    }
}

/// Everything as it is stored, but what the system writes into the metadata.
fn restore(new: &mut Value, old: &Value) {
    let mut next = old.clone();
    if let (Some(written), Some(metadata)) = (new.get("metadata"), next.get_mut("metadata")) {
        value::keep(metadata, written, "managedFields");
    }
    *new = next;
}

/// Checks ephemeral containers: they are added, never changed or removed.
pub fn extended(new: &Value, old: &Value, errors: &mut Errors) {
    if is_static(old) {
        errors.forbidden(&SPEC, "static pods do not support ephemeral containers");
        return;
    }
    let spec = new.get("spec").unwrap_or(&Value::Null);
    validate::pod_spec(spec, true, &SPEC, errors);
    let path = SPEC.child("ephemeralContainers");
    let after = list_at(spec, &["ephemeralContainers"]);
    for stored in list_at(old, &["spec", "ephemeralContainers"]) {
        let name = text(stored, "name");
        match after.iter().find(|container| text(container, "name") == name) {
            None => errors.forbidden(
                &path,
                format!("existing ephemeral containers {name:?} may not be removed\n"),
            ),
            Some(container) if container != stored => errors.forbidden(
                &path,
                format!("existing ephemeral containers {name:?} may not be changed\n"),
            ),
            Some(_) => {}
        }
    }
}

/// Checks new resources: processor and memory change within what the pod's class allows, and nothing else does.
pub fn resized(new: &Value, old: &Value, errors: &mut Errors) {
    let root = Path::new("");
    if is_static(old) {
        return errors.forbidden(&root, "static pods cannot be resized");
    }
    if str_at(old, &["spec", "os", "name"]) == Some("windows") {
        return errors.forbidden(&root, "windows pods cannot be resized");
    }
    let (spec, stored) = (&new["spec"], &old["spec"]);
    validate::pod_spec(spec, true, &SPEC, errors);
    let class = qos_class(spec);
    if str_at(old, &["status", "qosClass"]).unwrap_or(qos_class(stored)) != class {
        errors.invalid(&SPEC, class, "Pod QOS Class may not change as a result of resizing");
    }
    let running = list_at(old, &["status", "containerStatuses"])
        .iter()
        .find(|status| at(status, &["state", "running"]).is_some());
    if running.is_some_and(|status| at(status, &["resources"]).is_none()) {
        errors.forbidden(&SPEC, "Pod running on node without support for resize");
    }
    whole(spec, stored, errors);
    if !aligned(spec, stored, errors) {
        return;
    }
    for list in LISTS {
        let pairs = list_at(spec, &[list]).iter().zip(list_at(stored, &[list]));
        for (i, (container, before)) in pairs.enumerate() {
            one(list, container, before, &SPEC.child(list).index(i), errors);
        }
    }
}

fn is_static(pod: &Value) -> bool {
    at(pod, &["metadata", "annotations", MIRROR_ANNOTATION]).is_some()
}

/// Resources of the pod as a whole.
fn whole(new: &Value, old: &Value, errors: &mut Errors) {
    let (after, before) = (at(new, &["resources"]), at(old, &["resources"]));
    let path = SPEC.child("resources");
    match (after, before) {
        (None, None) => {}
        (None, Some(_)) => errors.forbidden(&path, "pod-level resources cannot be removed"),
        (Some(after), before) => {
            let empty = Value::Null;
            let before = before.unwrap_or(&empty);
            kept(after, before, "pod-level resource", &path, errors);
            if others(after) != others(before) {
                errors.forbidden(&SPEC, format!("{MUTABLE} at pod-level"));
            }
        }
    }
}

/// Whether both have the same containers in the same order.
fn aligned(new: &Value, old: &Value, errors: &mut Errors) -> bool {
    let mut same = true;
    for list in LISTS {
        let (after, before) = (list_at(new, &[list]), list_at(old, &[list]));
        let path = SPEC.child(list);
        if after.len() != before.len() {
            errors.forbidden(&path, format!("{list} may not be added or removed on resize"));
            same = false;
            continue;
        }
        for (i, (container, stored)) in after.iter().zip(before).enumerate() {
            if text(container, "name") != text(stored, "name") {
                let detail = format!("{list} may not be renamed or reordered on resize");
                errors.forbidden(&path.index(i).child("name"), detail);
                same = false;
            }
        }
    }
    same
}

fn one(list: &str, new: &Value, old: &Value, path: &Path<'_>, errors: &mut Errors) {
    let (after, before) = (&new["resources"], &old["resources"]);
    kept(after, before, "resource", &path.child("resources"), errors);
    let only_amounts = others(after) == others(before);
    if list == "containers" {
        if !only_amounts {
            errors.forbidden(&SPEC, MUTABLE);
        }
        return;
    }
    if !only_amounts {
        let detail = "only cpu and memory resources for init or sidecar containers are mutable";
        errors.forbidden(path, detail);
    }
    let restarts = list_at(new, &["resizePolicy"])
        .iter()
        .any(|policy| text(policy, "restartPolicy") == "RestartContainer");
    if after != before && restarts && text(new, "restartPolicy") != "Always" {
        let detail = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
        errors.forbidden(path, detail);
    }
}

/// What was requested or limited stays so.
fn kept(new: &Value, old: &Value, what: &str, path: &Path<'_>, errors: &mut Errors) {
    for key in ["requests", "limits"] {
        let lost = map_at(old, &[key])
            .into_iter()
            .flat_map(Map::keys)
            .any(|name| at(new, &[key, name]).is_none());
        if lost {
            errors.forbidden(&path.child(key), format!("{what} {key} cannot be removed"));
        }
    }
}

/// What is left of resources without the amounts of processor and memory.
fn others(resources: &Value) -> Value {
    let mut rest = resources.clone();
    for key in ["requests", "limits"] {
        if let Some(amounts) = rest.get_mut(key).and_then(Value::as_object_mut) {
            amounts.remove("cpu");
            amounts.remove("memory");
        }
    }
    if let Some(map) = rest.as_object_mut() {
        map.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|map| !map.is_empty()));
    }
    if rest.as_object().is_some_and(Map::is_empty) {
        return Value::Null;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::pod::Pod;
    use crate::strategy::Strategy;
    use serde_json::json;

    fn pod() -> Value {
        let mut pod = json!({
            "metadata": {"name": "p", "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i", "resources":
                {"requests": {"cpu": "100m", "memory": "1Mi"}, "limits": {"cpu": "200m", "memory": "1Mi"}}}]},
            "status": {"qosClass": "Burstable"}});
        Pod.default(&mut pod);
        pod
    }

    fn lines(errors: Errors) -> Vec<String> {
        errors.into_vec().iter().map(ToString::to_string).collect()
    }

    fn resize(old: &Value, change: impl FnOnce(&mut Value)) -> (Value, Vec<String>) {
        let mut new = old.clone();
        change(&mut new["spec"]);
        take_resources(&mut new, old);
        let mut errors = Errors::new();
        resized(&new, old, &mut errors);
        (new, lines(errors))
    }

    #[test]
    fn containers_are_added_to_a_pod() {
        let old = pod();
        let mut new = old.clone();
        new["metadata"]["labels"] = json!({});
        new["spec"]["containers"][0]["image"] = json!("j");
        new["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "i"}]);
        Pod.default(&mut new);
        take_ephemeral(&mut new, &old);
        assert_eq!(new["metadata"], old["metadata"]);
        assert_eq!(new["spec"]["containers"], old["spec"]["containers"]);
        assert_eq!(new["spec"]["ephemeralContainers"][0]["imagePullPolicy"], "Always");
        let mut errors = Errors::new();
        extended(&new, &old, &mut errors);
        assert_eq!(lines(errors), Vec::<String>::new());
        let mut errors = Errors::new();
        extended(&old, &new, &mut errors);
        assert_eq!(
            lines(errors),
            ["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be removed\n"]
        );
    }

    #[test]
    fn resources_change_within_bounds() {
        let old = pod();
        let (new, errors) = resize(&old, |spec| {
            spec["containers"][0]["resources"]["requests"]["cpu"] = json!("150m");
            spec["containers"][0]["image"] = json!("other");
        });
        assert_eq!(errors, Vec::<String>::new());
        let container = &new["spec"]["containers"][0];
        assert_eq!(
            (&container["image"], &container["resources"]["requests"]["cpu"]),
            (&json!("i"), &json!("150m"))
        );
        let refused = |change: fn(&mut Value)| resize(&old, change).1;
        assert_eq!(
            refused(|spec| spec["containers"][0]["resources"]["requests"]["cpu"] = json!("200m")),
            ["spec: Invalid value: \"Guaranteed\": Pod QOS Class may not change as a result of resizing"]
        );
        assert_eq!(
            refused(|spec| spec["containers"][0]["resources"]["requests"] = json!({"cpu": "1m"})),
            ["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"]
        );
        assert_eq!(
            refused(|spec| spec["containers"][0]["resources"]["limits"]["ephemeral-storage"] = json!("1Gi")),
            ["spec: Forbidden: only cpu and memory resources are mutable"]
        );
        assert_eq!(
            refused(|spec| spec["containers"][0]["name"] = json!("x")),
            ["spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize"]
        );
    }

    #[test]
    fn a_node_has_to_be_able_to() {
        let mut old = pod();
        old["status"]["containerStatuses"] = json!([{"name": "c", "state": {"running": {}}}]);
        let (_, errors) = resize(&old, |_| {});
        assert_eq!(
            errors,
            ["spec: Forbidden: Pod running on node without support for resize"]
        );
    }
}
