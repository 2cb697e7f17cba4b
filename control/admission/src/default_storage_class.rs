//! DefaultStorageClass: a claim that names no class gets the default one.

use barepod_kinds::value::{at, object_mut, str_at};
use serde_json::Value;

use crate::{Notes, Operation, Plugin, Refusal, Request, World};

/// The plugin.
pub(crate) struct DefaultStorageClass;

const DEFAULT: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];
/// How claims named their class before there was a field.
const ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

impl Plugin for DefaultStorageClass {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.is_core("persistentvolumeclaims") && request.operation == Operation::Create
    }

    fn admit(&self, world: &dyn World, _: &Request<'_>, claim: &mut Value, _: &mut Notes) -> Result<(), Refusal> {
        // An empty name is a name: it asks for a volume without a class.
        let named = at(claim, &["spec", "storageClassName"]).is_some();
        if named || at(claim, &["metadata", "annotations", ANNOTATION]).is_some() {
            return Ok(());
        }
        let classes = world.cluster().list("storage.k8s.io", "storageclasses", None);
        let text = |class: &Value, key: &str| str_at(class, &["metadata", key]).unwrap_or("").to_owned();
        let default = classes
            .iter()
            .filter(|class| {
                let is = |key: &&str| str_at(class, &["metadata", "annotations", key]) == Some("true");
                DEFAULT.iter().any(is)
            })
            // Of several the newest one counts, and of those of one second the one whose name comes first.
            .min_by_key(|class| (std::cmp::Reverse(text(class, "creationTimestamp")), text(class, "name")));
        if let (Some(class), Some(spec)) = (default, object_mut(claim, "spec")) {
            spec.insert("storageClassName".into(), text(class, "name").into());
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
    fn claims_without_a_class_get_the_newest_default() {
        let class = |name: &str, time: &str, default: &str| {
            let annotations = json!({DEFAULT[0]: default});
            let metadata = json!({"name": name, "creationTimestamp": time, "annotations": annotations});
            ("storageclasses", json!({"metadata": metadata}))
        };
        let world = Small(
            vec![
                class("old", "2025", "true"),
                class("b", "2026", "true"),
                class("a", "2026", "true"),
                class("no", "2027", "false"),
            ],
            Default::default(),
        );
        let create = request(Operation::Create, "", "persistentvolumeclaims", None);
        let name = |spec: Value| {
            handle(&DefaultStorageClass, &world, &create, json!({"spec": spec})).unwrap()["spec"]["storageClassName"]
                .clone()
        };
        assert_eq!(name(json!({})), "a");
        assert_eq!(name(json!({"storageClassName": ""})), "");
        let none = handle(&DefaultStorageClass, &Small::default(), &create, json!({"spec": {}})).unwrap();
        assert_eq!(none, json!({"spec": {}}));
    }
}
