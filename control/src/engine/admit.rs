//! Admission: the life of namespaces as far as other objects feel it, and every plugin.

use barepod_admission::{self as admission, Notes, Operation, Refusal, World};
use barepod_auth::attributes::Attributes;
use barepod_auth::rbac::Policy;
use barepod_kinds::Cluster;
use jiff::Timestamp;
use serde_json::Value;

use super::head::Head;
use super::request::Request;
use super::status::{ApiError, ApiResult};
use super::{Engine, Target, meta};

/// A write, as far as plugins need to know it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admission<'a> {
    pub(super) operation: Operation,
    pub(super) target: Target<'a>,
    /// The subresource written through; empty for the object itself.
    pub(super) subresource: &'a str,
    /// The stored object, of updates and removals.
    pub(super) old: Option<&'a Value>,
    pub(super) now: Timestamp,
}

impl World for Engine {
    fn cluster(&self) -> &dyn Cluster {
        self
    }

    fn may(&self, asked: &Attributes<'_>) -> bool {
        self.access.refusal(asked).is_none()
    }

    fn policy(&self, ask: &mut dyn FnMut(&Policy)) {
        self.access.policy(|policy| ask(policy));
    }

    fn generate_name(&self, base: &str) -> String {
        meta::generate_name(base)
    }
}

impl Engine {
    /// Lets every plugin fill in or refuse.
    pub(super) fn admit(&self, request: &Request, write: Admission<'_>, object: &mut Value) -> ApiResult<()> {
        self.ask_plugins(request, write, |asked, notes| {
            admission::admit(self, asked, object, notes)
        })
    }

    /// Lets every plugin refuse what is about to be stored or, if there is no object, removed.
    pub(super) fn admit_result(
        &self,
        request: &Request,
        write: Admission<'_>,
        object: Option<&Value>,
    ) -> ApiResult<()> {
        let object = object.unwrap_or(&Value::Null);
        self.ask_plugins(request, write, |asked, notes| {
            admission::validate(self, asked, object, notes)
        })
    }

    fn ask_plugins(
        &self,
        request: &Request,
        write: Admission<'_>,
        ask: impl FnOnce(&admission::Request<'_>, &mut Notes) -> Result<(), Refusal>,
    ) -> ApiResult<()> {
        let Target { kind, namespace, name } = write.target;
        let asked = admission::Request {
            operation: write.operation,
            user: &request.user,
            group: &kind.resource.group,
            resource: &kind.resource.plural,
            subresource: write.subresource,
            namespace,
            name,
            old: write.old,
            now: write.now,
        };
        ask(&asked, &mut request.notes()).map_err(|refusal| match refusal {
            Refusal::Denied(denied) => ApiError::denied(kind, name, denied),
            Refusal::NotFound { group, resource, name } => ApiError::not_found_named(group, resource, &name),
        })
    }

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
