//! ResourceQuota: room is reserved before an object is stored, and counted anew when objects go.
//!
//! `status.used` of a quota is the reservation. It is written, by compare and swap, before the object is; in a namespace
//! with quotas one such write happens at a time, so that between a reservation and its object nobody counts.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use barepod_admission::quota::{Charged, charge, counts, is_current, total};
use barepod_store::{Change, EventKind, Expect, Object, Range, Watcher, Write};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::OwnedMutexGuard;

use super::encode::encode;
use super::head::{Head, parse};
use super::registry::Kind;
use super::status::{ApiError, ApiResult};
use super::{Engine, Target, storage_error};

/// How often a reservation is tried again when somebody else changes the quota.
const ATTEMPTS: usize = 16;
/// How long removals are gathered before a namespace is counted anew.
const GATHER: Duration = Duration::from_millis(100);

/// One lock for each namespace in which somebody reserves.
#[derive(Default)]
pub(super) struct Locks(Mutex<HashMap<Box<str>, Weak<tokio::sync::Mutex<()>>>>);

impl Locks {
    async fn lock(&self, namespace: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let known = all.get(namespace).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                all.retain(|_, lock| lock.strong_count() > 0);
                let new = Arc::default();
                all.insert(namespace.into(), Arc::downgrade(&new));
                new
            })
        };
        lock.lock_owned().await
    }
}

/// Room that is held for an object until it is stored.
pub(super) struct Reservation {
    namespace: String,
    _lock: OwnedMutexGuard<()>,
}

impl Engine {
    /// Holds room for an object in every quota that counts it. `None` if there is none.
    pub(super) async fn reserve(
        &self,
        target: Target<'_>,
        subresource: &str,
        new: &Value,
        old: Option<&Value>,
        dry_run: bool,
    ) -> ApiResult<Option<Reservation>> {
        let (kind, namespace) = (target.kind, target.namespace);
        let (group, resource) = (&*kind.resource.group, &*kind.resource.plural);
        let counted = |namespace| !self.quotas_on(group, resource, namespace).is_empty();
        if !matches!(subresource, "" | "resize") || namespace.is_empty() || !counted(namespace) {
            return Ok(None);
        }
        let lock = self.quotas.lock(namespace).await;
        'again: for _ in 0..ATTEMPTS {
            let now = Timestamp::now();
            let mut writes = Vec::new();
            for stored in self.quotas_on(group, resource, namespace) {
                let mut quota = parse(&stored);
                if !is_current(&quota) {
                    quota["status"] = self.counted(&quota, namespace, now);
                }
                match charge(&quota, group, resource, new, old, now) {
                    Charged::Not => {}
                    Charged::Refused(why) => return Err(ApiError::forbidden(kind, target.name, &why)),
                    Charged::Used(used) => {
                        quota["status"] = json!({"hard": quota["spec"]["hard"], "used": used});
                        writes.push(write_of(&stored, &quota, self.quota_kind()));
                    }
                }
            }
            if writes.is_empty() {
                return Ok(None);
            }
            if dry_run {
                return Ok(None);
            }
            for written in self.store.write_all(writes).await {
                match written {
                    Ok(_) => {}
                    Err(barepod_store::WriteError::Storage(error)) => return Err(storage_error(&error)),
                    // What was reserved in other quotas is counted anew when the object is stored or not.
                    Err(barepod_store::WriteError::Conflict { .. } | barepod_store::WriteError::Guard) => {
                        self.recount(namespace).await;
                        continue 'again;
                    }
                }
            }
            return Ok(Some(Reservation {
                namespace: namespace.to_owned(),
                _lock: lock,
            }));
        }
        Err(ApiError::conflict(
            kind,
            target.name,
            "the quota is changed all the time",
        ))
    }

    /// Gives back what was held for an object that was not stored.
    pub(super) async fn release(&self, reservation: Reservation) {
        self.recount(&reservation.namespace).await;
    }

    fn quota_kind(&self) -> Option<&Arc<Kind>> {
        self.registry.find_any("", "resourcequotas")
    }

    /// The quotas of a namespace that limit what objects of a resource use.
    fn quotas_on(&self, group: &str, resource: &str, namespace: &str) -> Vec<Arc<Object>> {
        let mut quotas = self.quotas_of(namespace);
        quotas.retain(|quota| counts(&parse(quota)["spec"]["hard"], group, resource));
        quotas
    }

    fn quotas_of(&self, namespace: &str) -> Vec<Arc<Object>> {
        let Some(kind) = self.quota_kind() else {
            return Vec::new();
        };
        let prefix = kind.prefix_in(Some(namespace));
        let range = Range {
            prefix: &prefix,
            ..Range::default()
        };
        self.store.range(&range).map(|page| page.objects).unwrap_or_default()
    }

    /// The status of a quota, counted from what is stored.
    fn counted(&self, quota: &Value, namespace: &str, now: Timestamp) -> Value {
        let hard = &quota["spec"]["hard"];
        let mut objects: Vec<(&str, &str, Value)> = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        // Of custom kinds only the number can be limited.
        let by_number = hard
            .as_object()
            .is_some_and(|hard| hard.keys().any(|key| key.starts_with("count/")));
        let customs = if by_number { self.custom_kinds().1 } else { Vec::new() };
        for kind in self.registry.kinds().iter().chain(&customs) {
            let (group, resource) = (&*kind.resource.group, &*kind.resource.plural);
            // Several versions of a kind share their objects.
            if !kind.resource.namespaced || seen.contains(&kind.prefix.as_str()) || !counts(hard, group, resource) {
                continue;
            }
            seen.push(&kind.prefix);
            let prefix = kind.prefix_in(Some(namespace));
            let range = Range {
                prefix: &prefix,
                ..Range::default()
            };
            let page = self.store.range(&range).unwrap_or_default();
            objects.extend(page.objects.iter().map(|object| (group, resource, parse(object))));
        }
        let objects = objects
            .iter()
            .map(|(group, resource, object)| (*group, *resource, object));
        json!({"hard": hard, "used": total(quota, objects, now)})
    }

    /// Counts a namespace anew. The lock of the namespace has to be held.
    async fn recount(&self, namespace: &str) {
        for _ in 0..ATTEMPTS {
            let now = Timestamp::now();
            let mut writes = Vec::new();
            for stored in self.quotas_of(namespace) {
                let mut quota = parse(&stored);
                let status = self.counted(&quota, namespace, now);
                if quota["status"] != status {
                    quota["status"] = status;
                    writes.push(write_of(&stored, &quota, self.quota_kind()));
                }
            }
            let results = self.store.write_all(writes).await;
            let conflict = |result: &Result<_, _>| matches!(result, Err(barepod_store::WriteError::Conflict { .. }));
            if !results.iter().any(conflict) {
                return;
            }
        }
    }

    /// Keeps `status.used` up to date as objects go or need less. Does nothing as long as there are no quotas. Ends with
    /// the store.
    pub async fn keep_quotas(&self) {
        let Some(quotas) = self.quota_kind().cloned() else {
            return;
        };
        while let Ok(mut watcher) = self.store.watch(&quotas.prefix, self.store.revision()) {
            while self.store.count(&quotas.prefix) == 0 {
                match watcher.next().await {
                    Some(_) => {}
                    None if watcher.lagged() => break,
                    None => return,
                }
            }
            drop(watcher);
            let Ok(watcher) = self.store.watch("/", self.store.revision()) else {
                continue;
            };
            let mut dirty = self.namespaces_with_quotas(&quotas);
            if self.follow(&quotas, watcher, &mut dirty).await {
                return;
            }
        }
    }

    fn namespaces_with_quotas(&self, quotas: &Kind) -> BTreeSet<String> {
        let range = Range {
            prefix: &quotas.prefix,
            ..Range::default()
        };
        let page = self.store.range(&range).unwrap_or_default();
        let namespace = |object: &Arc<Object>| Some(object.key()[quotas.prefix.len()..].split_once('/')?.0.to_owned());
        page.objects.iter().filter_map(namespace).collect()
    }

    /// True when the store is closed, false when there are no quotas any more or something was missed.
    async fn follow(&self, quotas: &Arc<Kind>, mut watcher: Watcher, dirty: &mut BTreeSet<String>) -> bool {
        loop {
            if dirty.is_empty() {
                if self.store.count(&quotas.prefix) == 0 {
                    return false;
                }
                match watcher.next().await {
                    Some(delivery) => self.note(quotas, &delivery.event, dirty),
                    None => return !watcher.lagged(),
                }
                continue;
            }
            tokio::time::sleep(GATHER).await;
            while let Some(delivery) = watcher.try_next() {
                self.note(quotas, &delivery.event, dirty);
            }
            for namespace in std::mem::take(dirty) {
                let _lock = self.quotas.lock(&namespace).await;
                self.recount(&namespace).await;
            }
        }
    }

    /// Notes the namespace of an event after which quotas may count less, or which is about a quota.
    fn note(&self, quotas: &Arc<Kind>, event: &barepod_store::Event, dirty: &mut BTreeSet<String>) {
        let key = event.object.key();
        if let Some(rest) = key.strip_prefix(quotas.prefix.as_str()) {
            let Some((namespace, _)) = rest.split_once('/') else {
                return;
            };
            if event.kind != EventKind::Deleted && !is_current(&parse(&event.object)) {
                dirty.insert(namespace.to_owned());
            }
            return;
        }
        let mut kinds = self.registry.kinds().iter();
        let Some(kind) = kinds.find(|kind| key.starts_with(kind.prefix.as_str())) else {
            return self.note_custom(event, dirty);
        };
        let Some((namespace, _)) = key[kind.prefix.len()..].split_once('/') else {
            return;
        };
        if !kind.resource.namespaced || dirty.contains(namespace) {
            return;
        }
        let (group, resource) = (&*kind.resource.group, &*kind.resource.plural);
        let less = match event.kind {
            EventKind::Added => false,
            EventKind::Deleted => true,
            EventKind::Modified => match resource {
                "pods" => {
                    let phase = |object: &Object| Head::of(kind, object).field("status.phase").map(str::to_owned);
                    let ended = matches!(phase(&event.object).as_deref(), Some("Succeeded" | "Failed"));
                    ended && event.previous.as_ref().and_then(|object| phase(object)) != phase(&event.object)
                }
                "services" | "persistentvolumeclaims" => true,
                _ => false,
            },
        };
        if less && !self.quotas_on(group, resource, namespace).is_empty() {
            dirty.insert(namespace.to_owned());
        }
    }

    /// The same, of an object of a custom kind, whose key says of which one.
    fn note_custom(&self, event: &barepod_store::Event, dirty: &mut BTreeSet<String>) {
        let parts: Vec<&str> = event.object.key().split('/').collect();
        if let (EventKind::Deleted, ["", group, resource, namespace, _]) = (event.kind, parts.as_slice())
            && !dirty.contains(*namespace)
            && !self.quotas_on(group, resource, namespace).is_empty()
        {
            dirty.insert((*namespace).to_owned());
        }
    }
}

fn write_of(stored: &Object, quota: &Value, kind: Option<&Arc<Kind>>) -> Write {
    let mut encoded = encode(quota);
    if let Some(kind) = kind {
        encoded = encoded.with_cached(Head::new(kind, quota).cached());
    }
    Write {
        key: stored.key().to_owned(),
        expect: Expect::Revision(stored.revision()),
        change: Change::Put(encoded),
        guard: None,
    }
}
