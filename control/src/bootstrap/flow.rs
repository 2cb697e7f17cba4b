//! The default FlowSchemas and PriorityLevelConfigurations.

use anyhow::bail;
use barepod_auth::flow::{Default, GROUP, defaults};
use futures_util::future::try_join_all;

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

async fn ensure_one(engine: &Engine, wanted: &Default) -> anyhow::Result<()> {
    let resource = if wanted.is_schema() {
        "flowschemas"
    } else {
        "prioritylevelconfigurations"
    };
    let collection = format!("/apis/{GROUP}/v1/{resource}");
    let path = format!("{collection}/{}", wanted.name());
    // Somebody else may write at the same time: another replica, an administrator.
    for _ in 0..3 {
        let media = "application/json";
        let (code, answer) = match engine.lookup(GROUP, resource, "", wanted.name()) {
            Err(_) => call(engine, "POST", &collection, media, Some(&wanted.object)).await?,
            Ok(present) => match wanted.correct(&present) {
                Some(next) => call(engine, "PUT", &path, media, Some(&next)).await?,
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
