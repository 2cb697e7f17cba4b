//! The default roles and bindings: made where they are missing, brought up to date where they are not.

use anyhow::bail;
use barepod_auth::rbac::{Default, GROUP, Source, defaults};
use futures_util::future::try_join_all;
use serde_json::Value;

use crate::engine::Engine;
use crate::internal::call;

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
    let path = format!("{collection}/{name}");
    // Somebody else may write at the same time: another replica, an administrator.
    for _ in 0..3 {
        let present = engine.lookup(GROUP, resource, wanted.namespace, name).ok();
        let (code, answer) = match present {
            None => create(engine, &collection, &wanted.object).await?,
            Some(present) if wanted.replaces(&present) => {
                let (code, answer) = call(engine, "DELETE", &path, "", None).await?;
                match code {
                    200 | 404 => create(engine, &collection, &wanted.object).await?,
                    _ => (code, answer),
                }
            }
            Some(present) => match wanted.reconcile(&present) {
                Some(next) => call(engine, "PUT", &path, "application/json", Some(&next)).await?,
                None => return Ok(()),
            },
        };
        match code {
            200 | 201 => return Ok(()),
            409 => {}
            _ => bail!("write {path}: {}", answer["message"]),
        }
    }
    bail!("write {path}: it is changed all the time")
}

async fn create(engine: &Engine, collection: &str, object: &Value) -> anyhow::Result<(u16, Value)> {
    call(engine, "POST", collection, "application/json", Some(object)).await
}
