//! Following changes: a body that lives as long as the watch does.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use barepod_kinds::{Invalid, Kind as ErrorKind};
use barepod_store::{Delivery, Event, EventKind, Object, ReadError, Watcher};
use bytes::{Bytes, BytesMut};
use http::Response;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep};

use super::accept::Form;
use super::body::Body;
use super::encode::to_bytes;
use super::get::revision;
use super::head;
use super::list::Start;
use super::registry::Kind;
use super::request::Request;
use super::select::{Scope, Selection};
use super::status::{ApiError, ApiResult};
use super::table::{self, Include, ListMeta, Source};
use super::{Engine, Target, reply};
use crate::metrics::{Counter, labels};

/// How often a watch that asked for bookmarks gets one, if anything happened.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// How long a watch lasts that names no time; a random part is added so that watches do not all end together.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// About how many bytes of events make one frame.
const CHUNK: usize = 64 << 10;

impl Engine {
    pub(super) fn watch(&self, request: &Request, target: Target<'_>) -> ApiResult<Response<Body>> {
        let kind = target.kind;
        // Documents of YAML cannot follow each other in a stream.
        let form = request.accept.form().filter(|_| !request.accept.yaml());
        let form = form.ok_or_else(ApiError::not_acceptable)?;
        let namespace = (!target.namespace.is_empty()).then_some(target.namespace);
        let mut selection = Selection::parse(kind, &request.query)?;
        let mut scope = selection.scope(kind, namespace);
        if !target.name.is_empty() {
            // The deprecated way to watch one object: its own path with `watch=true`.
            scope = Scope::One(target.key());
            selection = Selection::default();
        }
        let transform = match form {
            Form::Object if kind.converts() => Transform::Converted,
            Form::Object => Transform::Object,
            Form::Metadata => Transform::Metadata,
            Form::Table => Transform::Table {
                include: Include::parse(&request.query)?,
                columns: true,
            },
        };
        let bookmarks = request.query.flag("allowWatchBookmarks")?.unwrap_or(false);
        let send_initial = send_initial_events(request)?;
        let asked = revision(request)?;
        let current = self.store.revision();
        if let Some(asked) = asked.filter(|asked| *asked > current) {
            return Err(ApiError::future(asked, current));
        }
        let from_now = send_initial == Some(true) || (asked.is_none() && send_initial.is_none());
        let mut initial = Vec::new();
        let mut after = asked.unwrap_or(current);
        if from_now {
            let listed = self.select(kind, &selection, &scope, &Start::default(), 0);
            let listed = listed.map_err(|error| ApiError::internal(error.to_string()))?;
            (initial, after) = (listed.objects, listed.revision);
        }
        let mut seconds = request.query.number::<u64>("timeoutSeconds")?.unwrap_or(0);
        if seconds == 0 {
            seconds = DEFAULT_TIMEOUT.as_secs() + after % 600 + u64::from(rand_byte());
        }
        let (watcher, last_line) = match self.store.watch(scope.text(), after) {
            Ok(watcher) => (Some(watcher), None),
            Err(ReadError::Compacted { requested, oldest }) => {
                (None, Some(error_line(&ApiError::expired(requested, oldest))))
            }
            Err(ReadError::Future { requested, current }) => return Err(ApiError::future(requested, current)),
        };
        let body = WatchBody {
            kind: kind.clone(),
            selection,
            transform,
            initial: initial.into_iter(),
            initial_bookmark: send_initial == Some(true) && bookmarks,
            watcher,
            last_line,
            seen: after,
            bookmarked: after,
            timeout: Box::pin(tokio::time::sleep(Duration::from_secs(seconds))),
            tick: bookmarks.then(|| Box::pin(tokio::time::sleep(BOOKMARK_INTERVAL))),
            bookmark_at: None,
            sent: self.metrics.watch_events.of(&labels(&[
                ("group", &kind.resource.group),
                ("resource", &kind.resource.plural),
                ("version", &kind.resource.version),
            ])),
        };
        Ok(reply::json(200, Body::Watch(Box::new(body))))
    }
}

fn rand_byte() -> u8 {
    let mut byte = [0u8];
    // Only spreads the ends of watches, so a failure does not matter.
    let _ = getrandom::fill(&mut byte);
    byte[0]
}

fn send_initial_events(request: &Request) -> ApiResult<Option<bool>> {
    let wanted = request.query.flag("sendInitialEvents")?;
    let matching = request.query.text("resourceVersionMatch");
    let forbidden = |field: &str, detail: &str| {
        let (field, detail) = (field.into(), detail.into());
        let error = Invalid {
            field,
            kind: ErrorKind::Forbidden,
            value: Value::Null,
            detail,
        };
        Err(ApiError::invalid_options("ListOptions", error))
    };
    match wanted {
        Some(_) if matching != "NotOlderThan" => forbidden(
            "resourceVersionMatch",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        None if !matching.is_empty() => forbidden(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        wanted => Ok(wanted),
    }
}

#[derive(Debug)]
enum Transform {
    /// As stored.
    Object,
    /// In another version than the stored one.
    Converted,
    Metadata,
    Table {
        include: Include,
        columns: bool,
    },
}

/// The body of a watch.
pub struct WatchBody {
    kind: Arc<Kind>,
    selection: Selection,
    transform: Transform,
    /// The state at the start, to be sent as added objects.
    initial: std::vec::IntoIter<Arc<Object>>,
    /// Whether to say when the initial state is complete (KEP-3157).
    initial_bookmark: bool,
    /// Gone when the watch is over.
    watcher: Option<Watcher>,
    /// What is still to be said when the watch is over.
    last_line: Option<Bytes>,
    /// The revision of the last event.
    seen: u64,
    /// The revision of the last bookmark.
    bookmarked: u64,
    timeout: Pin<Box<Sleep>>,
    tick: Option<Pin<Box<Sleep>>>,
    /// A bookmark for this revision is due once the queue is empty.
    bookmark_at: Option<u64>,
    /// Counts the events.
    sent: Arc<Counter>,
}

impl WatchBody {
    /// The next piece of the body; `None` at its end.
    pub fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(chunk) = self.initial_chunk() {
            return Poll::Ready(Some(chunk));
        }
        loop {
            let mut chunk = Chunk::default();
            while chunk.len() < CHUNK {
                let Some(watcher) = &mut self.watcher else { break };
                match watcher.poll_next(context) {
                    Poll::Ready(Some(delivery)) => {
                        self.seen = delivery.event.revision();
                        if let Some(line) = self.line(&delivery) {
                            chunk.push(line);
                        }
                    }
                    Poll::Ready(None) => {
                        if watcher.lagged() {
                            self.last_line = Some(error_line(&ApiError::expired(self.seen, self.seen)));
                        }
                        self.watcher = None;
                    }
                    Poll::Pending => break,
                }
            }
            if chunk.lines > 0 {
                self.sent.add(chunk.lines);
            }
            if let Some(bytes) = chunk.take() {
                return Poll::Ready(Some(bytes));
            }
            if self.watcher.is_none() {
                return Poll::Ready(self.last_line.take());
            }
            if let Some(settled) = self.bookmark_at.take() {
                let at = settled.max(self.seen);
                if at > self.bookmarked {
                    return Poll::Ready(Some(self.bookmark(at, false)));
                }
            }
            if self.timeout.as_mut().poll(context).is_ready() {
                self.watcher = None;
                return Poll::Ready(None);
            }
            let Some(tick) = &mut self.tick else {
                return Poll::Pending;
            };
            if tick.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            tick.as_mut().reset(Instant::now() + BOOKMARK_INTERVAL);
            self.bookmark_at = self.watcher.as_ref().map(Watcher::settled);
        }
    }

    fn initial_chunk(&mut self) -> Option<Bytes> {
        let mut chunk = Chunk::default();
        while chunk.len() < CHUNK {
            let Some(object) = self.initial.next() else { break };
            let line = self.transformed("ADDED", &object);
            chunk.push(line);
        }
        if self.initial.as_slice().is_empty() && std::mem::take(&mut self.initial_bookmark) {
            let line = self.bookmark(self.seen, true);
            chunk.push(line);
        }
        if chunk.lines > 0 {
            self.sent.add(chunk.lines);
        }
        chunk.take()
    }

    /// The line for an event, if it concerns this watch.
    fn line(&mut self, delivery: &Delivery) -> Option<Bytes> {
        let event = &*delivery.event;
        if self.selection.is_all() {
            let type_ = match event.kind {
                EventKind::Added => "ADDED",
                EventKind::Modified => "MODIFIED",
                EventKind::Deleted => "DELETED",
            };
            return Some(match self.transform {
                Transform::Object => delivery.line(|event| plain(type_, event.object.bytes())).clone(),
                _ => self.transformed(type_, &event.object),
            });
        }
        let selected = |object: &Object| self.selection.matches(&self.kind, object);
        let before = event.previous.as_deref().is_some_and(selected);
        let now = event.kind != EventKind::Deleted && selected(&event.object);
        match (before, now) {
            (false, false) => None,
            (false, true) => Some(self.shared("ADDED", delivery, event)),
            (true, true) => Some(self.shared("MODIFIED", delivery, event)),
            (true, false) if event.kind == EventKind::Deleted => Some(self.shared("DELETED", delivery, event)),
            (true, false) => {
                // What left the selection is shown as it was, with the revision of its leaving.
                let left = event.previous.as_ref()?.at(event.revision());
                Some(self.transformed("DELETED", &left))
            }
        }
    }

    /// As [`WatchBody::transformed`]; uses the line that all watchers share if it says the same.
    fn shared(&mut self, type_: &str, delivery: &Delivery, event: &Event) -> Bytes {
        let same = matches!(
            (type_, event.kind),
            ("ADDED", EventKind::Added) | ("MODIFIED", EventKind::Modified) | ("DELETED", EventKind::Deleted)
        );
        match self.transform {
            Transform::Object if same => delivery.line(|event| plain(type_, event.object.bytes())).clone(),
            _ => self.transformed(type_, &event.object),
        }
    }

    fn transformed(&mut self, type_: &str, object: &Object) -> Bytes {
        self.try_transformed(type_, object)
            .unwrap_or_else(|error| plain("ERROR", &to_bytes(&error.to_value(), false)))
    }

    fn try_transformed(&mut self, type_: &str, object: &Object) -> ApiResult<Bytes> {
        Ok(match &mut self.transform {
            Transform::Object => plain(type_, object.bytes()),
            Transform::Converted => plain(type_, &self.kind.text(object)?),
            Transform::Metadata => {
                let mut text = Vec::new();
                table::partial(object.bytes(), &mut text);
                plain(type_, &text)
            }
            Transform::Table { include, columns } => {
                let meta = ListMeta {
                    revision: object.revision().to_string(),
                    ..ListMeta::default()
                };
                let first = std::mem::take(columns);
                let shown = match self.kind.reshapes() {
                    true => {
                        let mut value = head::parse(object);
                        self.kind.show(&mut value)?;
                        let text = to_bytes(&value, false);
                        Some((value, text))
                    }
                    false => None,
                };
                let source = match &shown {
                    Some((value, text)) => Source::Loose(value, text),
                    None => Source::Stored(object),
                };
                let source = std::iter::once(source);
                plain(type_, &table::table(&self.kind, source, &meta, *include, first)?)
            }
        })
    }

    fn bookmark(&mut self, at: u64, initial_end: bool) -> Bytes {
        self.bookmarked = at;
        let mut metadata = json!({"resourceVersion": at.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let (kind, api_version) = match self.transform {
            Transform::Object | Transform::Converted => (&*self.kind.resource.kind, self.kind.api_version.as_str()),
            Transform::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1"),
            Transform::Table { .. } => {
                let table = json!({
                    "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                    "columnDefinitions": null, "rows": [],
                });
                return plain("BOOKMARK", &to_bytes(&table, false));
            }
        };
        let object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        plain("BOOKMARK", &to_bytes(&object, false))
    }
}

fn plain(type_: &str, object: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + 32);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(type_.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line.into()
}

fn error_line(error: &ApiError) -> Bytes {
    plain("ERROR", &to_bytes(&error.to_value(), false))
}

/// Lines on their way into one frame. A single line is passed on without a copy.
#[derive(Default)]
struct Chunk {
    first: Option<Bytes>,
    all: BytesMut,
    lines: u64,
}

impl Chunk {
    fn len(&self) -> usize {
        self.first.as_ref().map_or(0, Bytes::len) + self.all.len()
    }

    fn push(&mut self, line: Bytes) {
        self.lines += 1;
        if self.first.is_none() && self.all.is_empty() {
            self.first = Some(line);
            return;
        }
        if let Some(first) = self.first.take() {
            self.all.reserve(first.len() + line.len() + 4096);
            self.all.extend_from_slice(&first);
        }
        self.all.extend_from_slice(&line);
    }

    fn take(&mut self) -> Option<Bytes> {
        match self.first.take() {
            Some(first) => Some(first),
            None if self.all.is_empty() => None,
            None => Some(self.all.split().freeze()),
        }
    }
}
