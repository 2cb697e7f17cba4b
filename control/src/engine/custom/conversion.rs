//! Conversion of custom resources by webhooks.
//!
//! Lists and events ask for many objects at once; answers about single ones are kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use barepod_store::{Range, Store};
use serde_json::{Value, json};

use crate::engine::call::Place;
use crate::engine::head::parse;
use crate::engine::locate::Lookup;
use crate::engine::meta;
use crate::engine::status::{ApiError, ApiResult};
use crate::http::Extensions;

/// How long a webhook may take.
const SECONDS: u64 = 30;
/// How many objects are sent at once.
pub(in crate::engine) const TOGETHER: usize = 500;
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
    known: Mutex<HashMap<(String, String), Value>>,
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

    /// Objects in another version.
    pub(super) async fn convert(&self, objects: &[&Value], api_version: &str) -> ApiResult<Vec<Value>> {
        let key = match objects {
            [object] => Some((object.to_string(), api_version.to_owned())).filter(|(text, _)| text.len() <= KEPT_BYTES),
            _ => None,
        };
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = key.as_ref().and_then(|key| known().get(key).cloned()) {
            return Ok(vec![found]);
        }
        let mut converted = Vec::with_capacity(objects.len());
        for part in objects.chunks(TOGETHER) {
            let answer = self.call(part, api_version).await;
            converted.extend(answer.map_err(|why| self.failed(&part[0]["apiVersion"], &why))?);
        }
        if let (Some(key), [converted]) = (key, converted.as_slice()) {
            let mut known = known();
            if known.len() >= KEPT {
                known.clear();
            }
            known.insert(key, converted.clone());
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
        let mut answer = place
            .post(&self.caller.extensions, "conversion", SECONDS, &review)
            .await?;
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
