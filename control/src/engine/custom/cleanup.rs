//! The end of definitions: their objects go first.

use std::sync::Arc;
use std::time::Duration;

use barepod_kinds::conditions;
use barepod_kinds::kinds::definition::FINALIZER;
use barepod_store::Range;
use jiff::Timestamp;
use serde_json::Value;

use super::definition;
use crate::engine::delete::Removal;
use crate::engine::head::parse;
use crate::engine::identity::User;
use crate::engine::options::WriteOptions;
use crate::engine::registry::Kind;
use crate::engine::request::Request;
use crate::engine::status::ApiResult;
use crate::engine::update::{Edit, Update};
use crate::engine::{Engine, Target, meta};

/// How long objects that are held by others are waited for before the next look.
const AGAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Removes the objects of definitions that go away, and then the definitions. Ends with the store.
    pub async fn clean_definitions(&self) {
        let Some(kind) = self
            .registry
            .find_any("apiextensions.k8s.io", "customresourcedefinitions")
        else {
            return;
        };
        loop {
            let page = self.store.range(&Range {
                prefix: &kind.prefix,
                ..Range::default()
            });
            let Ok(page) = page else { return };
            let Ok(mut watcher) = self.store.watch(&kind.prefix, page.revision) else {
                continue;
            };
            let mut left = false;
            for object in &page.objects {
                let definition = parse(object);
                if definition["metadata"]["deletionTimestamp"].is_null() {
                    continue;
                }
                let cleaned = self.clean(kind, &definition).await;
                left |= cleaned.unwrap_or_else(|error| {
                    tracing::warn!(%error, definition = object.key(), "the objects of a definition cannot be removed");
                    true
                });
            }
            let changed = watcher.next();
            let event = match left {
                true => tokio::time::timeout(AGAIN, changed).await,
                false => Ok(changed.await),
            };
            if matches!(event, Ok(None)) && !watcher.lagged() {
                return;
            }
        }
    }

    /// Does what can be done for one definition; true if something is left to do.
    async fn clean(&self, kind: &Arc<Kind>, definition: &Value) -> ApiResult<bool> {
        let name = meta::text(definition, "name");
        let held = definition["metadata"]["finalizers"].as_array();
        if !held.is_some_and(|held| held.contains(&FINALIZER.into())) {
            return Ok(false);
        }
        let left = self.remove_instances(definition).await?;
        let (status, reason, message) = match left {
            true => (
                "True",
                "InstanceDeletionInProgress",
                "CustomResource deletion is in progress",
            ),
            false => ("False", "InstanceDeletionCompleted", "removed all instances"),
        };
        let current = conditions::find(definition, "Terminating");
        if current.is_none_or(|current| current["reason"] != reason) {
            let set = |new: &mut Value| conditions::set(new, "Terminating", status, reason, message, Timestamp::now());
            self.write_definition(kind, name, "status", &set).await?;
        }
        if left {
            return Ok(true);
        }
        let release = |new: &mut Value| {
            if let Some(list) = new.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut) {
                list.retain(|finalizer| finalizer != FINALIZER);
            }
        };
        self.write_definition(kind, name, "", &release).await?;
        self.accept_others(kind, definition).await?;
        Ok(false)
    }

    /// Starts the removal of every object; true if there are still some.
    async fn remove_instances(&self, definition: &Value) -> ApiResult<bool> {
        let (spec, removal, request) = (&definition["spec"], Removal::default(), own_request());
        // One version is as good as another, served or not.
        let Some(kind) = definition::any_kind(definition) else {
            return Ok(false);
        };
        let prefix = format!(
            "/{}/{}/",
            spec["group"].as_str().unwrap_or(""),
            spec["names"]["plural"].as_str().unwrap_or("")
        );
        let page = self.store.range(&Range {
            prefix: &prefix,
            ..Range::default()
        });
        for object in page.unwrap_or_default().objects {
            let object = parse(&object);
            let target = Target {
                kind: &kind,
                namespace: meta::text(&object, "namespace"),
                name: meta::text(&object, "name"),
            };
            match self.remove(&request, target, &removal).await {
                Err(error) if error.code == 404 => {}
                removed => drop(removed?),
            }
        }
        Ok(self.store.count(&prefix) > 0)
    }

    /// Lets definitions that waited for names of one that is gone have them.
    async fn accept_others(&self, kind: &Arc<Kind>, gone: &Value) -> ApiResult<()> {
        for other in self.stored(&kind.prefix) {
            let other = parse(&other);
            let waits = conditions::find(&other, "NamesAccepted").is_some_and(|names| names["status"] == "False");
            if waits && other["spec"]["group"] == gone["spec"]["group"] {
                // Every update looks anew at which names are free.
                self.write_definition(kind, meta::text(&other, "name"), "", &|_| {})
                    .await?;
            }
        }
        Ok(())
    }

    async fn write_definition(
        &self,
        kind: &Arc<Kind>,
        name: &str,
        subresource: &str,
        change: &(dyn Fn(&mut Value) + Sync),
    ) -> ApiResult<()> {
        let request = own_request();
        let options = WriteOptions::parse(&request, "UpdateOptions")?;
        let target = Target {
            kind,
            namespace: "",
            name,
        };
        let update = Update {
            subresource,
            book: false,
            replace: false,
        };
        let mut change = |old: &Value| {
            let mut new = old.clone();
            change(&mut new);
            meta::of(&mut new).remove("resourceVersion");
            Ok(new)
        };
        let edit = Edit::Stored(&mut change);
        match self.update_with(&request, target, &options, update, edit).await {
            Err(error) if error.code == 404 => Ok(()),
            written => written.map(drop),
        }
    }
}

/// What the server does by itself it does as itself.
fn own_request() -> Request {
    let (parts, ()) = http::Request::new(()).into_parts();
    Request::new(&parts, User::internal("system:apiserver").into(), Default::default())
}
