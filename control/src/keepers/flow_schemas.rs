//! Says of each FlowSchema whether the priority level that it names is there.

use std::sync::Arc;
use std::time::Duration;

use barepod_store::{Event, Object};
use futures_util::future::BoxFuture;

use super::{Condition, Keeper, tell};
use crate::engine::{Engine, parse};

/// The keeper. Its keys are names of FlowSchemas.
pub(super) struct FlowSchemas;

const SCHEMAS: &str = "/flowcontrol.apiserver.k8s.io/flowschemas/";
const LEVELS: &str = "/flowcontrol.apiserver.k8s.io/prioritylevelconfigurations/";
const MANAGER: &str = "api-priority-and-fairness-config-consumer-v1";

impl Keeper for FlowSchemas {
    fn prefixes(&self) -> &'static [&'static str] {
        &[SCHEMAS, LEVELS]
    }

    fn keys(&self, engine: &Engine, event: &Event) -> Vec<String> {
        match event.object.key().strip_prefix(SCHEMAS) {
            Some(name) => vec![name.to_owned()],
            None => engine
                .stored(SCHEMAS)
                .iter()
                .filter_map(|schema| schema.key().strip_prefix(SCHEMAS).map(str::to_owned))
                .collect(),
        }
    }

    fn first(&self, _: &Engine, object: &Arc<Object>) -> Vec<String> {
        let name = object.key().strip_prefix(SCHEMAS);
        name.map(str::to_owned).into_iter().collect()
    }

    fn keep<'a>(&'a self, engine: &'a Arc<Engine>, name: &'a str) -> BoxFuture<'a, anyhow::Result<Option<Duration>>> {
        Box::pin(async move {
            let Some(stored) = engine.stored_one(&format!("{SCHEMAS}{name}")) else {
                return Ok(None);
            };
            let schema = parse(&stored);
            let level = schema["spec"]["priorityLevelConfiguration"]["name"]
                .as_str()
                .unwrap_or("");
            let there = engine.stored_one(&format!("{LEVELS}{level}")).is_some();
            let (status, reason, message) = if there {
                let message = format!(
                    "This FlowSchema references the PriorityLevelConfiguration object named {level:?} and it exists"
                );
                ("False", "Found", message)
            } else {
                let message = format!(
                    "This FlowSchema references the PriorityLevelConfiguration object named {level:?} but there is no such object"
                );
                ("True", "NotFound", message)
            };
            let path = format!("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/{name}");
            let condition = Condition {
                type_: "Dangling",
                status,
                reason,
                message: &message,
            };
            tell(engine, MANAGER, &path, &schema, condition).await?;
            Ok(None)
        })
    }
}
