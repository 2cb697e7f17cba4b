//! Small controllers that need what only the API server has: its keys, its authorizer, the whole store in memory.
//!
//! Each follows a few prefixes of the store, has no cache, and writes through the engine like everybody else. All are
//! safe to run in several replicas: they only ever write what is missing.

mod api_services;
mod certificates;
mod cluster_roles;
mod flow_schemas;
mod legacy_tokens;
mod policy_types;
mod service_addresses;
mod storage_protection;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use barepod_kinds::time::rfc3339;
use barepod_store::{Event, Range, Store, Watcher};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::engine::Engine;
use crate::internal::call_as;

/// How soon something that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// One small controller.
trait Keeper: Send + Sync {
    /// The prefixes it follows, each ending in a slash.
    fn prefixes(&self) -> &'static [&'static str];

    /// What has to be looked at after an event: keys of its own making.
    fn keys(&self, engine: &Engine, event: &Event) -> Vec<String>;

    /// What has to be looked at in the beginning, for an object that is there.
    fn first(&self, engine: &Engine, object: &Arc<barepod_store::Object>) -> Vec<String>;

    /// Looks at one of them and puts it right. Tells when to look again, if time alone changes something.
    fn keep<'a>(&'a self, engine: &'a Arc<Engine>, key: &'a str) -> BoxFuture<'a, anyhow::Result<Option<Duration>>>;
}

/// Runs all of them until the store is closed or the future is dropped.
pub async fn run(engine: Arc<Engine>, store: Arc<dyn Store>) {
    if let Err(error) = api_services::register_built_in(&engine).await {
        tracing::warn!(
            error = &*error as &dyn std::error::Error,
            "not all groups are listed as APIServices"
        );
    }
    let keepers: [&dyn Keeper; 8] = [
        &api_services::ApiServices,
        &certificates::Certificates,
        &cluster_roles::ClusterRoles,
        &flow_schemas::FlowSchemas,
        &legacy_tokens::LegacyTokens,
        &policy_types::PolicyTypes,
        &service_addresses::ServiceAddresses,
        &storage_protection::StorageProtection::default(),
    ];
    futures_util::future::join_all(keepers.map(|keeper| drive(keeper, &engine, &*store))).await;
}

/// Keys that are to be looked at, at once or later.
#[derive(Default)]
struct Work {
    now: BTreeSet<String>,
    later: BTreeMap<String, Instant>,
}

impl Work {
    fn due(&self) -> Option<Instant> {
        self.later.values().min().copied()
    }

    fn wake(&mut self) {
        let now = Instant::now();
        let due: Vec<String> = self
            .later
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.later.remove(&key);
            self.now.insert(key);
        }
    }
}

async fn drive(keeper: &dyn Keeper, engine: &Arc<Engine>, store: &dyn Store) {
    let mut work = Work::default();
    'begin: loop {
        let mut watchers = Vec::new();
        for prefix in keeper.prefixes() {
            let range = Range {
                prefix,
                ..Range::default()
            };
            let Ok(page) = store.range(&range) else { continue 'begin };
            let Ok(watcher) = store.watch(prefix, page.revision) else {
                continue 'begin;
            };
            for object in &page.objects {
                work.now.extend(keeper.first(engine, object));
            }
            watchers.push(watcher);
        }
        loop {
            while let Some(key) = work.now.pop_first() {
                let again = match keeper.keep(engine, &key).await {
                    Ok(again) => again,
                    Err(error) => {
                        tracing::warn!(key, error = &*error as &dyn std::error::Error, "it is tried again");
                        Some(RETRY)
                    }
                };
                if let Some(after) = again {
                    work.later.insert(key, Instant::now() + after);
                }
            }
            let due = work.due();
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => work.wake(),
                heard = hear(keeper, engine, &mut watchers, &mut work) => match heard {
                    Heard::Something => {}
                    Heard::TooLate => continue 'begin,
                    Heard::End => return,
                },
            }
        }
    }
}

enum Heard {
    Something,
    /// Something was missed.
    TooLate,
    End,
}

/// Waits for events that are worth a look.
async fn hear(keeper: &dyn Keeper, engine: &Engine, watchers: &mut [Watcher], work: &mut Work) -> Heard {
    std::future::poll_fn(|context| {
        for watcher in watchers.iter_mut() {
            loop {
                match watcher.poll_next(context) {
                    Poll::Ready(Some(delivery)) => work.now.extend(keeper.keys(engine, &delivery.event)),
                    Poll::Ready(None) if watcher.lagged() => return Poll::Ready(Heard::TooLate),
                    Poll::Ready(None) => return Poll::Ready(Heard::End),
                    Poll::Pending => break,
                }
            }
        }
        if work.now.is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(Heard::Something)
        }
    })
    .await
}

/// Namespace and name of a key below a prefix.
fn place<'a>(prefix: &str, key: &'a str) -> Option<(&'a str, &'a str)> {
    key.strip_prefix(prefix)?.split_once('/')
}

/// Whether an object is being deleted.
fn is_leaving(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// Whether the object is being deleted and waits for this.
fn is_held(object: &Value, finalizer: &str) -> bool {
    let own = object["metadata"]["finalizers"].as_array();
    is_leaving(object) && own.is_some_and(|own| own.iter().any(|own| own == finalizer))
}

/// Takes a finalizer off the object at `path`.
async fn release(engine: &Engine, manager: &str, path: &str, object: &Value, finalizer: &str) -> anyhow::Result<()> {
    let metadata = &object["metadata"];
    let rest: Vec<&Value> = metadata["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|own| *own != finalizer)
        .collect();
    let patch = json!({"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": rest}});
    let media = "application/merge-patch+json";
    let (code, answer) = call_as(engine, manager, "PATCH", path, media, Some(&patch)).await?;
    settled(code, &answer, "take a finalizer off")
}

/// An answer that is as good as it gets: done, gone, or changed by somebody else, of which there will be an event.
fn settled(code: u16, answer: &Value, what: &str) -> anyhow::Result<()> {
    match code {
        200 | 201 | 404 | 409 => Ok(()),
        _ => anyhow::bail!(
            "{what}: {}",
            answer["message"].as_str().unwrap_or("no reason was given")
        ),
    }
}

/// What a keeper says about an object.
struct Condition<'a> {
    type_: &'a str,
    status: &'a str,
    reason: &'a str,
    message: &'a str,
}

/// Writes a condition into the status of the object at `path`, if it is not there like this.
async fn tell(
    engine: &Engine,
    manager: &str,
    path: &str,
    object: &Value,
    condition: Condition<'_>,
) -> anyhow::Result<()> {
    let Condition {
        type_,
        status,
        reason,
        message,
    } = condition;
    let empty = Vec::new();
    let conditions = object["status"]["conditions"].as_array().unwrap_or(&empty);
    let present = conditions.iter().find(|it| it["type"] == type_);
    if present.is_some_and(|it| it["status"] == status && it["reason"] == reason && it["message"] == message) {
        return Ok(());
    }
    let since = match present.filter(|it| it["status"] == status) {
        Some(present) => present["lastTransitionTime"].clone(),
        None => rfc3339(Timestamp::now()).into(),
    };
    let condition = json!({
        "type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": since,
    });
    let others = conditions.iter().filter(|it| it["type"] != type_).cloned();
    let conditions: Vec<Value> = others.chain([condition]).collect();
    let patch = json!({
        "metadata": {"resourceVersion": object["metadata"]["resourceVersion"]},
        "status": {"conditions": conditions},
    });
    let media = "application/merge-patch+json";
    let (code, answer) = call_as(engine, manager, "PATCH", &format!("{path}/status"), media, Some(&patch)).await?;
    settled(code, &answer, "write a condition")
}
