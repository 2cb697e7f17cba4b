//! Shows the pod to the node API.

use std::sync::Arc;

use tokio::sync::watch;

use super::super::observed::State;
use super::super::ops::Gate;
use super::super::registry::{ContainerView, View};
use super::super::shape;
use super::Worker;

impl Worker {
    pub(super) fn show(&self) {
        let (monitor, netns) = match &*self.sandbox.borrow() {
            Gate::Open(sandbox) => (Some(sandbox.monitor.clone()), sandbox.netns.clone()),
            _ => (None, None),
        };
        let containers =
            shape::containers(&self.now.pod).map(|(_, it)| (it.name.clone(), self.show_container(&it.name)));
        let view = View {
            status: self
                .publisher
                .last()
                .or_else(|| self.now.pod.status.clone().map(Arc::new)),
            containers: containers.collect(),
            pod: Arc::clone(&self.now.pod),
            monitor,
            netns,
        };
        self.shared.registry.set(&self.uid, view);
    }

    fn show_container(&self, name: &str) -> ContainerView {
        let seen = self.seen.containers.get(name);
        let run = self.runs.get(name);
        let running = seen.is_some_and(|it| matches!(it.state, State::Running { .. } | State::Stopping { .. }));
        let attempt = seen
            .filter(|it| it.id.is_some() && it.state != State::Absent)
            .map(|it| it.restarts);
        // An attempt that is only being made has no log yet; the one before it is what there is to read.
        let current = match (attempt, seen.map(|it| &it.state)) {
            (Some(0), Some(State::Starting)) | (None, _) => None,
            (Some(attempt), Some(State::Starting)) => Some(attempt - 1),
            (attempt, _) => attempt,
        };
        ContainerView {
            id: seen.and_then(|it| it.id.clone()),
            process: run.and_then(|it| it.process.clone()).filter(|_| running),
            log: current.map(|attempt| self.store.log(name, attempt)),
            previous_log: current
                .and_then(|it| it.checked_sub(1))
                .map(|attempt| self.store.log(name, attempt)),
            finished: run
                .filter(|_| running)
                .map_or_else(|| watch::channel(true).1, |it| it.ended.subscribe()),
        }
    }
}
