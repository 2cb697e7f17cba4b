//! Events for users, posted beside the work they tell of: never awaited, dropped rather than queued without bound.

use std::collections::HashMap;
use std::sync::Arc;

use barepod_client::types::Time;
use barepod_client::{Client, Patch, Request};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::advice::advised;
use crate::kinds::Pod;
use crate::pods::shape;
use crate::{files, time};

/// How many events may wait for the API.
const QUEUE: usize = 512;
/// How many different events are remembered for counting.
const REMEMBERED: usize = 1024;

/// Posts events.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Note>,
}

/// Whether an event tells of something normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// As it should be.
    Normal,
    /// Somebody may want to look.
    Warning,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Note {
    about: About,
    level: Level,
    reason: &'static str,
    message: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct About {
    kind: &'static str,
    namespace: String,
    name: String,
    uid: String,
    field: Option<String>,
}

impl Recorder {
    /// Starts the task that posts; it ends when the last recorder is gone.
    pub fn start(client: Client, node_name: &str) -> Self {
        let (queue, notes) = mpsc::channel(QUEUE);
        crate::shared::spawn(post(client, node_name.into(), notes));
        Self { queue }
    }

    /// About a pod, or one of its containers.
    pub fn pod(
        &self,
        pod: &Pod,
        container: Option<&str>,
        level: Level,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let field = container.map(|name| {
            let list = match shape::container(pod, name) {
                Some((shape::Role::Main, _)) | None => "containers",
                Some(_) => "initContainers",
            };
            format!("spec.{list}{{{name}}}")
        });
        let about = About {
            kind: "Pod",
            namespace: shape::namespace(pod).into(),
            name: shape::name(pod).into(),
            uid: shape::uid(pod).into(),
            field,
        };
        self.note(Note {
            about,
            level,
            reason,
            message: match level {
                Level::Normal => message.into(),
                Level::Warning => advised(message.into()),
            },
        });
    }

    fn note(&self, note: Note) {
        if let Err(error) = self.queue.try_send(note) {
            tracing::debug!(%error, "event dropped");
        }
    }
}

struct Posted {
    name: String,
    count: i32,
}

async fn post(client: Client, node_name: Arc<str>, mut notes: mpsc::Receiver<Note>) {
    let mut known: HashMap<Note, Posted> = HashMap::new();
    while let Some(note) = notes.recv().await {
        let events = format!("/api/v1/namespaces/{}/events", note.about.namespace);
        if known.len() > REMEMBERED {
            known.clear();
        }
        if let Some(posted) = known.get_mut(&note) {
            posted.count += 1;
            let change = json!({"count": posted.count, "lastTimestamp": time::now()});
            let request = Request::patch(format!("{events}/{}", posted.name), Patch::Merge, &change);
            match client.send(request).await {
                Ok(()) => continue,
                // It has expired: a new one is made.
                Err(error) if error.code() == Some(404) => {}
                Err(error) => {
                    tracing::debug!(error = error.chain(), "event not counted");
                    continue;
                }
            }
        }
        let name = format!("{}.{}", note.about.name, &files::random_id()[..16]);
        let event = event(&note, &name, &node_name, &time::now());
        match client
            .send(Request::create(events, event.to_string().into_bytes()))
            .await
        {
            Ok(()) => drop(known.insert(note, Posted { name, count: 1 })),
            Err(error) => tracing::debug!(error = error.chain(), reason = note.reason, "event not posted"),
        }
    }
}

fn event(note: &Note, name: &str, node_name: &str, now: &Time) -> Value {
    let about = &note.about;
    let level = match note.level {
        Level::Normal => "Normal",
        Level::Warning => "Warning",
    };
    let mut event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": about.namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": about.kind,
            "name": about.name,
            "namespace": about.namespace,
            "uid": about.uid,
        },
        "reason": note.reason,
        "message": note.message,
        "type": level,
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": {"component": "kubelet", "host": node_name},
        "reportingComponent": "kubelet",
        "reportingInstance": node_name,
    });
    if let Some(field) = &about.field {
        event["involvedObject"]["fieldPath"] = json!(field);
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_names_the_container() {
        let about = About {
            kind: "Pod",
            namespace: "n".into(),
            name: "p".into(),
            uid: "u".into(),
            field: Some("spec.containers{c}".into()),
        };
        let note = Note {
            about,
            level: Level::Warning,
            reason: "BackOff",
            message: "m".into(),
        };
        let event = event(&note, "p.1", "node", &time::now());
        assert_eq!(event["involvedObject"]["fieldPath"], "spec.containers{c}");
        assert_eq!(
            (&event["type"], &event["metadata"]["name"]),
            (&json!("Warning"), &json!("p.1"))
        );
    }
}
