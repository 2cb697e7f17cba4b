//! A watch that never ends: first everything there is, then every change.
//!
//! ```text
//! ┌► list ──────────────► watch from its revision ──► changes ─┐ broke off: go on from the last revision
//! └──────── the revision is too old (410) ◄────────────────────┘
//! ```
//! The list comes over the watch itself (KEP-3157) where the server has that, else in pages.

use std::any::Any;
use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt, unfold};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::backoff::Backoff;
use crate::client::{Client, text};
use crate::error::{Error, Status};
use crate::lines::Lines;
use crate::object::{PartialObject, Read, Resource, decode};
use crate::request::Request;
use crate::types::nullable;

/// First and longest delay after a failure.
const DELAYS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// A delay from which on somebody should know of it.
const TELL: Duration = Duration::from_secs(1);
/// Objects in a page of a list.
const PAGE: &str = "500";
/// Marks the bookmark after the last object of a list that came over the watch.
const END: &str = "k8s.io/initial-events-end";

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<K> {
    /// A list begins.
    Init,
    /// One object of the list.
    InitApply(K),
    /// The list is complete: what was not in it is gone.
    InitDone,
    /// An object was added or changed.
    Apply(K),
    /// An object was deleted.
    Delete(K),
}

/// Which objects are watched.
#[derive(Debug, Clone)]
pub struct Selection {
    path: String,
    fields: Option<String>,
    labels: Option<String>,
    metadata: bool,
}

impl Selection {
    /// All objects of a kind.
    #[must_use]
    pub fn all(resource: Resource<'_>) -> Self {
        Self::within(resource, "")
    }

    /// Those of one namespace.
    #[must_use]
    pub fn within(resource: Resource<'_>, namespace: &str) -> Self {
        Self {
            path: resource.collection(namespace),
            fields: None,
            labels: None,
            metadata: false,
        }
    }

    /// Only those whose fields are so, such as `metadata.name=a`.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = Some(selector.into());
        self
    }

    /// Only those with these labels, such as `app=a`.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.labels = Some(selector.into());
        self
    }

    /// Only their metadata.
    #[must_use]
    pub fn metadata(mut self) -> Self {
        self.metadata = true;
        self
    }

    fn request(&self, list: bool) -> Request {
        let mut request = Request::get(self.path.as_str());
        for (name, selector) in [("fieldSelector", &self.fields), ("labelSelector", &self.labels)] {
            if let Some(selector) = selector {
                request = request.query(name, selector);
            }
        }
        match (self.metadata, list) {
            (false, _) => request,
            (true, true) => request.metadata_list(),
            (true, false) => request.metadata(),
        }
    }
}

impl<K> Event<K> {
    fn map<L>(self, convert: impl FnOnce(K) -> L) -> Event<L> {
        match self {
            Self::Init => Event::Init,
            Self::InitApply(object) => Event::InitApply(convert(object)),
            Self::InitDone => Event::InitDone,
            Self::Apply(object) => Event::Apply(convert(object)),
            Self::Delete(object) => Event::Delete(convert(object)),
        }
    }
}

/// An object of whatever kind is watched: the watch itself is in the program once, not once a kind.
type Object = Box<dyn Any + Send>;

/// Reads an object; with it comes its revision.
type Decoder = fn(&str) -> serde_json::Result<(Object, Option<String>)>;

/// Watches. The stream does nothing unless it is polled, and what is between two events is not lost when the wait for
/// the next one is given up.
pub fn watch<K: Read>(client: Client, selection: Selection) -> BoxStream<'static, Event<K>> {
    let decoder: Decoder = |json| {
        let object = K::read(json)?;
        let revision = object.meta().resource_version.clone();
        Ok((Box::new(object), revision))
    };
    let of_kind = |object: Object| *object.downcast::<K>().expect("the decoder makes no other kind");
    events(Watcher::new(client, selection, decoder))
        .map(move |event| event.map(of_kind))
        .boxed()
}

fn events(watcher: Watcher) -> BoxStream<'static, Event<Object>> {
    unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await;
        Some((event, watcher))
    })
    .boxed()
}

struct Watcher {
    client: Client,
    selection: Selection,
    decoder: Decoder,
    /// The server sends lists over watches, as far as is known.
    streams_lists: bool,
    /// Up to where everything is known; `None` before the list is complete.
    revision: Option<String>,
    lines: Option<Lines>,
    /// Something came over the present watch.
    heard: bool,
    ready: VecDeque<Event<Object>>,
    backoff: Backoff,
    delay: Duration,
}

/// A line of a watch.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// A list, or a page of one.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct List<T> {
    /// Where in the whole it stands.
    pub metadata: ListMeta,
    /// The objects. Servers in Go write an empty list as null.
    #[serde(deserialize_with = "nullable")]
    pub items: Vec<T>,
}

/// Metadata of a list.
#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct ListMeta {
    /// The revision that it was read at.
    pub resource_version: String,
    /// The token of the next page; empty if there is none.
    #[serde(rename = "continue")]
    pub next: String,
}

impl Watcher {
    fn new(client: Client, selection: Selection, decoder: Decoder) -> Self {
        Self {
            client,
            selection,
            decoder,
            streams_lists: true,
            revision: None,
            lines: None,
            heard: false,
            ready: VecDeque::new(),
            backoff: Backoff::new(DELAYS.0, DELAYS.1),
            delay: Duration::ZERO,
        }
    }

    async fn next(&mut self) -> Event<Object> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            if !self.delay.is_zero() {
                tokio::time::sleep(std::mem::take(&mut self.delay)).await;
            }
            let done = match &mut self.lines {
                Some(lines) => match lines.next().await {
                    Ok(Some(line)) => self.hear(&line),
                    // Servers end watches now and then; it goes on where it was. One that ends all of them at once is
                    // not asked again and again.
                    Ok(None) => {
                        self.lines = None;
                        if !self.heard {
                            self.delay = self.backoff.step();
                        }
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                None => self.begin().await,
            };
            if let Err(error) = done {
                self.failed(&error);
            }
        }
    }

    async fn begin(&mut self) -> Result<(), Error> {
        let request = match &self.revision {
            Some(revision) => self.selection.request(false).query("resourceVersion", revision),
            None if self.streams_lists => self
                .selection
                .request(false)
                .query("sendInitialEvents", "true")
                .query("resourceVersionMatch", "NotOlderThan"),
            None => return self.list().await,
        };
        let request = request.query("watch", "true").query("allowWatchBookmarks", "true");
        self.lines = Some(self.client.open(request).await?);
        self.heard = false;
        if self.revision.is_none() {
            self.ready.push_back(Event::Init);
        }
        Ok(())
    }

    async fn list(&mut self) -> Result<(), Error> {
        let mut found = VecDeque::from([Event::Init]);
        let mut next = String::new();
        loop {
            let mut request = self.selection.request(true).query("limit", PAGE);
            if !next.is_empty() {
                request = request.query("continue", &next);
            }
            let answer = self.client.fetch(request).await?;
            let list: List<&RawValue> = decode(text(&answer)?).map_err(Error::Decode)?;
            let objects = list.items.iter().filter_map(|it| self.object(it));
            found.extend(objects.map(|(object, _)| Event::InitApply(object)));
            next = list.metadata.next;
            if next.is_empty() {
                found.push_back(Event::InitDone);
                self.revision = Some(list.metadata.resource_version);
                self.ready = found;
                self.backoff.reset();
                return Ok(());
            }
        }
    }

    /// One that cannot be read is left out: reading it again would not help, and the others can be.
    fn object(&self, json: &RawValue) -> Option<(Object, Option<String>)> {
        let read = (self.decoder)(json.get());
        if let Err(error) = &read {
            tracing::error!(path = self.selection.path, %error, "object left out");
        }
        read.ok()
    }

    fn hear(&mut self, line: &[u8]) -> Result<(), Error> {
        self.heard = true;
        let frame: Frame<'_> = decode(text(line)?).map_err(Error::Decode)?;
        let json = frame.object.get();
        match frame.kind {
            "BOOKMARK" => self.bookmark(&decode(json).map_err(Error::Decode)?),
            "ERROR" => return Err(Error::Api(Box::new(decode::<Status>(json).map_err(Error::Decode)?))),
            kind => {
                let Some((object, at)) = self.object(frame.object) else {
                    return Ok(());
                };
                let Some(revision) = &mut self.revision else {
                    self.ready.push_back(Event::InitApply(object));
                    return Ok(());
                };
                if let Some(at) = at {
                    *revision = at;
                }
                self.ready.push_back(match kind {
                    "DELETED" => Event::Delete(object),
                    _ => Event::Apply(object),
                });
            }
        }
        self.backoff.reset();
        Ok(())
    }

    fn bookmark(&mut self, object: &PartialObject) {
        let meta = &object.metadata;
        let end = meta.annotations.as_ref().is_some_and(|it| it.contains_key(END));
        match (&mut self.revision, &meta.resource_version) {
            (Some(known), Some(at)) => known.clone_from(at),
            (None, at) if end => {
                self.revision = Some(at.clone().unwrap_or_default());
                self.ready.push_back(Event::InitDone);
            }
            _ => {}
        }
    }

    fn failed(&mut self, error: &Error) {
        self.lines = None;
        match error.code() {
            // What happened since then is not known any more.
            Some(410) if self.revision.take().is_some() => return,
            // A server without KEP-3157 does not know the parameters.
            Some(400 | 422) if self.streams_lists && self.revision.is_none() => {
                tracing::debug!(
                    path = self.selection.path,
                    "the server has no streaming lists, listing instead"
                );
                self.streams_lists = false;
                return;
            }
            _ => {}
        }
        self.delay = self.backoff.step();
        let (path, delay, error) = (&self.selection.path, self.delay, error.chain());
        if delay >= TELL {
            tracing::warn!(path, ?delay, error, "watch interrupted; it is tried again");
        } else {
            tracing::debug!(path, ?delay, error, "watch interrupted; it is tried again");
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
