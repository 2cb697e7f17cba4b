//! DefaultIngressClass: an Ingress that names no class gets the default one.

use barepod_kinds::value::{at, object_mut, str_at};
use serde_json::Value;

use crate::{Notes, Operation, Plugin, Refusal, Request, World};

/// The plugin.
pub(crate) struct DefaultIngressClass;

const GROUP: &str = "networking.k8s.io";
const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
/// How Ingresses named their class before there was a field.
const ANNOTATION: &str = "kubernetes.io/ingress.class";

impl Plugin for DefaultIngressClass {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.is(GROUP, "ingresses") && request.subresource.is_empty() && request.operation == Operation::Create
    }

    fn admit(&self, world: &dyn World, _: &Request<'_>, ingress: &mut Value, _: &mut Notes) -> Result<(), Refusal> {
        let named = at(ingress, &["spec", "ingressClassName"]).is_some();
        if named || at(ingress, &["metadata", "annotations", ANNOTATION]).is_some() {
            return Ok(());
        }
        let classes = world.cluster().list(GROUP, "ingressclasses", None);
        let text = |class: &Value, key: &str| str_at(class, &["metadata", key]).unwrap_or("").to_owned();
        let default = classes
            .iter()
            .filter(|class| str_at(class, &["metadata", "annotations", DEFAULT]) == Some("true"))
            .min_by_key(|class| (std::cmp::Reverse(text(class, "creationTimestamp")), text(class, "name")));
        if let (Some(class), Some(spec)) = (default, object_mut(ingress, "spec")) {
            spec.insert("ingressClassName".into(), text(class, "name").into());
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
    fn ingresses_without_a_class_get_the_default() {
        let class = json!({"metadata": {"name": "web", "annotations": {DEFAULT: "true"}}});
        let world = Small(vec![("ingressclasses", class)], Default::default());
        let create = request(Operation::Create, GROUP, "ingresses", None);
        let admit = |ingress: Value| handle(&DefaultIngressClass, &world, &create, ingress).unwrap();
        assert_eq!(admit(json!({"spec": {}}))["spec"]["ingressClassName"], "web");
        assert_eq!(
            admit(json!({"spec": {"ingressClassName": "own"}}))["spec"]["ingressClassName"],
            "own"
        );
        let old = json!({"metadata": {"annotations": {ANNOTATION: "own"}}, "spec": {}});
        assert_eq!(admit(old.clone()), old);
    }
}
