//! What follows an attempt to start a container: its hook and probes, or the wait for the next attempt.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::backoff::Retry;
use super::super::observed::{State, Termination, Unhealthy, Waiting};
use super::super::ops::{Gate, start};
use super::Worker;
use super::outcome::Outcome;
use crate::events::Level;
use crate::shared::blocking;
use crate::{files, time};

impl Worker {
    pub(super) fn started(&mut self, name: &str, id: &str, result: Result<Box<start::Started>, start::Failure>) {
        let pod = Arc::clone(&self.now.pod);
        // The sandbox it was to run in is gone, and this attempt with it.
        if self.container(name).id.as_deref() != Some(id) {
            return;
        }
        match result {
            Ok(started) => {
                let it = self.container(name);
                it.state = State::Running {
                    since: started.since.clone(),
                };
                it.image.clone_from(&started.run.image);
                it.image_id.clone_from(&started.run.image_id);
                it.waiting = None;
                it.blocked_until = None;
                let image = it.spec_image.clone();
                let (first, last) = (it.restarts == 0, it.last.as_ref().map(|end| end.id.clone()));
                self.start_retries.remove(name);
                if let Some(run) = self.runs.get_mut(name) {
                    run.process = Some(started.run.process);
                    run.image_stop_signal = started.run.stop_signal;
                }
                if first {
                    let text = format!("Container image {image:?} already present on machine");
                    self.shared.events.pod(&pod, Some(name), Level::Normal, "Pulled", text);
                }
                self.shared.events.pod(
                    &pod,
                    Some(name),
                    Level::Normal,
                    "Created",
                    format!("Created container: {name}"),
                );
                self.shared.events.pod(
                    &pod,
                    Some(name),
                    Level::Normal,
                    "Started",
                    format!("Started container {name}"),
                );
                self.run_post_start(name);
                self.begin_probes(name, false);
                self.clean_up_after(name, last);
                if let Some(exit) = self.early.remove(id) {
                    self.exited(name, id, exit);
                }
            }
            Err(start::Failure::Cancelled) => {
                self.runs.remove(name);
                self.not_started(name, None);
            }
            Err(start::Failure::Wait(why)) => {
                self.runs.remove(name);
                tracing::warn!(
                    pod = self.uid,
                    container = name,
                    reason = why.reason,
                    message = why.message,
                    "container not started"
                );
                self.shared
                    .events
                    .pod(&pod, Some(name), Level::Warning, "Failed", why.message.clone());
                self.not_started(name, Some(why));
            }
            Err(start::Failure::Exec { code, message }) => {
                self.shared
                    .events
                    .pod(&pod, Some(name), Level::Warning, "Failed", format!("Error: {message}"));
                let end = Termination {
                    id: id.to_owned(),
                    code,
                    signal: None,
                    reason: "StartError".into(),
                    message,
                    started_at: None,
                    finished_at: time::now(),
                };
                self.container(name).waiting = None;
                self.ended(name, end);
            }
        }
    }

    /// There is no container; the attempt does not count.
    fn not_started(&mut self, name: &str, why: Option<Waiting>) {
        let retry = self
            .start_retries
            .entry(name.to_owned())
            .or_insert_with(|| Retry::new(Duration::from_secs(1), Duration::from_secs(300)));
        let delay = why.is_some().then(|| retry.step());
        let it = self.container(name);
        // A restart that could not begin is still the same restart.
        match it.last.take() {
            Some(end) if it.restarts > 0 => {
                it.restarts -= 1;
                it.state = State::Exited {
                    end,
                    at: Instant::now(),
                };
            }
            last => {
                it.last = last;
                it.state = State::Absent;
            }
        }
        it.blocked_until = delay.map(|delay| Instant::now() + delay);
        let by_image = why.as_ref().is_some_and(|it| it.reason.contains("Image"));
        // The first failure says what is wrong, the following ones that it is being waited.
        it.waiting = why.map(|why| match it.waiting.take() {
            Some(known)
                if why.reason == "ErrImagePull"
                    && known.reason.starts_with("ErrImagePull") | known.reason.starts_with("ImagePullBackOff") =>
            {
                Waiting::new("ImagePullBackOff", format!("Back-off pulling image: {}", why.message))
            }
            _ => why,
        });
        if by_image && !self.image_watch {
            self.image_watch = true;
            let mut changes = self.shared.image_changes.clone();
            changes.mark_unchanged();
            self.op(async move {
                match changes.changed().await {
                    Ok(()) => Outcome::ImagesChanged,
                    Err(_) => std::future::pending().await,
                }
            });
        }
    }

    pub(super) fn images_changed(&mut self) {
        self.image_watch = false;
        for it in self.seen.containers.values_mut() {
            if it.waiting.as_ref().is_some_and(|why| why.reason.contains("Image")) {
                it.blocked_until = None;
            }
        }
    }

    pub(super) fn post_started(&mut self, name: &str, id: &str, result: Result<(), String>) {
        if self.container(name).id.as_deref() != Some(id) {
            return;
        }
        self.container(name).hook_done = true;
        if let Err(message) = result {
            let text = format!("PostStartHook failed: {message}");
            self.shared
                .events
                .pod(&self.now.pod, Some(name), Level::Warning, "FailedPostStartHook", text);
            self.container(name).unhealthy = Some(Unhealthy {
                message: "postStart hook".into(),
                grace_secs: None,
            });
        }
    }

    /// Removes what the attempt before the last restart left: its cgroup, its writable layer, older logs.
    fn clean_up_after(&mut self, name: &str, last: Option<String>) {
        let Gate::Open(sandbox) = self.sandbox.borrow().clone() else {
            return;
        };
        let Some(id) = last.filter(|id| !id.is_empty()) else {
            return;
        };
        let store = Arc::clone(&self.store);
        let attempt = self.container(name).restarts;
        let name = name.to_owned();
        self.op(async move {
            if let Err(error) = sandbox.monitor.delete(&id).await {
                tracing::warn!(container = id, %error, "ended container not removed");
            }
            blocking(move || {
                if let Err(error) = files::remove_tree(&store.container_dir(&id)) {
                    tracing::warn!(container = id, %error, "directory of an ended container not removed");
                }
                if let Some(old) = attempt.checked_sub(2) {
                    remove_log(&store.log(&name, old));
                }
            })
            .await;
            Outcome::Cleaned
        });
    }
}

fn remove_log(path: &std::path::Path) {
    let Some((dir, name)) = path.parent().zip(path.file_name()) else {
        return;
    };
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        // Rotated ones lie beside it.
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(name.as_encoded_bytes())
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
