//! What happens when a sandbox or a container is no longer there.

use std::sync::Arc;
use std::time::Instant;

use super::super::observed::{Failure, State, Step, Termination};
use super::super::ops::{Gate, remove};
use super::super::shape;
use super::Worker;
use super::outcome::Outcome;
use crate::events::Level;
use crate::time;

impl Worker {
    /// Without its sandbox a pod cannot go on: it fails and its controller replaces it. A static pod has no controller
    /// and is made again in place, and so is a pod of which nothing has run yet.
    pub(super) fn sandbox_lost(&mut self, message: &str) {
        self.events = None;
        if matches!(self.seen.sandbox, Step::Busy | Step::Gone | Step::Absent) {
            return;
        }
        tracing::error!(pod = self.uid, message, "sandbox lost");
        self.shared.events.pod(
            &self.now.pod,
            None,
            Level::Warning,
            "SandboxChanged",
            format!("{message}; all of its containers are ended"),
        );
        let names: Vec<String> = self
            .seen
            .containers
            .iter()
            .filter(|(_, it)| it.active())
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            // A start under way ends by itself, because the monitor does not answer it any more.
            if self.container(&name).state != State::Starting {
                self.lost(&name);
            }
        }
        let ran = self
            .seen
            .containers
            .values()
            .any(|it| it.last.is_some() || !matches!(it.state, State::Absent | State::Starting));
        if (self.now.from_manifest || !ran) && !self.seen.deleting {
            return self.start_over();
        }
        self.cancel.send_replace(true);
        self.seen.failure.get_or_insert_with(|| Failure {
            reason: "SandboxLost".into(),
            message: message.to_owned(),
        });
    }

    /// Makes the sandbox again, and everything in it.
    fn start_over(&mut self) {
        for it in self.seen.containers.values_mut() {
            it.restart_from_nothing();
        }
        self.runs.clear();
        self.seen.ip = None;
        self.seen.sandbox = Step::Busy;
        self.sandbox.send_replace(Gate::Failed);
        let (shared, uid, host_network) = (
            Arc::clone(&self.shared),
            self.uid.clone(),
            shape::host_network(&self.now.pod),
        );
        self.op(async move {
            for error in remove::kernel(&shared, &uid, None, host_network).await {
                tracing::warn!(pod = uid, error, "lost sandbox not wholly removed");
            }
            Outcome::LostRemoved
        });
    }

    /// A container whose process nobody can reach any more counts as ended.
    pub(super) fn lost(&mut self, name: &str) {
        let it = self.container(name);
        if !it.active() {
            return;
        }
        let started_at = match &it.state {
            State::Running { since } | State::Stopping { since } => Some(since.clone()),
            _ => None,
        };
        let end = Termination {
            id: it.id.clone().unwrap_or_default(),
            code: 137,
            signal: None,
            reason: "ContainerStatusUnknown".into(),
            message: "The container could not be located when the pod was terminated".into(),
            started_at,
            finished_at: time::now(),
        };
        it.state = State::Exited {
            end,
            at: Instant::now(),
        };
        if let Some(run) = self.runs.remove(name) {
            run.ended.send_replace(true);
        }
    }
}
