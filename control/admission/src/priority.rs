//! Priority: resolves the priority class of a new pod to a number and a preemption policy.

use barepod_kinds::kinds::priority_class;
use barepod_kinds::value::{at, i64_at, object_mut, str_at};
use serde_json::Value;

use crate::{Notes, Operation, Plugin, Refusal, Request, World};

/// The plugin.
pub(crate) struct Priority;

const DEFAULT_POLICY: &str = "PreemptLowerPriority";

impl Plugin for Priority {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.is_core("pods") && request.operation == Operation::Create
    }

    fn admit(&self, world: &dyn World, _: &Request<'_>, pod: &mut Value, _: &mut Notes) -> Result<(), Refusal> {
        let class = match str_at(pod, &["spec", "priorityClassName"]) {
            Some(name) => Some(
                priority_class::find(world.cluster(), name)
                    .ok_or_else(|| Refusal::forbidden(format!("no PriorityClass with name {name} was found")))?,
            ),
            None => priority_class::global_default(world.cluster()),
        };
        let computed = class.as_ref().map_or(0, |class| i64_at(class, &["value"]).unwrap_or(0));
        let policy = class
            .as_ref()
            .and_then(|class| str_at(class, &["preemptionPolicy"]))
            .unwrap_or(DEFAULT_POLICY);
        if let Some(given) = i64_at(pod, &["spec", "priority"]).filter(|given| *given != computed) {
            return Err(Refusal::forbidden(format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission \
                 controller computed {computed} from the given PriorityClass name"
            )));
        }
        let given = at(pod, &["spec", "preemptionPolicy"]).and_then(Value::as_str);
        if let Some(given) = given.filter(|given| *given != policy) {
            return Err(Refusal::forbidden(format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
                 controller computed {policy} from the given PriorityClass name"
            )));
        }
        let Some(spec) = object_mut(pod, "spec") else {
            return Ok(());
        };
        spec.insert("priority".into(), computed.into());
        spec.insert("preemptionPolicy".into(), policy.into());
        if let Some(name) = class.as_ref().and_then(|class| str_at(class, &["metadata", "name"])) {
            spec.insert("priorityClassName".into(), name.into());
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
    fn classes_are_resolved() {
        let class = |name: &str, more: Value| {
            let mut class = json!({"metadata": {"name": name}});
            class.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ("priorityclasses", class)
        };
        let world = Small(
            vec![
                class("p", json!({"value": 7, "preemptionPolicy": "Never"})),
                class("d", json!({"value": 3, "globalDefault": true})),
            ],
            Default::default(),
        );
        let create = request(Operation::Create, "", "pods", None);
        let admit = |spec: Value| handle(&Priority, &world, &create, json!({"spec": spec}));
        let pod = admit(json!({"priorityClassName": "p"})).unwrap();
        assert_eq!(
            (&pod["spec"]["priority"], &pod["spec"]["preemptionPolicy"]),
            (&json!(7), &json!("Never"))
        );
        let pod = admit(json!({})).unwrap();
        assert_eq!(
            (&pod["spec"]["priority"], &pod["spec"]["priorityClassName"]),
            (&json!(3), &json!("d"))
        );
        assert_eq!(
            admit(json!({"priorityClassName": "x"})).unwrap_err(),
            "no PriorityClass with name x was found"
        );
        assert!(admit(json!({"priority": 5})).unwrap_err().contains("computed 3"));
        let critical = admit(json!({"priorityClassName": "system-node-critical"})).unwrap();
        assert_eq!(critical["spec"]["priority"], 2_000_001_000);
    }
}
