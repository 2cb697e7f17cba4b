//! The default FlowSchemas and PriorityLevelConfigurations.

use barepod_auth::flow::{Default, GROUP, defaults};
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

async fn ensure_one(engine: &Engine, wanted: &Default) -> anyhow::Result<()> {
    let resource = if wanted.is_schema() {
        "flowschemas"
    } else {
        "prioritylevelconfigurations"
    };
    let collection = format!("/apis/{GROUP}/v1/{resource}");
    let present = || engine.lookup(GROUP, resource, "", wanted.name()).ok();
    let next = |present: &Value| wanted.correct(present).map_or(Next::Keep, Next::Write);
    mend(engine, &collection, &wanted.object, &present, &next).await
}
