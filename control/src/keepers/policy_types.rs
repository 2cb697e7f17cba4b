//! Says in the status of validating policies what is wrong with their expressions in view of the kinds that they name.

use std::sync::Arc;
use std::time::Duration;

use barepod_admission::policy::{Subject, named, warnings};
use barepod_store::{Event, EventKind, Object};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{Keeper, settled};
use crate::engine::{Engine, parse};
use crate::internal::call_as;

/// The keeper. Its keys are those of policies.
pub(super) struct PolicyTypes;

const MANAGER: &str = "validatingadmissionpolicy-status-controller";
const POLICIES: &str = "/admissionregistration.k8s.io/validatingadmissionpolicies/";
const API_VERSION: &str = "admissionregistration.k8s.io/v1";

impl Keeper for PolicyTypes {
    fn prefixes(&self) -> &'static [&'static str] {
        &[POLICIES]
    }

    fn keys(&self, _: &Engine, event: &Event) -> Vec<String> {
        let gone = event.kind == EventKind::Deleted;
        if gone {
            Vec::new()
        } else {
            vec![event.object.key().to_owned()]
        }
    }

    fn first(&self, _: &Engine, object: &Arc<Object>) -> Vec<String> {
        vec![object.key().to_owned()]
    }

    fn keep<'a>(&'a self, engine: &'a Arc<Engine>, key: &'a str) -> BoxFuture<'a, anyhow::Result<Option<Duration>>> {
        Box::pin(async move {
            let Some(policy) = engine.stored_one(key) else {
                return Ok(None);
            };
            let policy = parse(&policy);
            let number = |value: &Value| value.as_i64().unwrap_or(0);
            let generation = number(&policy["metadata"]["generation"]);
            if generation <= number(&policy["status"]["observedGeneration"]) {
                return Ok(None);
            }
            let name = policy["metadata"]["name"].as_str().unwrap_or("");
            let path = format!(
                "/apis/{API_VERSION}/validatingadmissionpolicies/{name}/status?fieldManager={MANAGER}&force=true"
            );
            let found = check(engine, &policy);
            let checked = if found.is_empty() {
                json!({})
            } else {
                json!({"expressionWarnings": found})
            };
            let status = json!({
                "apiVersion": API_VERSION, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
                "status": {"observedGeneration": generation, "typeChecking": checked},
            });
            let media = "application/apply-patch+yaml";
            let (code, answer) = call_as(engine, MANAGER, "PATCH", &path, media, Some(&status)).await?;
            settled(code, &answer, "write the status of a policy")?;
            Ok(None)
        })
    }
}

fn check(engine: &Engine, policy: &Value) -> Vec<Value> {
    let subjects = named(policy).into_iter().filter_map(|(group, version, resource)| {
        let kind = engine.find(&group, &version, &resource)?;
        let decl = kind.declared()?;
        let kind = kind.resource.kind.to_string();
        Some(Subject {
            group,
            version,
            kind,
            decl,
        })
    });
    let wanted = &policy["spec"]["paramKind"];
    let params = wanted["kind"].as_str().and_then(|kind| {
        let api_version = wanted["apiVersion"].as_str().unwrap_or("");
        engine.kind_named(api_version, kind)?.declared()
    });
    warnings(policy, subjects.collect(), params.as_ref())
}
