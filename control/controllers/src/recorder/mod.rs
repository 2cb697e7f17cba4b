//! Events of the controllers: written by one task, off every critical path, repeated ones counted instead of repeated.

mod aggregate;

use crate::api::Error;
use crate::informer::Object;
use aggregate::{Aggregator, Write};
use barepod_client::types::ObjectReference;
use barepod_client::{Client, Patch, Request};
use jiff::Timestamp;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Notes that may wait to be written; more are dropped, as events are best effort.
const CAPACITY: usize = 4096;

/// How serious an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Severity {
    Normal,
    Warning,
}

/// Something that happened to an object.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) component: &'static str,
    pub(crate) regarding: Arc<ObjectReference>,
    pub(crate) severity: Severity,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Takes notes without waiting.
#[derive(Clone)]
pub(crate) struct Recorder {
    notes: mpsc::Sender<Note>,
}

/// A recorder in the name of one component.
#[derive(Clone)]
pub(crate) struct Events {
    recorder: Recorder,
    component: &'static str,
}

impl Recorder {
    /// A recorder and the task that writes what it takes.
    pub(crate) fn new(client: Client) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (Self { notes: sender }, write_all(client, receiver))
    }

    pub(crate) fn of(&self, component: &'static str) -> Events {
        Events {
            recorder: self.clone(),
            component,
        }
    }
}

impl Events {
    pub(crate) fn normal<K: Object>(&self, object: &K, reason: &'static str, message: String) {
        self.take(object, Severity::Normal, reason, message);
    }

    pub(crate) fn warning<K: Object>(&self, object: &K, reason: &'static str, message: String) {
        self.take(object, Severity::Warning, reason, message);
    }

    fn take<K: Object>(&self, object: &K, severity: Severity, reason: &'static str, message: String) {
        let meta = object.meta();
        let regarding = ObjectReference {
            api_version: Some(K::RESOURCE.api_version()),
            kind: Some(K::RESOURCE.kind.to_owned()),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            field_path: None,
        };
        let note = Note {
            component: self.component,
            regarding: Arc::new(regarding),
            severity,
            reason,
            message,
        };
        if self.recorder.notes.try_send(note).is_err() {
            tracing::debug!(
                component = self.component,
                reason,
                "too many events at once, one is dropped"
            );
        }
    }
}

async fn write_all(client: Client, mut notes: mpsc::Receiver<Note>) {
    let mut aggregator = Aggregator::new();
    let mut batch = Vec::new();
    while notes.recv_many(&mut batch, 256).await > 0 {
        let now = Timestamp::now();
        for note in batch.drain(..) {
            aggregator.take(note, now);
        }
        for write in aggregator.writes() {
            let mut result = send(&client, &write, write.new).await;
            if !write.new && result.as_ref().is_err_and(Error::is_not_found) {
                // It outlived its time on the server.
                result = send(&client, &write, true).await;
            }
            if let Err(error) = result {
                aggregator.failed(&write);
                if !error.is_namespace_terminating() && !error.is_not_found() {
                    tracing::debug!(error = %error.chain(), "event not written");
                }
            }
        }
    }
}

async fn send(client: &Client, write: &Write, new: bool) -> Result<(), Error> {
    let events = format!("/api/v1/namespaces/{}/events", write.namespace);
    let request = if new {
        Request::create(events, write.body().to_string().into_bytes())
    } else {
        Request::patch(format!("{events}/{}", write.name), Patch::Merge, &write.change())
    };
    let sent = client.send(request.manager(write.component())).await;
    sent.map_err(|e| Error::request("write event", write.name.clone(), e))
}
