//! Carries out the actions of a plan by starting operations.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::super::observed::{Seen, State, Step};
use super::super::ops::{Gate, hook, remove, sandbox, start, stop, volumes};
use super::super::plan::{Action, Stop};
use super::super::shape;
use super::outcome::Outcome;
use super::{Run, Worker};
use crate::events::Level;
use crate::files;
use crate::probes::Kind;
use crate::probes::check::Target;
use crate::spec::signal::stop_signal;

impl Worker {
    /// Begins an action. Whether the state it leaves may call for another one at once.
    pub(super) fn act(&mut self, action: Action) -> bool {
        tracing::debug!(pod = self.uid, ?action, "action");
        match action {
            Action::CreateSandbox => self.create_sandbox(),
            Action::SetUpVolumes => self.set_up_volumes(),
            Action::Start { container } => self.start(&container),
            Action::Stop { container, why } => return self.stop(&container, why),
            Action::Fail(failure) => {
                tracing::info!(pod = self.uid, reason = failure.reason, "pod failed");
                self.shared
                    .events
                    .pod(&self.now.pod, None, Level::Warning, "Failed", failure.message.clone());
                self.seen.failure = Some(failure);
                self.cancel.send_replace(true);
                return true;
            }
            Action::Remove => self.remove(),
            Action::Finish => self.finish(),
        }
        false
    }

    fn create_sandbox(&mut self) {
        self.seen.sandbox = Step::Busy;
        self.sandbox.send_replace(Gate::Pending);
        let (shared, pod, store) = (
            Arc::clone(&self.shared),
            Arc::clone(&self.now.pod),
            Arc::clone(&self.store),
        );
        let cancel = self.cancel.subscribe();
        self.op(async move { Outcome::Sandbox(sandbox::create(shared, pod, store, cancel).await) });
    }

    fn set_up_volumes(&mut self) {
        self.seen.volumes = Step::Busy;
        self.volumes.send_replace(Gate::Pending);
        let (shared, pod, store) = (
            Arc::clone(&self.shared),
            Arc::clone(&self.now.pod),
            Arc::clone(&self.store),
        );
        self.op(async move { Outcome::Volumes(volumes::set_up(shared, pod, store).await) });
    }

    pub(super) fn refresh_volumes(&mut self) {
        if self.seen.volumes != Step::Ready {
            return;
        }
        // One at a time; what changes meanwhile is looked at again afterwards.
        if self.refreshing.is_some() {
            self.refreshing = Some(true);
            return;
        }
        self.refreshing = Some(false);
        let (shared, pod, store, feeds) = (
            Arc::clone(&self.shared),
            Arc::clone(&self.now.pod),
            Arc::clone(&self.store),
            self.feeds.clone(),
        );
        self.op(async move { Outcome::Refreshed(volumes::refresh(shared, pod, store, &feeds).await) });
    }

    fn start(&mut self, name: &str) {
        let Some((_, container)) = shape::container(&self.now.pod, name) else {
            return;
        };
        let spec_image = container.image.clone().unwrap_or_default();
        let now = Instant::now();
        let id = files::random_id();
        let it = self.seen.containers.entry(name.to_owned()).or_default();
        if let State::Exited { end, at } = std::mem::take(&mut it.state) {
            it.backoff.restarted(at, now);
            it.restarts += 1;
            it.last = Some(end);
        }
        let attempt = it.restarts;
        *it = Seen {
            state: State::Starting,
            id: Some(id.clone()),
            spec_image,
            waiting: it.waiting.take(),
            restarts: it.restarts,
            backoff: it.backoff.clone(),
            image: std::mem::take(&mut it.image),
            image_id: std::mem::take(&mut it.image_id),
            last: it.last.take(),
            ..Seen::default()
        };
        let run = Run {
            id: id.clone(),
            process: None,
            image_stop_signal: None,
            ended: watch::channel(false).0,
            probes: HashMap::new(),
        };
        self.runs.insert(name.to_owned(), run);
        let job = start::Job {
            shared: Arc::clone(&self.shared),
            pod: Arc::clone(&self.now.pod),
            store: Arc::clone(&self.store),
            container: name.to_owned(),
            id: id.clone(),
            attempt,
            record: self.record(),
            sandbox: self.sandbox.subscribe(),
            volumes: self.volumes.subscribe(),
            cancel: self.cancel.subscribe(),
        };
        let name = name.to_owned();
        self.op(async move {
            Outcome::Started {
                name,
                id,
                result: start::start(job).await.map(Box::new),
            }
        });
    }

    /// The container as hooks and probes see it.
    pub(super) fn target(&self, name: &str) -> Option<Target> {
        let run = self.runs.get(name)?;
        let Gate::Open(sandbox) = &*self.sandbox.borrow() else {
            return None;
        };
        let ports = shape::container(&self.now.pod, name)
            .and_then(|(_, it)| it.ports.clone())
            .unwrap_or_default();
        Some(Target {
            monitor: sandbox.monitor.clone(),
            id: run.id.clone(),
            process: run.process.clone().unwrap_or_default(),
            ip: sandbox.ip,
            ports: ports.into(),
        })
    }

    pub(super) fn run_post_start(&mut self, name: &str) {
        let hook = shape::container(&self.now.pod, name)
            .and_then(|(_, it)| hook::post_start(it))
            .cloned();
        let (Some(hook), Some(target)) = (hook, self.target(name)) else {
            self.container(name).hook_done = true;
            return;
        };
        let (name, id) = (name.to_owned(), target.id.clone());
        self.op(async move {
            Outcome::PostStarted {
                name,
                id,
                result: hook::run(hook, target).await,
            }
        });
    }

    /// Begins to stop a container. One that nobody can reach any more has ended at once, which is returned.
    fn stop(&mut self, name: &str, why: Stop) -> bool {
        let Some((_, container)) = shape::container(&self.now.pod, name) else {
            return false;
        };
        let container = container.clone();
        let target = self.target(name);
        let (Some(target), Some(run)) = (target, self.runs.get_mut(name)) else {
            self.lost(name);
            return true;
        };
        let signal = stop_signal(&container, run.image_stop_signal.as_deref());
        let ended = run.ended.subscribe();
        // Readiness goes on being probed until the end; the others must not interfere with it.
        run.probes.retain(|kind, _| *kind == Kind::Readiness);
        let it = self.container(name);
        let State::Running { since } = &it.state else {
            return false;
        };
        it.state = State::Stopping { since: since.clone() };
        let unhealthy = it.unhealthy.clone();
        let (kill_at, message) = match why {
            Stop::Pod => {
                self.hasten();
                (None, format!("Stopping container {name}"))
            }
            Stop::Unhealthy => {
                let grace = unhealthy.as_ref().and_then(|it| it.grace_secs);
                let why = unhealthy.map(|it| it.message).unwrap_or_default();
                (
                    self.own_kill_at(grace),
                    format!("Container {name} failed {why}, will be restarted"),
                )
            }
            Stop::Changed => (
                self.own_kill_at(None),
                format!("Container {name} definition changed, will be restarted"),
            ),
        };
        self.shared
            .events
            .pod(&self.now.pod, Some(name), Level::Normal, "Killing", message);
        let job = stop::Job {
            shared: Arc::clone(&self.shared),
            pod: Arc::clone(&self.now.pod),
            container: name.to_owned(),
            target,
            signal,
            pre_stop: hook::pre_stop(&container).cloned(),
            unroute: why == Stop::Pod && self.seen.deleting,
            kill_at,
            pod_kill_at: self.kill_at.subscribe(),
            ended,
        };
        let name = name.to_owned();
        self.op(async move {
            stop::stop(job).await;
            Outcome::Stopped { name }
        });
        false
    }

    /// When a container is killed that is to be started again.
    fn own_kill_at(&self, grace_secs: Option<i64>) -> Option<tokio::time::Instant> {
        let secs = grace_secs.unwrap_or_else(|| {
            shape::spec(&self.now.pod)
                .termination_grace_period_seconds
                .unwrap_or(30)
        });
        Some(tokio::time::Instant::now() + Duration::from_secs(u64::try_from(secs).unwrap_or(30).max(1)))
    }

    fn remove(&mut self) {
        let monitor = match &*self.sandbox.borrow() {
            Gate::Open(sandbox) => Some(sandbox.monitor.clone()),
            _ => None,
        };
        self.seen.sandbox = Step::Busy;
        self.seen.volumes = Step::Busy;
        self.events = None;
        self.feeds.clear();
        self.runs.clear();
        self.sandbox.send_replace(Gate::Failed);
        self.volumes.send_replace(Gate::Failed);
        let job = remove::Job {
            shared: Arc::clone(&self.shared),
            uid: self.uid.clone(),
            store: Arc::clone(&self.store),
            monitor,
            host_network: shape::host_network(&self.now.pod),
            all: self.seen.deleting,
        };
        let all = job.all;
        self.op(async move {
            remove::remove(job).await;
            Outcome::Removed { all }
        });
    }
}
