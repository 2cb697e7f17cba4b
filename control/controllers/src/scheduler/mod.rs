//! Binds pods to nodes.
//!
//! Input: changes of pods and nodes. Output: bindings, many in flight at a time; the condition PodScheduled=False and
//! events for pods without a node. Placing is a pure function of the cache of nodes; a placed pod counts at once, so the
//! next one does not wait for the answer of the API. Pods without a node are tried again when something changes that
//! could help them, never by a timer.

mod bind;
mod cache;
mod fit;
mod node_selector;
mod place;
mod request;
mod resources;
mod score;
mod taints;
mod waiting;

pub(crate) use taints::tolerates;

use crate::api::Writer;
use crate::context::Context;
use crate::informer::{Change, Key};
use crate::objects::{Node, Pod};
use crate::queue::Queue;
use crate::recorder::Events;
use crate::sync::lock;
use cache::Cache;
use place::{Unschedulable, place};
use request::Request;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use waiting::{Candidate, Waiting};

const NAME: &str = "default-scheduler";

/// Bindings in flight.
const BINDINGS: usize = 64;

/// The scheduler.
pub(crate) struct Scheduler {
    context: Arc<Context>,
    writer: Writer,
    events: Events,
    state: Mutex<State>,
    wake: Notify,
    /// Pods whose failure is to be reported.
    reports: Queue<(Key, Box<str>, String)>,
    /// Pods whose binding failed and that are tried again after a while.
    retries: Queue<Box<str>>,
}

#[derive(Default)]
struct State {
    cache: Cache,
    waiting: Waiting,
    turn: usize,
}

impl Scheduler {
    pub(crate) fn new(context: &Arc<Context>) -> Arc<Self> {
        let scheduler = Arc::new(Self {
            context: context.clone(),
            writer: Writer::new(context.client.clone(), NAME),
            events: context.recorder.of(NAME),
            state: Mutex::default(),
            wake: Notify::new(),
            reports: Queue::new(context.options.queues.named(NAME)),
            retries: Queue::new(context.options.queues.named(NAME)),
        });
        let this = scheduler.clone();
        context.nodes.on_change(move |change| this.node_changed(change));
        let this = scheduler.clone();
        context.pods.on_change(move |change| this.pod_changed(change));
        scheduler
    }

    /// Works until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        self.context.nodes.synced().await;
        self.context.pods.synced().await;
        tokio::join!(self.clone().place_all(), self.report_all(), self.retry_all());
    }

    fn node_changed(&self, change: &Change<Node>) {
        let mut state = lock(&self.state);
        let woken = match (&change.old, &change.new) {
            (_, Some(node)) => state.cache.set_node(node) && state.waiting.wake(false),
            (Some(node), None) => {
                state
                    .cache
                    .remove_node(node.metadata.name.as_deref().unwrap_or_default());
                false
            }
            (None, None) => false,
        };
        drop(state);
        if woken {
            self.wake.notify_one();
        }
    }

    fn pod_changed(&self, change: &Change<Pod>) {
        let Some(pod) = change.any() else { return };
        let mut state = lock(&self.state);
        let woken = match (&change.new, pod.node()) {
            // A pod that ended holds nothing, though its object stays.
            (Some(pod), Some(node)) if !pod.is_finished() => {
                state.waiting.remove(pod.uid());
                state.cache.set_pod(pod, node);
                false
            }
            (Some(pod), None) if self.is_mine(pod) => {
                let priority = pod.spec.priority.unwrap_or(0);
                let candidate = Candidate {
                    key: Key::of(&pod.metadata),
                    uid: pod.uid().into(),
                    priority,
                    request: Arc::new(Request::of(pod)),
                };
                // Assumed on a node: the binding is on its way.
                !state.cache.holds(pod.uid()) && state.waiting.set(candidate)
            }
            _ => {
                state.waiting.remove(pod.uid());
                state.cache.remove(pod.uid()) && state.waiting.wake(true)
            }
        };
        drop(state);
        if woken {
            self.wake.notify_one();
        }
    }

    fn is_mine(&self, pod: &Pod) -> bool {
        let scheduler = pod.spec.scheduler_name.as_deref().unwrap_or(NAME);
        scheduler == self.context.options.scheduler_name && pod.spec.scheduling_gates.is_empty() && pod.is_active()
    }

    async fn place_all(self: Arc<Self>) {
        let permits = Arc::new(Semaphore::new(BINDINGS));
        let mut bindings = JoinSet::new();
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else {
                return;
            };
            while bindings.try_join_next().is_some() {}
            match self.place_next() {
                Some((candidate, node)) => {
                    let this = self.clone();
                    bindings.spawn(async move {
                        this.bind(candidate, node).await;
                        drop(permit);
                    });
                }
                None => {
                    drop(permit);
                    self.wake.notified().await;
                }
            }
        }
    }

    /// Places the most important waiting pod; `None` when none waits.
    fn place_next(&self) -> Option<(Candidate, String)> {
        loop {
            let mut state = lock(&self.state);
            let candidate = state.waiting.take()?;
            let turn = state.turn;
            match place(&state.cache, &candidate.request, turn) {
                Ok(node) => {
                    state.turn = turn.wrapping_add(1);
                    let footprint = Arc::new(candidate.request.footprint.clone());
                    state.cache.assume(&candidate.uid, &node, footprint);
                    return Some((candidate, node));
                }
                Err(Unschedulable { message, hints }) => {
                    state.waiting.park(&candidate.uid, hints);
                    drop(state);
                    self.reports.add((candidate.key, candidate.uid, message));
                }
            }
        }
    }
}
