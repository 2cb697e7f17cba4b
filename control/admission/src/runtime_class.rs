//! RuntimeClass: a pod gets the overhead of its runtime class, and goes only where that class can run.

use barepod_kinds::value::{at, list_at, map_at, object_mut, str_at};
use serde_json::Value;

use crate::{Notes, Operation, Plugin, Refusal, Request, World};

/// The plugin.
pub(crate) struct RuntimeClass;

impl Plugin for RuntimeClass {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.is_core("pods") && request.operation == Operation::Create
    }

    fn admit(&self, world: &dyn World, _: &Request<'_>, pod: &mut Value, _: &mut Notes) -> Result<(), Refusal> {
        let Some(name) = str_at(pod, &["spec", "runtimeClassName"]).map(str::to_owned) else {
            return Ok(());
        };
        let class = world.cluster().get("node.k8s.io", "runtimeclasses", None, &name);
        let class =
            class.ok_or_else(|| Refusal::forbidden(format!("pod rejected: RuntimeClass \"{name}\" not found")))?;
        let Some(spec) = object_mut(pod, "spec") else {
            return Ok(());
        };
        if let Some(overhead) = at(&class, &["overhead", "podFixed"]) {
            match spec.get("overhead").filter(|own| !own.is_null()) {
                Some(own) if own != overhead => {
                    return Err(Refusal::forbidden(
                        "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
                    ));
                }
                _ => spec.insert("overhead".into(), overhead.clone()),
            };
        }
        for (key, value) in map_at(&class, &["scheduling", "nodeSelector"]).into_iter().flatten() {
            let slot = spec.entry("nodeSelector").or_insert(Value::Null);
            if slot.is_null() {
                *slot = Value::Object(serde_json::Map::new());
            }
            let Some(selector) = slot.as_object_mut() else { break };
            if selector.get(key).is_some_and(|own| own != value) {
                let why = format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}",
                    value.as_str().unwrap_or("")
                );
                return Err(Refusal::forbidden(why));
            }
            selector.insert(key.clone(), value.clone());
        }
        let more = list_at(&class, &["scheduling", "tolerations"]);
        if !more.is_empty() {
            let slot = spec.entry("tolerations").or_insert(Value::Null);
            if slot.is_null() {
                *slot = Value::Array(Vec::new());
            }
            if let Some(tolerations) = slot.as_array_mut() {
                for toleration in more {
                    if !tolerations.contains(toleration) {
                        tolerations.push(toleration.clone());
                    }
                }
            }
        }
        Ok(())
    }

    fn validate(&self, world: &dyn World, _: &Request<'_>, pod: &Value, _: &mut Notes) -> Result<(), Refusal> {
        let overhead = at(pod, &["spec", "overhead"]);
        let named = str_at(pod, &["spec", "runtimeClassName"]);
        let class = named.and_then(|name| world.cluster().get("node.k8s.io", "runtimeclasses", None, name));
        let wanted = class.as_ref().and_then(|class| at(class, &["overhead", "podFixed"]));
        if overhead.is_some() && wanted.is_none() {
            let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            return Err(Refusal::forbidden(why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Small, handle, request};
    use serde_json::json;

    #[test]
    fn the_class_decides_overhead_and_place() {
        let class = json!({"metadata": {"name": "vm"}, "overhead": {"podFixed": {"cpu": "250m"}},
            "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm"}]}});
        let world = Small(vec![("runtimeclasses", class)], Default::default());
        let create = request(Operation::Create, "", "pods", None);
        let admit =
            |spec: Value| handle(&RuntimeClass, &world, &create, json!({"spec": spec})).map(|pod| pod["spec"].clone());
        let spec = admit(json!({"runtimeClassName": "vm", "nodeSelector": {"a": "b"}, "tolerations": [{"key": "x"}]}))
            .unwrap();
        assert_eq!(spec["overhead"], json!({"cpu": "250m"}));
        assert_eq!(spec["nodeSelector"], json!({"a": "b", "vm": "yes"}));
        assert_eq!(spec["tolerations"], json!([{"key": "x"}, {"key": "vm"}]));
        assert!(admit(json!({"runtimeClassName": "vm", "overhead": {"cpu": "1"}})).is_err());
        assert!(
            admit(json!({"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}}))
                .unwrap_err()
                .starts_with("conflict")
        );
        assert!(
            admit(json!({"runtimeClassName": "none"}))
                .unwrap_err()
                .contains("not found")
        );
        assert!(
            admit(json!({"overhead": {"cpu": "1"}}))
                .unwrap_err()
                .contains("without corresponding")
        );
    }
}
