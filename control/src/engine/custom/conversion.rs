//! Conversion of custom resources by webhooks.
//!
//! Objects are shown in the middle of work that does not wait for anything else: lists, events, tables. A call therefore
//! holds its thread, which the runtime replaces meanwhile; lists ask for many objects at once, and answers are kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use barepod_store::{Range, Store};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Handle, RuntimeFlavor};

use crate::engine::call::Place;
use crate::engine::head::parse;
use crate::engine::locate::Lookup;
use crate::engine::meta;
use crate::engine::status::{ApiError, ApiResult};
use crate::http::Extensions;

/// How long a webhook may take.
const SECONDS: u64 = 30;
/// How many objects are sent at once.
const TOGETHER: usize = 500;
/// How many answers are kept, and how long the text of an object may be for that.
const KEPT: usize = 1024;
const KEPT_BYTES: usize = 32 << 10;

/// Who calls the webhooks.
#[derive(Clone)]
pub(in crate::engine) struct Caller {
    pub(in crate::engine) store: Arc<dyn Store>,
    pub(in crate::engine) extensions: Arc<Extensions>,
}

impl Lookup for Caller {
    fn lookup(&self, group: &str, resource: &str, namespace: &str, name: &str) -> ApiResult<Value> {
        let key = format!("{}{name}", prefix(group, resource, namespace));
        let missing = || ApiError::unavailable(format!("{resource} {name:?} not found"));
        let found = self.store.get(&key).ok_or_else(missing)?;
        Ok(parse(&found))
    }

    fn lookup_all(&self, group: &str, resource: &str, namespace: &str) -> Vec<Value> {
        let prefix = prefix(group, resource, namespace);
        let range = Range {
            prefix: &prefix,
            ..Range::default()
        };
        let page = self.store.range(&range).unwrap_or_default();
        page.objects.iter().map(|object| parse(object)).collect()
    }
}

fn prefix(group: &str, resource: &str, namespace: &str) -> String {
    match group {
        "" => format!("/{resource}/{namespace}/"),
        group => format!("/{group}/{resource}/{namespace}/"),
    }
}

/// The webhook of a definition.
pub(super) struct Converter {
    caller: Caller,
    kind: String,
    client: Value,
    review_version: &'static str,
    /// By the object's text and the version.
    known: Mutex<HashMap<(String, String), Arc<Value>>>,
}

impl Converter {
    /// The webhook of a definition; `None` if its versions differ in name only.
    pub(super) fn of(definition: &Value, caller: &Caller) -> Option<Arc<Self>> {
        let spec = &definition["spec"];
        let conversion = &spec["conversion"];
        if conversion["strategy"] != "Webhook" {
            return None;
        }
        let known = conversion["webhook"]["conversionReviewVersions"].as_array();
        let known = known.into_iter().flatten().filter_map(Value::as_str);
        let review_version = known.into_iter().find_map(|version| match version {
            "v1" => Some("v1"),
            "v1beta1" => Some("v1beta1"),
            _ => None,
        });
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        Some(Arc::new(Converter {
            caller: caller.clone(),
            kind: text(&spec["names"]["kind"]),
            client: conversion["webhook"]["clientConfig"].clone(),
            review_version: review_version.unwrap_or("v1"),
            known: Mutex::default(),
        }))
    }

    /// An object in another version.
    pub(super) fn convert(&self, object: &Value, api_version: &str) -> ApiResult<Arc<Value>> {
        let key = (object.to_string(), api_version.to_owned());
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().get(&key) {
            return Ok(found.clone());
        }
        let mut converted = self.convert_all(&[object], api_version)?;
        let converted = Arc::new(
            converted
                .pop()
                .ok_or_else(|| self.failed(&object["apiVersion"], "no object came back"))?,
        );
        if key.0.len() <= KEPT_BYTES {
            let mut known = known();
            if known.len() >= KEPT {
                known.clear();
            }
            known.insert(key, converted.clone());
        }
        Ok(converted)
    }

    /// Objects in another version.
    pub(super) fn convert_all(&self, objects: &[&Value], api_version: &str) -> ApiResult<Vec<Value>> {
        let mut converted = Vec::with_capacity(objects.len());
        for part in objects.chunks(TOGETHER) {
            let from = &part[0]["apiVersion"];
            let part = wait(self.call(part, api_version)).map_err(|why| self.failed(from, &why))?;
            converted.extend(part);
        }
        Ok(converted)
    }

    fn failed(&self, from: &Value, why: &str) -> ApiError {
        let from = from.as_str().unwrap_or("");
        ApiError::plain(format!(
            "conversion webhook for {from}, Kind={} failed: {why}",
            self.kind
        ))
    }

    async fn call(&self, objects: &[&Value], api_version: &str) -> Result<Vec<Value>, String> {
        let uid = meta::new_uid();
        let review = json!({
            "kind": "ConversionReview", "apiVersion": format!("apiextensions.k8s.io/{}", self.review_version),
            "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": objects},
        });
        let place = Place::of(&self.caller, &self.client).map_err(|error| error.message)?;
        let answer = place.post(&self.caller.extensions, "conversion", SECONDS, &review);
        let mut answer = match tokio::time::timeout(Duration::from_secs(SECONDS), answer).await {
            Ok(answer) => answer?,
            Err(_) => return Err(format!("no answer within {SECONDS} s")),
        };
        let response = answer["response"].take();
        if response["uid"] != uid.as_str() {
            return Err(format!("expected response.uid={uid:?}, got {}", response["uid"]));
        }
        if response["result"]["status"] != "Success" {
            let why = response["result"]["message"].as_str().unwrap_or("");
            return Err(if why.is_empty() {
                "it gave no reason".to_owned()
            } else {
                why.to_owned()
            });
        }
        let converted = match response["convertedObjects"].as_array() {
            Some(list) if list.len() == objects.len() => list,
            other => {
                let count = other.map_or(0, Vec::len);
                return Err(format!("returned {count} objects, expected {}", objects.len()));
            }
        };
        let pairs = objects.iter().zip(converted).enumerate();
        pairs
            .map(|(at, (old, new))| {
                accept(old, new, api_version)
                    .map_err(|why| format!("returned invalid converted object at index {at}: {why}"))
            })
            .collect()
    }
}

/// What is taken of a converted object: of its metadata only labels and annotations.
fn accept(old: &Value, new: &Value, api_version: &str) -> Result<Value, String> {
    if new["apiVersion"] != api_version {
        return Err(format!(
            "invalid apiVersion {}, expected {api_version:?}",
            new["apiVersion"]
        ));
    }
    if new["kind"] != old["kind"] {
        return Err(format!("invalid kind {}, expected {}", new["kind"], old["kind"]));
    }
    for field in ["name", "namespace", "uid"] {
        let (old, new) = (meta::text(old, field), meta::text(new, field));
        if old != new {
            return Err(format!("metadata.{field} must not change from {old:?} to {new:?}"));
        }
    }
    let mut taken = new.clone();
    let mut metadata = old["metadata"].clone();
    if let Some(map) = metadata.as_object_mut() {
        for field in ["labels", "annotations"] {
            match new["metadata"].get(field).filter(|value| value.is_object()) {
                Some(value) => map.insert(field.into(), value.clone()),
                None => map.remove(field),
            };
        }
    }
    taken["metadata"] = metadata;
    Ok(taken)
}

/// Waits for an answer where nothing else can be waited for.
fn wait<T: Send>(answer: impl Future<Output = Result<T, String>> + Send) -> Result<T, String> {
    if let Ok(handle) = Handle::try_current()
        && handle.runtime_flavor() == RuntimeFlavor::MultiThread
    {
        return tokio::task::block_in_place(|| handle.block_on(answer));
    }
    let alone = || {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(answer)
    };
    let ended = std::thread::scope(|scope| scope.spawn(alone).join());
    ended.unwrap_or_else(|_| Err("the call panicked".to_owned()))
}
