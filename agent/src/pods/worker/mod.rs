//! The worker of one pod: a task that owns everything known of the pod and polls everything done for it.
//!
//! ```text
//! manager ──watch(Desired)──► worker ◄── monitor events, probe verdicts
//!                               │  ▲
//!                        plan ──┘  └── outcomes of operations (polled by the worker itself)
//! ```
//!
//! Nothing of another pod is ever waited for; the manager only ever replaces the desired state.

mod act;
mod finish;
mod loss;
mod outcome;
mod probing;
mod starting;
mod view;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use barepod_runtime::protocol::{Event, Exit};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use oci_spec::runtime::Process;
use tokio::sync::{mpsc, watch};

use super::backoff::Retry;
use super::observed::{Observed, Seen, State, Step};
use super::ops::Gate;
use super::ops::sandbox::Sandbox;
use super::plan::plan;
use super::shape;
use super::store::{RunRecord, Store, Stored};
use crate::kinds::{Pod, PodStatus};
use crate::objects::Feed;
use crate::probes::{self, Verdict};
use crate::shared::SharedRef;
use crate::status::{self, Place, Publisher};
use crate::time;
use crate::volumes::Volumes;
use outcome::Outcome;

/// What a worker is to bring about.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The pod, as last seen.
    pub pod: Arc<Pod>,
    /// It is no longer wanted: its object, or its manifest, is gone.
    pub gone: bool,
    /// Its status belongs to this object of the API: the pod itself, or a static pod's mirror, as first seen.
    pub reported: Option<Arc<Pod>>,
    /// It comes from a manifest of this node.
    pub from_manifest: bool,
}

/// What a worker begins with when the pod was here before this agent.
#[derive(Debug, Default)]
pub struct Inherited {
    /// What is known.
    pub seen: Observed,
    /// Its sandbox, with its events.
    pub sandbox: Option<(Sandbox, mpsc::Receiver<Event>)>,
    /// What runs in its containers, by name.
    pub runs: HashMap<String, RunRecord>,
}

/// Everything there is of one pod.
pub struct Worker {
    shared: SharedRef,
    uid: String,
    store: Arc<Store>,
    desired: watch::Receiver<Desired>,
    now: Desired,
    seen: Observed,
    runs: HashMap<String, Run>,
    early: HashMap<String, Exit>,
    sandbox: watch::Sender<Gate<Sandbox>>,
    volumes: watch::Sender<Gate<Arc<Volumes>>>,
    feeds: Vec<Feed>,
    events: Option<mpsc::Receiver<Event>>,
    verdicts: (mpsc::Sender<Verdict>, mpsc::Receiver<Verdict>),
    ops: FuturesUnordered<BoxFuture<'static, Outcome>>,
    cancel: watch::Sender<bool>,
    kill_at: watch::Sender<Option<tokio::time::Instant>>,
    publisher: Publisher,
    sandbox_retry: Retry,
    volumes_retry: Retry,
    start_retries: HashMap<String, Retry>,
    state_version: u64,
    state_saved: Option<Stored>,
    image_watch: bool,
    refreshing: Option<bool>,
    deleting_object: bool,
    delete_delay: Option<Duration>,
    wiped: bool,
    finished: bool,
}

/// A container that runs, or is about to end.
struct Run {
    id: String,
    process: Option<Arc<Process>>,
    image_stop_signal: Option<String>,
    ended: watch::Sender<bool>,
    probes: HashMap<probes::Kind, probes::Running>,
}

/// Makes a worker, which shows its pod to the node API at once; the future runs it to the end of its pod and gives the
/// UID.
pub fn run(
    shared: SharedRef,
    desired: watch::Receiver<Desired>,
    inherited: Option<Inherited>,
) -> impl Future<Output = String> + Send {
    let mut worker = Worker::new(shared, desired, inherited);
    worker.show();
    async move {
        worker.work().await;
        worker.shared.registry.remove(&worker.uid);
        worker.uid
    }
}

impl Worker {
    fn new(shared: SharedRef, mut desired: watch::Receiver<Desired>, inherited: Option<Inherited>) -> Self {
        let now = desired.borrow_and_update().clone();
        let uid = shape::uid(&now.pod).to_owned();
        let store = Arc::new(Store::new(shared.config.pod_dir(&uid)));
        let publisher = Publisher::new(reported_status(&now));
        let inherited = inherited.unwrap_or_else(|| Inherited {
            seen: fresh(&now.pod),
            ..Inherited::default()
        });
        let mut worker = Self {
            uid,
            store,
            desired,
            seen: inherited.seen,
            runs: HashMap::new(),
            early: HashMap::new(),
            sandbox: watch::channel(Gate::Pending).0,
            volumes: watch::channel(Gate::Pending).0,
            feeds: Vec::new(),
            events: None,
            verdicts: mpsc::channel(16),
            ops: FuturesUnordered::new(),
            cancel: watch::channel(false).0,
            kill_at: watch::channel(None).0,
            publisher,
            sandbox_retry: Retry::new(Duration::from_millis(500), Duration::from_secs(60)),
            volumes_retry: Retry::new(Duration::from_millis(500), Duration::from_secs(120)),
            start_retries: HashMap::new(),
            state_version: 0,
            state_saved: None,
            image_watch: false,
            refreshing: None,
            deleting_object: false,
            delete_delay: None,
            wiped: false,
            finished: false,
            now,
            shared,
        };
        worker.inherit(inherited.sandbox, inherited.runs);
        worker.consider();
        worker
    }

    /// Takes over a sandbox that was made before this agent started.
    fn inherit(&mut self, sandbox: Option<(Sandbox, mpsc::Receiver<Event>)>, runs: HashMap<String, RunRecord>) {
        let Some((sandbox, events)) = sandbox else { return };
        self.seen.sandbox = Step::Ready;
        self.seen.ip = sandbox.ip;
        self.sandbox.send_replace(Gate::Open(sandbox));
        self.events = Some(events);
        for (name, run) in runs {
            let Some(id) = self.seen.containers.get(&name).and_then(|it| it.id.clone()) else {
                continue;
            };
            self.runs.insert(
                name.clone(),
                Run {
                    id,
                    process: Some(run.process),
                    image_stop_signal: run.stop_signal,
                    ended: watch::channel(false).0,
                    probes: HashMap::new(),
                },
            );
            self.begin_probes(&name, true);
        }
    }

    async fn work(&mut self) {
        loop {
            self.step();
            if self.finished {
                return;
            }
            let wake = self.wake_at();
            tokio::select! {
                biased;
                changed = self.desired.changed() => {
                    // The manager is gone: the agent ends, the pod goes on without it.
                    if changed.is_err() {
                        return;
                    }
                    self.consider();
                }
                event = next(&mut self.events) => self.hear(event),
                Some(outcome) = self.ops.next(), if !self.ops.is_empty() => self.take(outcome),
                Some(verdict) = self.verdicts.1.recv() => self.judge(verdict),
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Plans, acts, reports and remembers.
    fn step(&mut self) {
        // An action may finish at once and make another possible.
        for _ in 0..8 {
            let mut again = false;
            for action in plan(&self.now.pod, &self.seen, Instant::now()).actions {
                again |= self.act(action);
            }
            if !again {
                break;
            }
        }
        self.report();
        self.save();
        self.show();
    }

    fn wake_at(&self) -> Option<Instant> {
        let planned = plan(&self.now.pod, &self.seen, Instant::now()).wake_at;
        [planned, self.publisher.wake_at()].into_iter().flatten().min()
    }

    /// Looks at a new desired state.
    fn consider(&mut self) {
        let next = self.desired.borrow_and_update().clone();
        let pod_changed = next.pod != self.now.pod;
        if reported_uid(&next) != reported_uid(&self.now) {
            self.publisher.rebase(reported_status(&next));
        }
        self.now = next;
        let started = self.seen.start_time.get_or_insert_with(time::now).clone();
        if let Some(secs) = shape::spec(&self.now.pod).active_deadline_seconds {
            let passed = time::now().0.as_second() - started.0.as_second();
            let left = u64::try_from(secs.saturating_sub(passed)).unwrap_or(0);
            self.seen.deadline = Some(Instant::now() + Duration::from_secs(left));
        } else {
            self.seen.deadline = None;
        }
        if self.now.gone || self.now.pod.metadata.deletion_timestamp.is_some() {
            self.seen.deleting = true;
            self.cancel.send_replace(true);
            self.hasten();
            // It had ended before, and its logs were kept.
            if self.seen.sandbox == Step::Gone && !self.wiped {
                self.seen.sandbox = Step::Absent;
            }
        }
        if pod_changed && self.seen.sandbox != Step::Absent && self.seen.sandbox != Step::Gone {
            let (store, pod) = (Arc::clone(&self.store), Arc::clone(&self.now.pod));
            self.op(async move { Outcome::Written(crate::shared::blocking(move || store.write_pod(&pod)).await) });
            if crate::volumes::follow_pod(&self.now.pod) {
                self.refresh_volumes();
            }
        }
    }

    /// A shorter grace period than before counts from now. A pod whose object is gone from the API was deleted by
    /// force: what is left of it gets a moment, as the kubelet gives it.
    fn hasten(&mut self) {
        let forced = self.now.gone && !self.now.from_manifest;
        let grace = if forced { 1 } else { shape::grace_secs(&self.now.pod) };
        let at = tokio::time::Instant::now() + Duration::from_secs(u64::try_from(grace).unwrap_or(30).max(1));
        self.kill_at.send_if_modified(|known| {
            let sooner = known.is_none_or(|known| at < known);
            if sooner {
                *known = Some(at);
            }
            sooner
        });
    }

    fn op(&self, future: impl Future<Output = Outcome> + Send + 'static) {
        self.ops.push(Box::pin(future));
    }

    fn container(&mut self, name: &str) -> &mut Seen {
        self.seen.containers.entry(name.to_owned()).or_default()
    }

    /// Whether more is to come within moments, so that a status may wait for it.
    fn busy(&self) -> bool {
        let moving = |it: &Seen| {
            it.state == State::Starting
                || (matches!(it.state, State::Running { .. }) && !it.hook_done)
                || (self.seen.deleting && it.active())
        };
        self.seen.sandbox == Step::Busy || self.seen.volumes == Step::Busy || self.seen.containers.values().any(moving)
    }

    fn report(&mut self) {
        // What ended before this agent saw it was reported then.
        if self.seen.over {
            return;
        }
        let place = Place {
            host_ip: Some(self.shared.host.ip),
            now: time::now(),
            instant: Instant::now(),
        };
        let before = self.publisher.last();
        let status = status::build(&self.now.pod, &self.seen, before.as_deref(), &place);
        self.publisher.set(status, place.instant);
        let subject = reported_uid(&self.now).map(|uid| status::Subject::new(&self.now.pod, uid));
        let busy = self.busy();
        if let Some(patch) = self.publisher.next(&self.shared.client, subject, busy, place.instant) {
            let slots = self.shared.slots.clone();
            self.op(async move { Outcome::Reported(patch.send(&slots).await) });
        }
    }

    fn record(&mut self) -> (u64, Stored) {
        self.state_version += 1;
        (
            self.state_version,
            Stored::of(&self.seen, &self.shared.host.boot_id, self.now.from_manifest),
        )
    }

    /// Remembers what is known, if it is not what is remembered. A start remembers for itself, before it acts.
    fn save(&mut self) {
        if matches!(self.seen.sandbox, Step::Absent)
            || self.seen.over
            || (self.seen.deleting && self.seen.sandbox == Step::Gone)
        {
            return;
        }
        let state = Stored::of(&self.seen, &self.shared.host.boot_id, self.now.from_manifest);
        if self.state_saved.as_ref() == Some(&state)
            || self.seen.containers.values().any(|it| it.state == State::Starting)
        {
            return;
        }
        self.state_saved = Some(state.clone());
        self.state_version += 1;
        let (store, version) = (Arc::clone(&self.store), self.state_version);
        self.op(
            async move { Outcome::Written(crate::shared::blocking(move || store.write_state(version, &state)).await) },
        );
    }
}

fn reported_uid(desired: &Desired) -> Option<&str> {
    desired.reported.as_ref().map(|it| shape::uid(it))
}

fn reported_status(desired: &Desired) -> Option<PodStatus> {
    desired.reported.as_ref()?.status.clone()
}

/// A pod that this node sees for the first time.
fn fresh(pod: &Pod) -> Observed {
    let status = pod.status.as_ref();
    let phase = status.and_then(|it| it.phase.as_deref());
    Observed {
        over: matches!(phase, Some("Succeeded" | "Failed")),
        start_time: status.and_then(|it| it.start_time.clone()),
        ..Observed::default()
    }
}

/// The next event, or `None` when the monitor is gone; never without a monitor.
async fn next(events: &mut Option<mpsc::Receiver<Event>>) -> Option<Event> {
    match events {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
