//! Takes in what has happened: ends of operations, events of the monitor, deletion of the object.

use std::sync::Arc;
use std::time::Instant;

use barepod_runtime::protocol::{Event, Exit};

use super::super::observed::{State, Step, Termination};
use super::super::ops::{Gate, end, sandbox, start, volumes};
use super::super::shape;
use super::Worker;
use crate::events::Level;
use crate::fault;
use crate::objects::Feed;
use crate::shared::blocking;
use crate::status::Sent;
use crate::volumes::Volumes;

/// How an operation ended.
pub enum Outcome {
    /// The sandbox was made, or not; `None` when it was given up because the pod ends.
    Sandbox(Option<Result<sandbox::Made, String>>),
    /// The volumes were made, or not.
    Volumes(Result<volumes::Made, volumes::Failed>),
    /// The volumes were brought up to date, or not.
    Refreshed(Result<Volumes, String>),
    /// An object that volumes show has changed; `None` when it is watched no more.
    Changed(Option<Feed>),
    /// A container was started, or not.
    Started {
        /// Its name.
        name: String,
        /// Its id.
        id: String,
        /// How it went.
        result: Result<Box<start::Started>, start::Failure>,
    },
    /// A hook has ended.
    PostStarted {
        /// The container's name.
        name: String,
        /// The container's id.
        id: String,
        /// How it went.
        result: Result<(), String>,
    },
    /// A container has ended, with all there is to tell of it.
    Ended {
        /// The container's name.
        name: String,
        /// How.
        end: Termination,
    },
    /// A stop has done what it could.
    Stopped {
        /// The container's name.
        name: String,
    },
    /// What an attempt left behind is gone.
    Cleaned,
    /// A sandbox that was lost is removed, so that another one can be made.
    LostRemoved,
    /// An image has come or gone.
    ImagesChanged,
    /// The pod is off this node; `all` of it, or all but its logs.
    Removed {
        /// Whether its directory went too.
        all: bool,
    },
    /// A status was sent.
    Reported(Sent),
    /// A file was written.
    Written(std::io::Result<()>),
    /// The object was deleted, or not: then it is tried again.
    Deleted(Result<(), barepod_client::Error>),
}

impl Worker {
    pub(super) fn take(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Sandbox(result) => self.sandbox_made(result),
            Outcome::Volumes(result) => self.volumes_made(result),
            Outcome::Refreshed(result) => self.refreshed(result),
            Outcome::Changed(feed) => self.object_changed(feed),
            Outcome::Started { name, id, result } => self.started(&name, &id, result),
            Outcome::PostStarted { name, id, result } => self.post_started(&name, &id, result),
            Outcome::Ended { name, end } => self.ended(&name, end),
            Outcome::Stopped { name } => self.stopped(&name),
            Outcome::ImagesChanged => self.images_changed(),
            Outcome::Removed { all } => self.removed(all),
            Outcome::Reported(sent) => {
                fault::point("agent.status-sent");
                self.publisher.sent(sent, Instant::now());
            }
            Outcome::Written(result) => {
                if let Err(error) = result {
                    tracing::warn!(pod = self.uid, %error, "pod not written down");
                }
            }
            Outcome::Cleaned => {}
            Outcome::LostRemoved => {
                self.seen.sandbox = Step::Failed {
                    retry_at: Instant::now() + self.sandbox_retry.step(),
                };
            }
            Outcome::Deleted(result) => self.deleted(result),
        }
    }

    fn sandbox_made(&mut self, result: Option<Result<sandbox::Made, String>>) {
        match result {
            Some(Ok((sandbox, events))) => {
                self.seen.sandbox = Step::Ready;
                self.seen.ip = sandbox.ip;
                self.events = Some(events);
                self.sandbox_retry.reset();
                self.sandbox.send_replace(Gate::Open(sandbox));
            }
            Some(Err(message)) => {
                tracing::warn!(pod = self.uid, message, "sandbox not made; it is tried again");
                let text = format!("Failed to create pod sandbox: {message}");
                self.shared
                    .events
                    .pod(&self.now.pod, None, Level::Warning, "FailedCreatePodSandBox", text);
                self.seen.sandbox = Step::Failed {
                    retry_at: Instant::now() + self.sandbox_retry.step(),
                };
                self.sandbox.send_replace(Gate::Failed);
            }
            None => {
                self.seen.sandbox = Step::Absent;
                self.sandbox.send_replace(Gate::Failed);
            }
        }
    }

    fn volumes_made(&mut self, result: Result<volumes::Made, volumes::Failed>) {
        let feeds = match result {
            Ok(made) => {
                self.seen.volumes = Step::Ready;
                self.volumes_retry.reset();
                self.volumes.send_replace(Gate::Open(Arc::new(made.volumes)));
                made.feeds
            }
            Err(failed) => {
                tracing::warn!(
                    pod = self.uid,
                    message = failed.message,
                    "volumes not made; it is tried again"
                );
                self.shared
                    .events
                    .pod(&self.now.pod, None, Level::Warning, "FailedMount", failed.message);
                self.seen.volumes = Step::Failed {
                    retry_at: Instant::now() + self.volumes_retry.step(),
                };
                self.volumes.send_replace(Gate::Failed);
                failed.feeds
            }
        };
        for feed in feeds {
            if !self.feeds.iter().any(|it| it.key == feed.key) {
                self.feeds.push(feed.clone());
                self.listen(feed);
            }
        }
    }

    fn listen(&self, mut feed: Feed) {
        self.op(async move { Outcome::Changed(feed.value.changed().await.is_ok().then_some(feed)) });
    }

    fn object_changed(&mut self, feed: Option<Feed>) {
        let Some(feed) = feed else { return };
        if self.seen.sandbox == Step::Gone || self.seen.deleting {
            return;
        }
        self.listen(feed);
        match self.seen.volumes {
            Step::Failed { .. } => {
                self.seen.volumes = Step::Failed {
                    retry_at: Instant::now(),
                }
            }
            _ => self.refresh_volumes(),
        }
    }

    fn refreshed(&mut self, result: Result<Volumes, String>) {
        let again = self.refreshing.take() == Some(true);
        match result {
            Ok(volumes) if self.seen.volumes == Step::Ready => {
                self.volumes.send_replace(Gate::Open(Arc::new(volumes)));
            }
            Ok(_) => {}
            Err(message) => {
                tracing::warn!(pod = self.uid, message, "volumes not brought up to date");
                self.shared
                    .events
                    .pod(&self.now.pod, None, Level::Warning, "FailedMount", message);
            }
        }
        if again {
            self.refresh_volumes();
        }
    }

    /// Hears from the monitor; `None` when it is gone.
    pub(super) fn hear(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Exited { id, exit }) => {
                let named = self
                    .seen
                    .containers
                    .iter()
                    .find(|(_, it)| it.id.as_deref() == Some(&id));
                let Some((name, it)) = named else { return };
                if it.state == State::Starting {
                    self.early.insert(id, exit);
                } else {
                    let name = name.clone();
                    self.exited(&name, &id, exit);
                }
            }
            Some(Event::ExecExited { .. }) => {}
            Some(Event::SandboxExited) => self.sandbox_lost("the pod's sandbox process ended"),
            None => self.sandbox_lost("the pod's monitor ended"),
        }
    }

    pub(super) fn exited(&mut self, name: &str, id: &str, exit: Exit) {
        let Some(run) = self.runs.get_mut(name).filter(|run| run.id == id) else {
            return;
        };
        run.probes.clear();
        run.ended.send_replace(true);
        let container = shape::container(&self.now.pod, name).map(|(_, it)| it);
        let from_log =
            container.and_then(|it| it.termination_message_policy.as_deref()) == Some("FallbackToLogsOnError");
        let words = end::Words {
            file: self.store.container_dir(id).join("termination-log"),
            log: from_log.then(|| {
                self.store
                    .log(name, self.seen.containers.get(name).map_or(0, |it| it.restarts))
            }),
        };
        let (name, id) = (name.to_owned(), id.to_owned());
        self.op(async move {
            Outcome::Ended {
                name,
                end: blocking(move || end::termination(&id, &exit, &words)).await,
            }
        });
    }

    pub(super) fn ended(&mut self, name: &str, end: Termination) {
        let at = Instant::now();
        if self.container(name).id.as_deref() != Some(&end.id) {
            return;
        }
        tracing::debug!(
            pod = self.uid,
            container = name,
            code = end.code,
            reason = end.reason,
            "container ended"
        );
        self.runs.remove(name);
        let it = self.container(name);
        let again = it.backoff.ready_at(at) > at;
        it.ready = false;
        it.started = false;
        it.unhealthy = None;
        it.state = State::Exited { end: end.clone(), at };
        let Some((role, container)) = shape::container(&self.now.pod, name) else {
            return;
        };
        let over = self.seen.deleting || self.seen.failure.is_some();
        if again && !over && shape::restarts(&self.now.pod, role, container, &end) {
            let text = format!(
                "Back-off restarting failed container {name} in pod {}",
                shape::full_name(&self.now.pod)
            );
            self.shared
                .events
                .pod(&self.now.pod, Some(name), Level::Warning, "BackOff", text);
        }
    }

    /// The container should have ended by now, or its monitor has, which is heard of too.
    fn stopped(&mut self, name: &str) {
        let gone = self.events.is_none();
        if gone && matches!(self.container(name).state, State::Stopping { .. }) {
            self.lost(name);
        }
    }
}
