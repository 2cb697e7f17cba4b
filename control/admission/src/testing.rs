//! A small world for the plugins' tests.

use std::sync::Arc;

use barepod_auth::attributes::Attributes;
use barepod_auth::rbac::Policy;
use barepod_auth::user::User;
use barepod_kinds::{Cluster, Denied};
use serde_json::Value;

use crate::{Notes, Operation, Plugin, Refusal, Request, World};

/// Objects by resource.
#[derive(Default)]
pub(crate) struct Small(pub(crate) Vec<(&'static str, Value)>, pub(crate) Policy);

impl Cluster for Small {
    fn get(&self, _: &str, resource: &str, namespace: Option<&str>, name: &str) -> Option<Arc<Value>> {
        let all = self.list("", resource, namespace);
        all.into_iter().find(|object| object["metadata"]["name"] == name)
    }

    fn list(&self, _: &str, resource: &str, namespace: Option<&str>) -> Vec<Arc<Value>> {
        let of = |(own, object): &&(&str, Value)| {
            *own == resource && namespace.is_none_or(|namespace| object["metadata"]["namespace"] == namespace)
        };
        self.0
            .iter()
            .filter(of)
            .map(|(_, object)| Arc::new(object.clone()))
            .collect()
    }
}

impl World for Small {
    fn cluster(&self) -> &dyn Cluster {
        self
    }

    fn may(&self, asked: &Attributes<'_>) -> bool {
        self.1.allows(asked)
    }

    fn policy(&self, ask: &mut dyn FnMut(&Policy)) {
        ask(&self.1);
    }

    fn generate_name(&self, base: &str) -> String {
        format!("{base}xxxxx")
    }
}

/// A request of `bob` in the namespace `ns` for the object `x`.
pub(crate) fn request<'a>(operation: Operation, group: &'a str, full: &'a str, old: Option<&'a Value>) -> Request<'a> {
    let (resource, subresource) = full.split_once('/').unwrap_or((full, ""));
    static BOB: std::sync::LazyLock<User> = std::sync::LazyLock::new(|| User::new("bob", vec![]));
    Request {
        operation,
        verb: "update",
        user: &BOB,
        group,
        resource,
        subresource,
        namespace: "ns",
        name: "x",
        old,
        now: "2026-01-01T00:00:00Z".parse().expect("a time"),
    }
}

/// Lets one plugin handle a request; gives back the object, or the text of the refusal.
pub(crate) fn handle(
    plugin: &dyn Plugin,
    world: &Small,
    request: &Request<'_>,
    object: Value,
) -> Result<Value, String> {
    handle_noting(plugin, world, request, object, &mut Notes::default())
}

/// As [`handle`], with what else is said.
pub(crate) fn handle_noting(
    plugin: &dyn Plugin,
    world: &Small,
    request: &Request<'_>,
    mut object: Value,
    notes: &mut Notes,
) -> Result<Value, String> {
    if !plugin.handles(request) {
        return Ok(object);
    }
    let text = |refusal| match refusal {
        Refusal::Denied(Denied::Forbidden(why)) => why,
        other => format!("{other:?}"),
    };
    plugin.admit(world, request, &mut object, notes).map_err(text)?;
    plugin.validate(world, request, &object, notes).map_err(text)?;
    Ok(object)
}
