//! DefaultTolerationSeconds: lets a pod stay five minutes on a node that is not ready or not reachable, unless it says
//! otherwise.

use barepod_kinds::value::{list_at, object_mut, text};
use serde_json::{Value, json};

use crate::{Notes, Operation, Plugin, Refusal, Request, World};

/// The plugin.
pub(crate) struct DefaultTolerationSeconds;

const SECONDS: i64 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

impl Plugin for DefaultTolerationSeconds {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.is_core("pods") && request.operation != Operation::Delete
    }

    fn admit(&self, _: &dyn World, _: &Request<'_>, pod: &mut Value, _: &mut Notes) -> Result<(), Refusal> {
        let Some(spec) = object_mut(pod, "spec") else {
            return Ok(());
        };
        let own = spec.get("tolerations").cloned().unwrap_or_default();
        let tolerated = |key: &str| {
            list_at(&own, &[]).iter().any(|toleration| {
                let (own, effect) = (text(toleration, "key"), text(toleration, "effect"));
                (own == key || own.is_empty()) && (effect == "NoExecute" || effect.is_empty())
            })
        };
        let missing: Vec<Value> = TAINTS
            .into_iter()
            .filter(|key| !tolerated(key))
            .map(|key| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        match spec.get_mut("tolerations").and_then(Value::as_array_mut) {
            Some(list) => list.extend(missing),
            None => {
                spec.insert("tolerations".into(), missing.into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Small, handle, request};

    #[test]
    fn own_tolerations_are_respected() {
        let create = request(Operation::Create, "", "pods", None);
        let count = |tolerations: Value| {
            let pod = json!({"spec": {"tolerations": tolerations}});
            let pod = handle(&DefaultTolerationSeconds, &Small::default(), &create, pod).unwrap();
            pod["spec"]["tolerations"].as_array().unwrap().len()
        };
        assert_eq!(count(json!(null)), 2);
        assert_eq!(count(json!([{"operator": "Exists"}])), 1);
        let own = json!([{"key": TAINTS[0], "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}]);
        assert_eq!(count(own), 2);
        assert_eq!(count(json!([{"key": "other", "operator": "Exists"}])), 3);
    }
}
