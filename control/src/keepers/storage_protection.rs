//! Lets claims go when no pod uses them any more, volumes when no claim has them, and classes of attributes when neither
//! claims nor volumes name them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use barepod_store::{Event, EventKind, Object};
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::{Keeper, is_held, place, release};
use crate::engine::{Engine, parse};

const CLAIMS: &str = "/persistentvolumeclaims/";
const VOLUMES: &str = "/persistentvolumes/";
const CLASSES: &str = "/storage.k8s.io/volumeattributesclasses/";
const PODS: &str = "/pods/";
const OF_CLAIMS: &str = "kubernetes.io/pvc-protection";
const OF_VOLUMES: &str = "kubernetes.io/pv-protection";
const OF_CLASSES: &str = "kubernetes.io/vac-protection";

/// The keeper. Its keys are those of the store.
#[derive(Default)]
pub(super) struct StorageProtection {
    /// Namespaces with claims that wait for pods: only there pods are of interest.
    waiting: Mutex<HashSet<String>>,
}

impl StorageProtection {
    fn claims_of(&self, engine: &Engine, namespace: &str) -> Vec<String> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.contains(namespace) {
            return Vec::new();
        }
        let claims = engine.stored(&format!("{CLAIMS}{namespace}/"));
        claims.iter().map(|claim| claim.key().to_owned()).collect()
    }
}

/// Whether a pod that has not ended uses the claim.
fn uses(pod: &Value, claim: &str) -> bool {
    if matches!(
        pod.pointer("/status/phase").and_then(Value::as_str),
        Some("Succeeded" | "Failed")
    ) {
        return false;
    }
    let pod_name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
    let volumes = pod
        .pointer("/spec/volumes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    volumes.into_iter().any(|volume| {
        let named = volume
            .pointer("/persistentVolumeClaim/claimName")
            .and_then(Value::as_str);
        let own = volume.get("ephemeral").is_some_and(|it| !it.is_null());
        named == Some(claim) || (own && claim == format!("{pod_name}-{}", volume["name"].as_str().unwrap_or("")))
    })
}

/// Whether a claim or a volume names the class.
fn names(object: &Value, class: &str) -> bool {
    let places = [
        "/spec/volumeAttributesClassName",
        "/status/currentVolumeAttributesClassName",
        "/status/modifyVolumeStatus/targetVolumeAttributesClassName",
    ];
    let mut named = places.iter().filter_map(|place| object.pointer(place));
    named.any(|name| name == class)
}

impl Keeper for StorageProtection {
    fn prefixes(&self) -> &'static [&'static str] {
        &[CLAIMS, VOLUMES, CLASSES, PODS]
    }

    fn keys(&self, engine: &Engine, event: &Event) -> Vec<String> {
        let key = event.object.key();
        let Some((namespace, _)) = place(PODS, key) else {
            let mut keys = if event.kind == EventKind::Deleted {
                Vec::new()
            } else {
                self.first(engine, &event.object)
            };
            if event.kind != EventKind::Added && !key.starts_with(CLASSES) {
                keys.extend(engine.stored(CLASSES).iter().map(|class| class.key().to_owned()));
            }
            return keys;
        };
        let ended = event.kind == EventKind::Deleted
            || matches!(
                engine.field(&event.object, "pods", "status.phase").as_deref(),
                Some("Succeeded" | "Failed")
            );
        if ended {
            self.claims_of(engine, namespace)
        } else {
            Vec::new()
        }
    }

    fn first(&self, _: &Engine, object: &Arc<Object>) -> Vec<String> {
        let key = object.key();
        if key.starts_with(PODS) {
            Vec::new()
        } else {
            vec![key.to_owned()]
        }
    }

    fn keep<'a>(&'a self, engine: &'a Arc<Engine>, key: &'a str) -> BoxFuture<'a, anyhow::Result<Option<Duration>>> {
        Box::pin(async move {
            let Some(stored) = engine.stored_one(key) else {
                return Ok(None);
            };
            let object = parse(&stored);
            let (finalizer, path, manager) = if let Some((namespace, name)) = place(CLAIMS, key) {
                if !is_held(&object, OF_CLAIMS) {
                    return Ok(None);
                }
                let pods = engine.stored(&format!("{PODS}{namespace}/"));
                let used = pods.iter().any(|pod| uses(&parse(pod), name));
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if used {
                    waiting.insert(namespace.to_owned());
                    return Ok(None);
                }
                drop(waiting);
                let path = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}");
                (OF_CLAIMS, path, "pvc-protection-controller")
            } else if let Some(name) = key.strip_prefix(CLASSES) {
                let named = |prefix| engine.stored(prefix).iter().any(|it| names(&parse(it), name));
                if !is_held(&object, OF_CLASSES) || named(CLAIMS) || named(VOLUMES) {
                    return Ok(None);
                }
                (
                    OF_CLASSES,
                    format!("/apis/storage.k8s.io/v1/volumeattributesclasses/{name}"),
                    "vac-protection-controller",
                )
            } else {
                let name = key.strip_prefix(VOLUMES).unwrap_or("");
                let bound = object.pointer("/status/phase").and_then(Value::as_str) == Some("Bound");
                if !is_held(&object, OF_VOLUMES) || bound {
                    return Ok(None);
                }
                (
                    OF_VOLUMES,
                    format!("/api/v1/persistentvolumes/{name}"),
                    "pv-protection-controller",
                )
            };
            release(engine, manager, &path, &object, finalizer).await?;
            Ok(None)
        })
    }
}
