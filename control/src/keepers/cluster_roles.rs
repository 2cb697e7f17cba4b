//! Keeps the rules of aggregated ClusterRoles the sum of the roles they select.

use std::sync::Arc;
use std::time::Duration;

use barepod_auth::rbac::{GROUP, aggregated};
use barepod_store::{Event, Object};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{Keeper, settled};
use crate::engine::{Engine, parse};
use crate::internal::call_as;

/// The keeper. Its one key stands for all roles.
pub(super) struct ClusterRoles;

const MANAGER: &str = "clusterrole-aggregation-controller";

impl Keeper for ClusterRoles {
    fn prefixes(&self) -> &'static [&'static str] {
        &["/rbac.authorization.k8s.io/clusterroles/"]
    }

    fn keys(&self, _: &Engine, _: &Event) -> Vec<String> {
        vec![String::new()]
    }

    fn first(&self, _: &Engine, _: &Arc<Object>) -> Vec<String> {
        vec![String::new()]
    }

    fn keep<'a>(&'a self, engine: &'a Arc<Engine>, _: &'a str) -> BoxFuture<'a, anyhow::Result<Option<Duration>>> {
        Box::pin(async move {
            let roles: Vec<Value> = engine
                .stored("/rbac.authorization.k8s.io/clusterroles/")
                .iter()
                .map(|object| parse(object))
                .collect();
            for role in &roles {
                let Some(rules) = aggregated(role, roles.iter()) else {
                    continue;
                };
                let empty = Vec::new();
                if role["rules"].as_array().unwrap_or(&empty) == &rules {
                    continue;
                }
                let metadata = &role["metadata"];
                let path = format!(
                    "/apis/{GROUP}/v1/clusterroles/{}",
                    metadata["name"].as_str().unwrap_or("")
                );
                let patch = json!({"metadata": {"resourceVersion": metadata["resourceVersion"]}, "rules": rules});
                let media = "application/merge-patch+json";
                let (code, answer) = call_as(engine, MANAGER, "PATCH", &path, media, Some(&patch)).await?;
                settled(code, &answer, "write the rules of an aggregated role")?;
            }
            Ok(None)
        })
    }
}
