//! StorageObjectInUseProtection: claims, volumes and their classes do not go while they are in use; controllers take
//! the finalizers off.

use barepod_kinds::value::{object_mut, strings};
use serde_json::Value;

use crate::{Notes, Operation, Plugin, Refusal, Request, World};

/// The plugin.
pub(crate) struct StorageObjectInUseProtection;

fn finalizer(request: &Request<'_>) -> Option<&'static str> {
    match (request.group, request.resource) {
        ("", "persistentvolumeclaims") => Some("kubernetes.io/pvc-protection"),
        ("", "persistentvolumes") => Some("kubernetes.io/pv-protection"),
        ("storage.k8s.io", "volumeattributesclasses") => Some("kubernetes.io/vac-protection"),
        _ => None,
    }
}

impl Plugin for StorageObjectInUseProtection {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.operation == Operation::Create && request.subresource.is_empty() && finalizer(request).is_some()
    }

    fn admit(&self, _: &dyn World, request: &Request<'_>, object: &mut Value, _: &mut Notes) -> Result<(), Refusal> {
        let Some(finalizer) = finalizer(request) else {
            return Ok(());
        };
        if strings(object, &["metadata", "finalizers"]).any(|own| own == finalizer) {
            return Ok(());
        }
        if let Some(metadata) = object_mut(object, "metadata") {
            match metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
                Some(list) => list.push(finalizer.into()),
                None => {
                    metadata.insert("finalizers".into(), vec![Value::from(finalizer)].into());
                }
            }
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
    fn finalizers_are_put_on_once() {
        let create = request(Operation::Create, "", "persistentvolumeclaims", None);
        let once = handle(
            &StorageObjectInUseProtection,
            &Small::default(),
            &create,
            json!({"metadata": {}}),
        )
        .unwrap();
        assert_eq!(once["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
        let twice = handle(&StorageObjectInUseProtection, &Small::default(), &create, once.clone()).unwrap();
        assert_eq!(twice, once);
    }
}
