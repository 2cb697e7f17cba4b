//! Following changes: a body that lives as long as the watch does.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use barepod_kinds::{Invalid, Kind as ErrorKind};
use barepod_store::{Delivery, Event, EventKind, Object, ReadError, Watcher};
use bytes::{Bytes, BytesMut};
use http::Response;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep};

use super::accept::Form;
use super::body::Body;
use super::custom::TOGETHER;
use super::encode::to_bytes;
use super::get::revision;
use super::head;
use super::list::Start;
use super::registry::Kind;
use super::request::Request;
use super::select::{Scope, Selection};
use super::status::{ApiError, ApiResult};
use super::table::{self, Include, ListMeta, Source};
use super::{Engine, Target, meta, reply};
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
            Form::Metadata(version) | Form::MetadataList(version) => Transform::Metadata(version),
            Form::Table(version) => Transform::Table(version, Include::parse(&request.query)?),
        };
        let bookmarks = request.query.flag("allowWatchBookmarks")?.unwrap_or(false);
        let send_initial = send_initial_events(request)?;
        let asked = revision(request)?;
        let current = self.store.revision();
        // The state at a revision has to be here; what comes after it may as well come later.
        if let Some(asked) = asked.filter(|asked| *asked > current && send_initial == Some(true)) {
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
        let asked = request.query.number("timeoutSeconds")?;
        let mut seconds = asked.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
        if seconds == 0 {
            seconds = DEFAULT_TIMEOUT.as_secs() + after % 600 + u64::from(rand_byte());
        }
        let (watcher, last_line) = match self.store.watch(scope.text(), after.min(self.store.revision())) {
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
            columns: true,
            initial: initial.into_iter(),
            waiting: Vec::new(),
            converting: None,
            initial_bookmark: send_initial == Some(true) && bookmarks,
            watcher,
            last_line,
            after,
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

#[derive(Debug, Clone, Copy)]
enum Transform {
    /// As stored.
    Object,
    /// In another version than the stored one.
    Converted,
    /// Of this group and version, as the next.
    Metadata(&'static str),
    Table(&'static str, Include),
}

type Converting = dyn Future<Output = ApiResult<Vec<(&'static str, Value)>>> + Send;

/// The body of a watch.
pub struct WatchBody {
    kind: Arc<Kind>,
    selection: Selection,
    transform: Transform,
    /// Whether the columns of tables are still to be told.
    columns: bool,
    /// The state at the start, to be sent as added objects.
    initial: std::vec::IntoIter<Arc<Object>>,
    /// What a webhook is to convert, with the types of the events.
    waiting: Vec<(&'static str, Value)>,
    /// What it converts; nothing else is sent before it.
    converting: Option<Pin<Box<Converting>>>,
    /// Whether to say when the initial state is complete (KEP-3157).
    initial_bookmark: bool,
    /// Gone when the watch is over.
    watcher: Option<Watcher>,
    /// What is still to be said when the watch is over.
    last_line: Option<Bytes>,
    /// What happened up to this revision is not told; it may be one of the future.
    after: u64,
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
        loop {
            if let Some(converting) = &mut self.converting {
                let converted = ready!(converting.as_mut().poll(context));
                self.converting = None;
                return Poll::Ready(self.shown(converted));
            }
            if let Some(chunk) = self.initial_chunk() {
                return Poll::Ready(Some(chunk));
            }
            if self.convert_waiting() {
                continue;
            }
            let mut chunk = Chunk::default();
            // Events are converted one at a time, so that each is shown that can be.
            while chunk.len() < CHUNK && self.waiting.is_empty() {
                let Some(watcher) = &mut self.watcher else { break };
                match watcher.poll_next(context) {
                    Poll::Ready(Some(delivery)) => {
                        if delivery.event.revision() > self.after {
                            self.seen = delivery.event.revision();
                            chunk.extend(self.line(&delivery));
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
            if let Some(bytes) = self.counted(chunk) {
                return Poll::Ready(Some(bytes));
            }
            if self.convert_waiting() {
                continue;
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
        while chunk.len() < CHUNK && self.waiting.len() < TOGETHER {
            let Some(object) = self.initial.next() else { break };
            chunk.extend(self.transformed("ADDED", &object));
        }
        let complete = self.initial.as_slice().is_empty() && self.waiting.is_empty();
        if complete && std::mem::take(&mut self.initial_bookmark) {
            let line = self.bookmark(self.seen, true);
            chunk.push(line);
        }
        self.counted(chunk)
    }

    fn counted(&self, mut chunk: Chunk) -> Option<Bytes> {
        if chunk.lines > 0 {
            self.sent.add(chunk.lines);
        }
        chunk.take()
    }

    /// Lets the webhook convert what waits for that; false if nothing does.
    fn convert_waiting(&mut self) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let (types, mut objects): (Vec<_>, Vec<_>) = self.waiting.drain(..).unzip();
        let kind = self.kind.clone();
        self.converting = Some(Box::pin(async move {
            kind.show(&mut objects).await?;
            Ok(types.into_iter().zip(objects).collect())
        }));
        true
    }

    /// The lines of converted objects. What cannot be converted is the end, as it is where stored bytes cannot be read.
    fn shown(&mut self, converted: ApiResult<Vec<(&'static str, Value)>>) -> Option<Bytes> {
        let converted = match converted {
            Ok(converted) => converted,
            Err(error) => {
                (self.watcher, self.last_line) = (None, None);
                self.initial = Vec::new().into_iter();
                self.initial_bookmark = false;
                return Some(error_line(&error));
            }
        };
        let mut chunk = Chunk::default();
        for (type_, object) in &converted {
            let text = to_bytes(object, false);
            chunk.push(match self.transform {
                Transform::Table(version, include) => {
                    let revision = meta::text(object, "resourceVersion").to_owned();
                    self.row(type_, version, include, revision, Source::Loose(object, &text))
                }
                _ => plain(type_, &text),
            });
        }
        self.counted(chunk)
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
            return self.shared(type_, delivery, event);
        }
        let selected = |object: &Object| self.selection.matches(&self.kind, object);
        let before = event.previous.as_deref().is_some_and(selected);
        let now = event.kind != EventKind::Deleted && selected(&event.object);
        match (before, now) {
            (false, false) => None,
            (false, true) => self.shared("ADDED", delivery, event),
            (true, true) => self.shared("MODIFIED", delivery, event),
            (true, false) if event.kind == EventKind::Deleted => self.shared("DELETED", delivery, event),
            (true, false) => {
                // What left the selection is shown as it was, with the revision of its leaving.
                let left = event.previous.as_ref()?.at(event.revision());
                self.transformed("DELETED", &left)
            }
        }
    }

    /// As [`WatchBody::transformed`]; uses the line that all watchers share if it says the same.
    fn shared(&mut self, type_: &'static str, delivery: &Delivery, event: &Event) -> Option<Bytes> {
        let same = matches!(
            (type_, event.kind),
            ("ADDED", EventKind::Added) | ("MODIFIED", EventKind::Modified) | ("DELETED", EventKind::Deleted)
        );
        match self.transform {
            Transform::Object if same => Some(delivery.line(|event| plain(type_, event.object.bytes())).clone()),
            _ => self.transformed(type_, &event.object),
        }
    }

    /// The line for an object, unless a webhook has to be asked for it.
    fn transformed(&mut self, type_: &'static str, object: &Object) -> Option<Bytes> {
        let converts = matches!(self.transform, Transform::Converted | Transform::Table(..));
        if converts && self.kind.reshapes() {
            self.waiting.push((type_, head::parse(object)));
            return None;
        }
        Some(match self.transform {
            Transform::Object => plain(type_, object.bytes()),
            Transform::Converted => plain(type_, &self.kind.dressed(object)),
            Transform::Metadata(version) => {
                let mut text = Vec::new();
                table::partial(version, object.bytes(), &mut text);
                plain(type_, &text)
            }
            Transform::Table(version, include) => {
                let revision = object.revision().to_string();
                self.row(type_, version, include, revision, Source::Stored(object))
            }
        })
    }

    /// The line with the table of one object.
    fn row(&mut self, type_: &str, version: &str, include: Include, revision: String, source: Source<'_>) -> Bytes {
        let meta = ListMeta {
            revision,
            ..ListMeta::default()
        };
        let first = std::mem::take(&mut self.columns);
        let source = std::iter::once(source);
        plain(type_, &table::table(version, &self.kind, source, &meta, include, first))
    }

    fn bookmark(&mut self, at: u64, initial_end: bool) -> Bytes {
        self.bookmarked = at;
        let mut metadata = json!({"resourceVersion": at.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let (kind, api_version) = match self.transform {
            Transform::Object | Transform::Converted => (&*self.kind.resource.kind, self.kind.api_version.as_str()),
            Transform::Metadata(version) => ("PartialObjectMetadata", version),
            Transform::Table(version, _) => {
                let table = json!({
                    "kind": "Table", "apiVersion": version, "metadata": metadata,
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

    fn extend(&mut self, line: Option<Bytes>) {
        if let Some(line) = line {
            self.push(line);
        }
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
