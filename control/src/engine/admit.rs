//! The life of namespaces as far as other objects feel it.

use super::head::Head;
use super::status::{ApiError, ApiResult};
use super::{Engine, Target};

impl Engine {
    /// Refuses content for a namespace that does not exist or goes away.
    pub(super) fn admit_namespace(&self, target: Target<'_>) -> ApiResult<()> {
        if !target.kind.resource.namespaced {
            return Ok(());
        }
        let namespaces = self
            .registry
            .find_any("", "namespaces")
            .ok_or_else(ApiError::no_such_resource)?;
        let Some(object) = self.store.get(&namespaces.key("", target.namespace)) else {
            return Err(ApiError::not_found(namespaces, target.namespace));
        };
        let head = Head::of(namespaces, &object);
        let namespace = head.value(&object);
        let marked = namespace
            .pointer("/metadata/deletionTimestamp")
            .is_some_and(|time| !time.is_null());
        let terminating = namespace
            .pointer("/status/phase")
            .is_some_and(|phase| phase == "Terminating");
        if marked || terminating {
            return Err(ApiError::namespace_terminating(
                target.kind,
                target.name,
                target.namespace,
            ));
        }
        Ok(())
    }
}
