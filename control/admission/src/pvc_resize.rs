//! PersistentVolumeClaimResize: a claim grows only where its class can make volumes grow.

use barepod_kinds::Quantity;
use barepod_kinds::value::{at, bool_at, str_at};
use serde_json::Value;

use crate::{Notes, Operation, Plugin, Refusal, Request, World};

/// The plugin.
pub(crate) struct PersistentVolumeClaimResize;

fn size(claim: &Value) -> Option<Quantity> {
    Quantity::from_value(at(claim, &["spec", "resources", "requests", "storage"])?).ok()
}

impl Plugin for PersistentVolumeClaimResize {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.is_core("persistentvolumeclaims") && request.operation == Operation::Update
    }

    fn validate(&self, world: &dyn World, request: &Request<'_>, claim: &Value, _: &mut Notes) -> Result<(), Refusal> {
        let old = request.old.unwrap_or(&Value::Null);
        if size(claim) <= size(old) {
            return Ok(());
        }
        if str_at(old, &["status", "phase"]) != Some("Bound") {
            return Err(Refusal::forbidden(
                "Only bound persistent volume claims can be expanded",
            ));
        }
        let class = str_at(claim, &["spec", "storageClassName"]).or_else(|| {
            str_at(
                claim,
                &["metadata", "annotations", "volume.beta.kubernetes.io/storage-class"],
            )
        });
        let class = class.and_then(|name| world.cluster().get("storage.k8s.io", "storageclasses", None, name));
        if class.is_some_and(|class| bool_at(&class, &["allowVolumeExpansion"])) {
            return Ok(());
        }
        Err(Refusal::forbidden(
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support \
             resize",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Small, handle, request};
    use serde_json::json;

    #[test]
    fn only_classes_that_can_expand_do() {
        let class = |name: &str, can: bool| {
            (
                "storageclasses",
                json!({"metadata": {"name": name}, "allowVolumeExpansion": can}),
            )
        };
        let world = Small(vec![class("can", true), class("cannot", false)], Default::default());
        let claim = |class: &str, size: &str| json!({"spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}}, "status": {"phase": "Bound"}});
        let resize = |class: &str, to: &str| {
            let old = claim(class, "1Gi");
            let update = request(Operation::Update, "", "persistentvolumeclaims", Some(&old));
            handle(&PersistentVolumeClaimResize, &world, &update, claim(class, to)).map(drop)
        };
        assert_eq!(resize("can", "2Gi"), Ok(()));
        assert_eq!(resize("cannot", "1024Mi"), Ok(()));
        assert!(
            resize("cannot", "2Gi")
                .unwrap_err()
                .starts_with("only dynamically provisioned")
        );
        assert!(resize("none", "2Gi").is_err());
    }
}
