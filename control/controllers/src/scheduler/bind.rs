//! Sends bindings, and reports the pods that have no node.

use super::Scheduler;
use super::waiting::Candidate;
use crate::api::{Error, Part};
use crate::objects::Pod;
use crate::sync::lock;
use barepod_client::types::Time;
use jiff::Timestamp;
use serde_json::json;

impl Scheduler {
    pub(super) async fn bind(&self, candidate: Candidate, node: String) {
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {
                "name": candidate.key.name(), "namespace": candidate.key.namespace(), "uid": candidate.uid,
            },
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        match self.writer.post::<Pod>(&candidate.key, "binding", &binding).await {
            Ok(_) => {
                self.retries.forget(&candidate.uid);
                if let Some(pod) = self.context.pods.get(&candidate.key) {
                    let message = format!("Successfully assigned {} to {node}", candidate.key);
                    self.events.normal(&*pod, "Scheduled", message);
                }
            }
            Err(error) => self.binding_failed(&candidate, &error),
        }
    }

    fn binding_failed(&self, candidate: &Candidate, error: &Error) {
        lock(&self.state).cache.forget(&candidate.uid);
        // Bound, deleted or replaced by another: the watch tells the rest.
        if error.is_not_found() {
            lock(&self.state).waiting.remove(&candidate.uid);
            return;
        }
        let delay = self.retries.retry(candidate.uid.clone());
        tracing::debug!(pod = %candidate.key, error = %error.chain(), ?delay, "binding failed, will retry");
    }

    /// Puts pods whose binding failed back in line.
    pub(super) async fn retry_all(&self) {
        loop {
            let uid = self.retries.next().await;
            {
                let mut state = lock(&self.state);
                // Freed room may let others in, too.
                state.waiting.wake(true);
                state.waiting.retry(&uid);
            }
            self.retries.done(&uid);
            self.wake.notify_one();
        }
    }

    /// Tells the users of pods without a node.
    pub(super) async fn report_all(&self) {
        let report = |(key, uid, message): (crate::informer::Key, Box<str>, String)| async move {
            let Some(pod) = self
                .context
                .pods
                .get(&key)
                .filter(|p| p.uid() == &*uid && p.node().is_none())
            else {
                return Ok(None);
            };
            self.events.warning(&*pod, "FailedScheduling", message.clone());
            let known = pod.condition("PodScheduled");
            let generation = pod.metadata.generation;
            if known.is_some_and(|c| {
                c.status == "False" && c.message.as_deref() == Some(&message) && c.observed_generation == generation
            }) {
                return Ok(None);
            }
            let since = known
                .filter(|c| c.status == "False")
                .and_then(|c| c.last_transition_time.clone());
            let patch = json!({"status": {"conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
                "observedGeneration": generation, "lastProbeTime": null, "lastTransitionTime": since.unwrap_or(Time(Timestamp::now())),
            }]}});
            match self
                .writer
                .strategic(&self.context.pods, &key, Part::Status, &patch)
                .await
            {
                Err(error) if !error.is_not_found() && !error.is_refused() => Err(error),
                _ => Ok(None),
            }
        };
        self.reports.drive("scheduler", 8, report).await;
    }
}
