//! The end of a pod: what has to be true before its object is deleted, and the deletion.

use std::sync::Arc;

use barepod_client::{Client, Error};

use super::super::mirror;
use super::super::observed::Step;
use super::Worker;
use super::outcome::Outcome;
use crate::kinds::Pod;
use crate::shared::blocking;

impl Worker {
    pub(super) fn removed(&mut self, all: bool) {
        self.seen.volumes = Step::Absent;
        self.wiped = all;
        // It was deleted while all but its logs was removed: once more, for the rest.
        self.seen.sandbox = if all || !self.seen.deleting {
            Step::Gone
        } else {
            Step::Absent
        };
        if !self.seen.deleting {
            let store = Arc::clone(&self.store);
            let state = self.record();
            self.op(async move { Outcome::Written(blocking(move || store.write_state(state.0, &state.1)).await) });
        }
    }

    /// Nothing is left here: says so, once the last status is on its way.
    pub(super) fn finish(&mut self) {
        if self.now.gone {
            self.finished = true;
            return;
        }
        if self.deleting_object || (!self.publisher.settled() && !self.seen.over) {
            return;
        }
        self.deleting_object = true;
        let (client, slots, pod, delay) = (
            self.shared.client.clone(),
            self.shared.slots.clone(),
            Arc::clone(&self.now.pod),
            self.delete_delay.take(),
        );
        self.op(async move {
            if let Some(delay) = delay {
                tokio::time::sleep(delay).await;
            }
            Outcome::Deleted(slots.run(delete(client, &pod)).await)
        });
    }

    pub(super) fn deleted(&mut self, result: Result<(), Error>) {
        self.deleting_object = false;
        match result {
            Ok(()) => self.finished = true,
            Err(error) => {
                tracing::warn!(
                    pod = self.uid,
                    error = error.chain(),
                    "pod not deleted in the API; it is tried again"
                );
                self.delete_delay = Some(self.sandbox_retry.step());
            }
        }
    }
}

/// Deletes the object for good. One that is gone, or was replaced by another of its name, is no error.
async fn delete(client: Client, pod: &Pod) -> Result<(), Error> {
    match client.send(mirror::delete(pod)).await {
        Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
        result => result,
    }
}
