//! Keeping the memory up to date.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::grpc::{CallError, Channel};
use super::messages::{self, RangeRequest, RangeResponse, WatchEvent, WatchResponse, range_end};
use super::{CALL, RANGE, Shared, WATCH};
use crate::range::Objects;
use crate::{Event, EventKind, Object};

/// How many objects are read at a time.
const PAGE: u64 = 1000;
/// The status `OUT_OF_RANGE`: the revision is compacted.
const OUT_OF_RANGE: u32 = 11;
/// How long it takes to the next try, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Reads everything below the prefix, at one revision.
pub(super) async fn load(channel: &Channel, prefix: &str) -> Result<(Objects, u64), CallError> {
    loop {
        match load_once(channel, prefix).await {
            // It took so long that the first page's revision is gone.
            Err(CallError::Refused { code: OUT_OF_RANGE, .. }) => {}
            result => return result,
        }
    }
}

async fn load_once(channel: &Channel, prefix: &str) -> Result<(Objects, u64), CallError> {
    let mut objects = Objects::new();
    let mut revision = 0;
    let mut key = format!("{prefix}/").into_bytes();
    let end = range_end(&key);
    loop {
        let request = RangeRequest {
            key: &key,
            range_end: &end,
            limit: PAGE,
            revision,
            ..RangeRequest::default()
        };
        let answer = channel.call(RANGE, &request.encode(), CALL).await?;
        let answer = RangeResponse::decode(&answer).map_err(|cause| CallError::Malformed { path: RANGE, cause })?;
        if revision == 0 {
            revision = answer.revision;
        }
        for kv in &answer.kvs {
            if let Some(key) = object_key(prefix, kv.key)
                && let Some(object) = Object::from_text(key.into(), kv.created, kv.modified, kv.value)
            {
                objects.insert(object.shared_key(), Arc::new(object));
            }
        }
        match answer.kvs.last() {
            Some(last) if answer.more => {
                key = last.key.to_vec();
                key.push(0);
            }
            _ => return Ok((objects, revision)),
        }
    }
}

/// The key of an object, without the prefix; `None` for what is no object.
fn object_key<'a>(prefix: &str, key: &'a [u8]) -> Option<&'a str> {
    let key = std::str::from_utf8(key).ok()?.strip_prefix(prefix)?;
    (!key.starts_with("/.")).then_some(key)
}

/// Follows until the task is ended.
pub(super) async fn follow(shared: Arc<Shared>) {
    let mut pause = BACKOFF.0;
    loop {
        let before = *shared.applied.borrow();
        let error = match watch(&shared).await {
            Ok(Ended::Compacted) => match reload(&shared).await {
                Ok(()) => continue,
                Err(error) => error,
            },
            Ok(Ended::Canceled(message)) => CallError::Refused {
                path: WATCH,
                code: 0,
                message,
            },
            Err(error) => error,
        };
        if *shared.applied.borrow() > before {
            pause = BACKOFF.0;
        }
        tracing::warn!(%error, retry_ms = pause.as_millis(), "etcd cannot be followed");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}

enum Ended {
    /// What comes next is not there any more.
    Compacted,
    /// etcd ended the watch.
    Canceled(String),
}

async fn watch(shared: &Shared) -> Result<Ended, CallError> {
    let prefix = format!("{}/", shared.prefix);
    let next = *shared.applied.borrow() + 1;
    let request = messages::watch(prefix.as_bytes(), &range_end(prefix.as_bytes()), next);
    let mut stream = shared.channel.stream(WATCH, &request).await?;
    while let Some(message) = stream.next().await? {
        let response = WatchResponse::decode(&message).map_err(|cause| CallError::Malformed { path: WATCH, cause })?;
        if response.compact_revision != 0 {
            return Ok(Ended::Compacted);
        }
        if response.canceled {
            return Ok(Ended::Canceled(response.reason));
        }
        if !response.events.is_empty() {
            apply(shared, &response.events);
        }
    }
    Ok(Ended::Canceled("the stream ended".to_owned()))
}

/// Begins anew: the events in between are not to be had.
async fn reload(shared: &Shared) -> Result<(), CallError> {
    let (objects, revision) = load(&shared.channel, &shared.prefix).await?;
    shared.memory.replace(objects, revision);
    shared.applied.send_replace(revision);
    Ok(())
}

/// Makes the events of one response visible, all at once.
fn apply(shared: &Shared, changes: &[WatchEvent<'_>]) {
    let mut events = Vec::with_capacity(changes.len());
    {
        // Only this task writes to the memory, so what is read here stays true until it is published.
        let state = shared.memory.state();
        let mut touched: HashMap<&str, Option<Arc<Object>>> = HashMap::new();
        for change in changes {
            let Some(key) = object_key(&shared.prefix, change.kv.key) else {
                continue;
            };
            let previous = match touched.get(key) {
                Some(touched) => touched.clone(),
                None => state.get(key).cloned(),
            };
            let Some(event) = event(key, change, previous) else {
                continue;
            };
            let now = (event.kind != EventKind::Deleted).then(|| event.object.clone());
            touched.insert(key, now);
            events.push(Arc::new(event));
        }
    }
    let revision = changes.iter().map(|change| change.kv.modified).max().unwrap_or(0);
    shared.memory.publish(&events, || ());
    shared.memory.advance(revision);
    shared.applied.send_replace(revision);
}

fn event(key: &str, change: &WatchEvent<'_>, previous: Option<Arc<Object>>) -> Option<Event> {
    let kv = &change.kv;
    let (kind, object) = match (change.deleted, &previous) {
        (true, previous) => (EventKind::Deleted, previous.as_ref()?.at(kv.modified)),
        (false, previous) => {
            let known = previous.as_ref().map(|object| object.shared_key());
            let object = Object::from_text(known.unwrap_or_else(|| key.into()), kv.created, kv.modified, kv.value)?;
            let added = previous.is_none();
            (if added { EventKind::Added } else { EventKind::Modified }, object)
        }
    };
    Some(Event {
        kind,
        object: Arc::new(object),
        previous,
    })
}
