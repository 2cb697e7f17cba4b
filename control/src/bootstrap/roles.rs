//! The default roles and bindings: made where they are missing, brought up to date where they are not.

use barepod_auth::rbac::{Default, GROUP, Source, defaults};
use futures_util::future::try_join_all;
use serde_json::Value;

use super::{Next, mend};
use crate::engine::Engine;

/// Makes sure of all of them, at the same time, so that they share the store's syncs.
pub async fn ensure(engine: &Engine) -> anyhow::Result<()> {
    let all = defaults();
    let mut writes = Vec::with_capacity(all.len());
    for one in &all {
        writes.push(ensure_one(engine, one));
    }
    try_join_all(writes).await?;
    Ok(())
}

fn plural(source: Source) -> &'static str {
    match source {
        Source::ClusterRole => "clusterroles",
        Source::Role => "roles",
        Source::ClusterRoleBinding => "clusterrolebindings",
        Source::RoleBinding => "rolebindings",
    }
}

async fn ensure_one(engine: &Engine, wanted: &Default) -> anyhow::Result<()> {
    let (resource, name) = (plural(wanted.source), wanted.name());
    let collection = match wanted.namespace {
        "" => format!("/apis/{GROUP}/v1/{resource}"),
        namespace => format!("/apis/{GROUP}/v1/namespaces/{namespace}/{resource}"),
    };
    let present = || engine.lookup(GROUP, resource, wanted.namespace, name).ok();
    let next = |present: &Value| match wanted.replaces(present) {
        true => Next::Replace,
        false => wanted.reconcile(present).map_or(Next::Keep, Next::Write),
    };
    mend(engine, &collection, &wanted.object, &present, &next).await
}
