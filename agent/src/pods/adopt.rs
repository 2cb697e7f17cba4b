//! Finds what an agent before this one left running, and takes it over: pods whose monitor lives go on as they are,
//! without a restart counted; what has ended meanwhile is found in the monitor's records.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kinds::Pod;
use barepod_runtime::protocol::{ContainerState, Phase, SandboxState};

use super::observed::{Failure, Observed, Seen, State, Step, Termination};
use super::ops::end::{self, Words};
use super::ops::{remove, sandbox};
use super::shape;
use super::store::{RunRecord, Store, Stored, StoredContainer};
use super::worker::Inherited;
use crate::drivers::network::chain;
use crate::shared::{SharedRef, blocking, off_loop};
use crate::{files, time};

/// A pod that was here before.
pub struct Found {
    /// The pod, as it was written down.
    pub pod: Arc<Pod>,
    /// It comes from a manifest.
    pub from_manifest: bool,
    /// What its worker begins with.
    pub inherited: Inherited,
}

/// Looks at every pod that was written down and every sandbox there is. What belongs to no pod is removed.
pub async fn adopt_all(shared: &SharedRef) -> Vec<Found> {
    let trash = shared.config.trash();
    off_loop(Box::new(move || remove::empty(&trash)));
    let (state_pods, run_pods) = (shared.config.state_dir.join("pods"), shared.config.run_dir.join("pods"));
    let mut uids = blocking(move || {
        let mut uids = names(&state_pods);
        uids.extend(names(&run_pods));
        uids.sort_unstable();
        uids.dedup();
        uids
    })
    .await;
    let ips: HashMap<String, Ipv4Addr> = shared
        .attachments()
        .await
        .into_iter()
        .map(|it| (it.uid, it.ip))
        .collect();
    let found = uids
        .drain(..)
        .map(|uid| adopt(shared, uid.clone(), ips.get(&uid).copied()));
    futures_util::future::join_all(found)
        .await
        .into_iter()
        .flatten()
        .collect()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

async fn adopt(shared: &SharedRef, uid: String, ip: Option<Ipv4Addr>) -> Option<Found> {
    let store = Arc::new(Store::new(shared.config.pod_dir(&uid)));
    let read = {
        let store = Arc::clone(&store);
        blocking(move || store.read()).await
    };
    let (pod, stored) = match read {
        Ok((pod, stored)) if shape::uid(&pod) == uid => (Arc::new(pod), stored),
        _ => {
            tracing::warn!(pod = uid, "sandbox of an unknown pod is removed");
            let job = remove::Job {
                shared: Arc::clone(shared),
                uid,
                store,
                monitor: None,
                host_network: false,
                all: true,
            };
            remove::remove(job).await;
            return None;
        }
    };
    let dir = shared.config.sandbox_dir(&uid);
    let connected = {
        let dir = dir.clone();
        // A monitor that hangs must not keep the other pods from being taken over.
        tokio::time::timeout(Duration::from_secs(5), async move { sandbox::connect(&dir).await }).await
    };
    let ip = if shape::host_network(&pod) {
        Some(shared.host.ip)
    } else {
        ip.or(stored.ip)
    };
    let (monitor, events, netns) = match connected {
        Ok(Ok(connected)) => connected,
        Ok(Err(error)) => return Some(abandoned(shared, pod, stored, &error).await),
        Err(_) => return Some(abandoned(shared, pod, stored, "the pod's monitor does not answer").await),
    };
    let described = match monitor.describe().await {
        Ok(described) => described.state,
        Err(error) => return Some(abandoned(shared, pod, stored, &chain(&error)).await),
    };
    // Without pause or address there is nothing that containers could be added to: the sandbox was only half made.
    if described.pause_pid.is_none() || ip.is_none() {
        return Some(abandoned(shared, pod, stored, "the pod's sandbox is not whole").await);
    }
    let (seen, runs) = {
        let (pod, stored, store) = (Arc::clone(&pod), stored.clone(), Arc::clone(&store));
        let described = described.clone();
        blocking(move || take_over(&pod, &stored, &described, &store)).await
    };
    forget_unknown(&monitor, &described, &seen).await;
    let missing = {
        let (pod, store, hostname) = (Arc::clone(&pod), Arc::clone(&store), described.config.hostname.clone());
        blocking(move || sandbox::write_missing_hosts(&pod, &store, ip, &hostname)).await
    };
    if let Err(error) = missing {
        tracing::warn!(pod = uid, %error, "hosts file of an adopted pod not written");
    }
    tracing::info!(pod = shape::full_name(&pod), uid, "pod adopted");
    let sandbox = sandbox::Sandbox { monitor, netns, ip };
    let inherited = Inherited {
        seen,
        sandbox: Some((sandbox, events)),
        runs,
    };
    Some(Found {
        pod,
        from_manifest: stored.from_manifest,
        inherited,
    })
}

/// Containers that no record of the agent's knows: it died before it could write them down, or after it had replaced
/// them.
async fn forget_unknown(monitor: &crate::drivers::monitor::Monitor, described: &SandboxState, seen: &Observed) {
    let known = |id: &str| seen.containers.values().any(|it| it.id.as_deref() == Some(id));
    for container in described.containers.iter().filter(|it| !known(&it.id)) {
        if let Err(error) = monitor.delete(&container.id).await {
            tracing::warn!(
                container = container.id,
                error = chain(&error),
                "unknown container not removed"
            );
        }
    }
}

/// What is known of a pod whose sandbox lives. Blocking.
fn take_over(
    pod: &Pod,
    stored: &Stored,
    described: &SandboxState,
    store: &Store,
) -> (Observed, HashMap<String, RunRecord>) {
    // Volumes are looked at again: making them again is how they are brought up to date.
    let mut seen = base(stored);
    let mut runs = HashMap::new();
    for (_, container) in shape::containers(pod) {
        let Some(known) = stored.containers.get(&container.name) else {
            continue;
        };
        let state = known
            .id
            .as_ref()
            .and_then(|id| described.containers.iter().find(|it| &it.id == id));
        let from_log = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        let mut it = container_seen(known, state, |state, exit| {
            let file = store.container_dir(&state.id).join("termination-log");
            end::termination(
                &state.id,
                exit,
                &Words {
                    file,
                    log: from_log.then(|| state.log_path.clone()),
                },
            )
        });
        if matches!(it.state, State::Running { .. }) {
            match it.id.as_ref().map(|id| store.read_run(id)) {
                Some(Ok(run)) => {
                    it.image.clone_from(&run.image);
                    it.image_id.clone_from(&run.image_id);
                    runs.insert(container.name.clone(), run);
                }
                // The agent died before it knew that the container ran: it is made again, uncounted.
                _ => {
                    it = known.to_seen();
                    undo_start(&mut it, known);
                }
            }
        }
        seen.containers.insert(container.name.clone(), it);
    }
    (seen, runs)
}

fn base(stored: &Stored) -> Observed {
    Observed {
        failure: stored.failure.clone(),
        start_time: stored.start_time.clone(),
        ..Observed::default()
    }
}

fn container_seen(
    known: &StoredContainer,
    state: Option<&ContainerState>,
    ended: impl FnOnce(&ContainerState, &barepod_runtime::protocol::Exit) -> Termination,
) -> Seen {
    let mut it = known.to_seen();
    if let Some(end) = &known.end {
        it.id = known.id.clone();
        it.state = exited(end.clone());
        return it;
    }
    match state {
        Some(state) if state.phase == Phase::Running => {
            it.id = Some(state.id.clone());
            it.state = State::Running {
                since: state.started_at.as_deref().map_or_else(time::now, time::parse),
            };
            it.hook_done = true;
            it.started = known.started;
            it.ready = known.ready;
        }
        Some(state) => {
            if let Some(exit) = &state.exit {
                it.id = Some(state.id.clone());
                it.state = exited(ended(state, exit));
            } else {
                undo_start(&mut it, known);
            }
        }
        // The agent died between writing the attempt down and making it.
        None => undo_start(&mut it, known),
    }
    it
}

/// An attempt that never ran does not count.
fn undo_start(it: &mut Seen, known: &StoredContainer) {
    if known.restarts > 0
        && let Some(end) = it.last.take()
    {
        it.restarts = known.restarts - 1;
        it.state = exited(end);
    }
}

fn exited(end: Termination) -> State {
    let ago = time::now().0.as_second() - end.finished_at.0.as_second();
    let now = Instant::now();
    let at = u64::try_from(ago)
        .ok()
        .and_then(|secs| now.checked_sub(Duration::from_secs(secs)))
        .unwrap_or(now);
    State::Exited { end, at }
}

/// A pod whose sandbox is gone. After a reboot, and for a static pod, everything is made again; otherwise a pod whose
/// containers had run has failed and is replaced by its controller.
async fn abandoned(shared: &SharedRef, pod: Arc<Pod>, stored: Stored, why: &str) -> Found {
    let uid = shape::uid(&pod).to_owned();
    for error in remove::kernel(shared, &uid, None, shape::host_network(&pod)).await {
        tracing::warn!(pod = uid, error, "abandoned sandbox not removed");
    }
    let mounts = shared.config.pod_dir(&uid);
    blocking(move || {
        for name in ["subpaths", "containers"] {
            if let Err(error) = files::remove_tree(&mounts.join(name)) {
                tracing::warn!(pod = %mounts.display(), %error, "leftovers not removed");
            }
        }
    })
    .await;
    let mut seen = base(&stored);
    let mut lost = false;
    for (name, known) in &stored.containers {
        let mut it = known.to_seen();
        if let Some(end) = &known.end {
            it.id = known.id.clone();
            it.state = exited(end.clone());
        } else if let Some(id) = known.id.as_ref().filter(|_| known.ran) {
            lost = true;
            it.id = Some(id.clone());
            it.state = exited(unknown_end(id));
        } else {
            undo_start(&mut it, known);
            lost |= it.end().is_some();
        }
        seen.containers.insert(name.clone(), it);
    }
    let over = seen.failure.is_some() || super::plan::complete(&pod, &seen);
    let again = stored.from_manifest || stored.boot_id != shared.host.boot_id;
    if over {
        seen.sandbox = Step::Absent;
    } else if again || !lost {
        seen.containers.values_mut().for_each(Seen::restart_from_nothing);
    } else {
        tracing::error!(pod = uid, why, "pod's sandbox was lost while the agent was away");
        seen.failure = Some(Failure {
            reason: "SandboxLost".into(),
            message: format!("sandbox lost while the agent was away: {why}"),
        });
    }
    Found {
        pod,
        from_manifest: stored.from_manifest,
        inherited: Inherited {
            seen,
            ..Inherited::default()
        },
    }
}

fn unknown_end(id: &str) -> Termination {
    Termination {
        id: id.to_owned(),
        code: 137,
        signal: None,
        reason: "ContainerStatusUnknown".into(),
        message: "The container ended while the agent was away".into(),
        started_at: None,
        finished_at: time::now(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use barepod_runtime::protocol::Exit;

    fn known(restarts: u32) -> StoredContainer {
        StoredContainer {
            id: Some("i".into()),
            restarts,
            ready: true,
            started: true,
            last: (restarts > 0).then(|| unknown_end("h")),
            ..StoredContainer::default()
        }
    }

    fn state(phase: Phase, exit: Option<Exit>) -> ContainerState {
        serde_json::from_value(serde_json::json!({"id": "i", "name": "c", "phase": phase, "pid": 1, "cgroup": "/x", "log_path": "/l",
            "created_at": "2026-01-01T00:00:00Z", "started_at": "2026-01-01T00:00:00Z", "exit": exit, "annotations": {}}))
        .unwrap()
    }

    fn end(state: &ContainerState, exit: &Exit) -> Termination {
        Termination {
            code: exit.code,
            ..unknown_end(&state.id)
        }
    }

    #[test]
    fn running_container_goes_on_uncounted_and_ready() {
        let it = container_seen(&known(2), Some(&state(Phase::Running, None)), end);
        assert!(matches!(it.state, State::Running { .. }));
        assert_eq!((it.restarts, it.ready, it.hook_done), (2, true, true));
    }

    #[test]
    fn end_while_the_agent_was_away_is_found() {
        let exit = Exit {
            code: 3,
            signal: None,
            oom_killed: false,
            started_at: String::new(),
            finished_at: String::new(),
        };
        let it = container_seen(&known(0), Some(&state(Phase::Exited, Some(exit))), end);
        assert_eq!(it.end().map(|it| it.code), Some(3));
    }

    #[test]
    fn attempt_that_never_ran_does_not_count() {
        let first = container_seen(&known(0), None, end);
        assert_eq!((first.state, first.restarts), (State::Absent, 0));
        let later = container_seen(&known(2), None, end);
        assert_eq!((later.end().map(|it| it.id.as_str()), later.restarts), (Some("h"), 1));
    }
}
