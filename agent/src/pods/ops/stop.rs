//! Ends a container: out of the data path, hook, signal, grace, kill.

use std::sync::Arc;
use std::time::Duration;

use crate::kinds::{LifecycleHandler, Pod};
use tokio::sync::watch;
use tokio::time::Instant;

use super::hook;
use crate::drivers::monitor;
use crate::drivers::network::chain;
use crate::events::Level;
use crate::fault;
use crate::laps::Laps;
use crate::probes::check::Target;
use crate::shared::SharedRef;

/// What a container whose hook used up its time still gets.
const LEAST_GRACE: Duration = Duration::from_secs(2);
/// How long the proxy is waited for.
const UNROUTE: Duration = Duration::from_secs(2);
/// How long a killed container is waited for before it is killed again.
const KILLED: Duration = Duration::from_secs(10);

/// What is to be stopped.
pub struct Job {
    /// The agent's own.
    pub shared: SharedRef,
    /// The pod.
    pub pod: Arc<Pod>,
    /// The container's name.
    pub container: String,
    /// The container.
    pub target: Target,
    /// What asks it to end.
    pub signal: i32,
    /// What runs before.
    pub pre_stop: Option<LifecycleHandler>,
    /// The pod leaves for good: traffic must have gone elsewhere before.
    pub unroute: bool,
    /// When this container is killed.
    pub kill_at: Option<Instant>,
    /// When every container of the pod is killed. May come nearer.
    pub pod_kill_at: watch::Receiver<Option<Instant>>,
    /// Becomes true when it has ended.
    pub ended: watch::Receiver<bool>,
}

/// Stops the container. Returns when it has ended, or its monitor has.
pub async fn stop(job: Job) {
    let laps = Laps::begin(&job.target.id);
    let mut ended = job.ended.clone();
    tokio::select! {
        biased;
        _ = ended.wait_for(|it| *it) => {}
        () = attempt(&job) => {}
    }
    laps.done("stopped");
    fault::point("agent.container-stopped");
}

async fn attempt(job: &Job) {
    if job.unroute
        && let Some(ip) = job.target.ip
    {
        let laps = Laps::begin(&job.target.id);
        job.shared.routes.unrouted(ip, UNROUTE).await;
        laps.done("unrouted");
    }
    if let Some(hook) = job.pre_stop.clone() {
        let run = hook::run(hook, job.target.clone());
        let result = tokio::select! {
            result = run => result,
            () = due(job.kill_at, job.pod_kill_at.clone(), Duration::ZERO) => Err("the grace period was over before the hook had ended".into()),
        };
        if let Err(message) = result {
            let text = format!("PreStopHook failed: {message}");
            job.shared.events.pod(
                &job.pod,
                Some(&job.container),
                Level::Warning,
                "FailedPreStopHook",
                text,
            );
        }
    }
    let least = if job.pre_stop.is_some() {
        LEAST_GRACE
    } else {
        Duration::ZERO
    };
    if !kill(job, job.signal, false).await {
        return;
    }
    due(job.kill_at, job.pod_kill_at.clone(), least).await;
    while kill(job, libc::SIGKILL, true).await {
        tokio::time::sleep(KILLED).await;
        tracing::warn!(container = job.target.id, "container was killed and has not ended");
    }
}

/// Waits until it is time to kill, which may come nearer meanwhile, but at least that long.
async fn due(own: Option<Instant>, mut pod: watch::Receiver<Option<Instant>>, least: Duration) {
    let earliest = Instant::now() + least;
    loop {
        let at = [own, *pod.borrow_and_update()].into_iter().flatten().min();
        let sleep = async {
            match at {
                Some(at) => tokio::time::sleep_until(at.max(earliest)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => return,
            changed = pod.changed() => if changed.is_err() {
                return;
            }
        }
    }
}

/// Whether there is a monitor to ask.
async fn kill(job: &Job, signal: i32, all: bool) -> bool {
    match job.target.monitor.kill(&job.target.id, signal, all).await {
        Ok(()) => true,
        Err(monitor::Error::Gone | monitor::Error::Socket { .. }) => false,
        Err(error) => {
            tracing::warn!(container = job.target.id, error = chain(&error), "signal not sent");
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn kill_time_may_come_nearer() {
        let start = Instant::now();
        let (sender, receiver) = watch::channel(Some(start + Duration::from_secs(30)));
        let waiter = tokio::spawn(due(None, receiver.clone(), Duration::ZERO));
        tokio::time::sleep(Duration::from_secs(1)).await;
        sender.send(Some(start + Duration::from_secs(5))).unwrap();
        waiter.await.unwrap();
        assert_eq!(Instant::now() - start, Duration::from_secs(5));
        due(None, receiver.clone(), LEAST_GRACE).await;
        assert_eq!(Instant::now() - start, Duration::from_secs(7));
        sender.send(None).unwrap();
        due(Some(start + Duration::from_secs(9)), receiver, Duration::ZERO).await;
        assert_eq!(Instant::now() - start, Duration::from_secs(9));
    }
}
