//! Events for users, posted beside the work they tell of: never awaited, dropped rather than queued without bound.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;

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
        tokio::spawn(post(client, node_name.into(), notes));
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
            message: message.into(),
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
        let api = Api::<Event>::namespaced(client.clone(), &note.about.namespace);
        if known.len() > REMEMBERED {
            known.clear();
        }
        if let Some(posted) = known.get_mut(&note) {
            posted.count += 1;
            let patch = json!({"count": posted.count, "lastTimestamp": time::now()});
            match api
                .patch(&posted.name, &PatchParams::default(), &Patch::Merge(patch))
                .await
            {
                Ok(_) => continue,
                // It has expired: a new one is made.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    tracing::debug!(%error, "event not counted");
                    continue;
                }
            }
        }
        let event = event(&note, &node_name, time::now());
        match api.create(&PostParams::default(), &event).await {
            Ok(made) => {
                known.insert(
                    note,
                    Posted {
                        name: made.metadata.name.unwrap_or_default(),
                        count: 1,
                    },
                );
            }
            Err(error) => tracing::debug!(%error, reason = note.reason, "event not posted"),
        }
    }
}

fn event(note: &Note, node_name: &str, now: Time) -> Event {
    let About {
        kind,
        namespace,
        name,
        uid,
        field,
    } = &note.about;
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{}", &files::random_id()[..16])),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".into()),
            kind: Some((*kind).into()),
            name: Some(name.clone()),
            namespace: (*kind == "Pod").then(|| namespace.clone()),
            uid: Some(uid.clone()),
            field_path: field.clone(),
            ..ObjectReference::default()
        },
        reason: Some(note.reason.into()),
        message: Some(note.message.clone()),
        type_: Some(
            if note.level == Level::Normal {
                "Normal"
            } else {
                "Warning"
            }
            .into(),
        ),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        source: Some(EventSource {
            component: Some("kubelet".into()),
            host: Some(node_name.to_owned()),
        }),
        reporting_component: Some("kubelet".into()),
        reporting_instance: Some(node_name.to_owned()),
        ..Event::default()
    }
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
        let event = event(&note, "node", time::now());
        assert_eq!(event.involved_object.field_path.as_deref(), Some("spec.containers{c}"));
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        assert!(event.metadata.name.unwrap().starts_with("p."));
    }
}
