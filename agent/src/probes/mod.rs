//! Probes: one task each, for as long as its container runs. A task reports only what changes.

pub mod check;
mod http;

use std::time::Duration;

use crate::kinds::{Container, Pod, Probe};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::events::{Level, Recorder};
use check::{Check, Target};

/// What a probe decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Whether the container has started; the others wait for it.
    Startup,
    /// Whether it gets traffic.
    Readiness,
    /// Whether it is restarted.
    Liveness,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }

    /// The container's probe of that kind.
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
        }
    }
}

/// A probe's opinion has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Id of the container that was probed.
    pub id: String,
    /// Name of the container.
    pub container: String,
    /// Which probe.
    pub kind: Kind,
    /// What it says now.
    pub healthy: bool,
    /// Why, when it is not.
    pub message: String,
}

/// A running probe; it ends with this.
#[derive(Debug)]
pub struct Running(tokio::task::JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a probe needs to know.
pub struct Job {
    /// The pod, for events.
    pub pod: std::sync::Arc<Pod>,
    /// The container's name.
    pub container: String,
    /// Which probe.
    pub kind: Kind,
    /// Its settings.
    pub probe: Probe,
    /// What is probed.
    pub target: Target,
    /// How long the container already runs.
    pub running_for: Duration,
    /// What the probe said before, for one that goes on after a restart of the agent.
    pub healthy: bool,
    /// Where its opinion goes.
    pub verdicts: mpsc::Sender<Verdict>,
    /// Where its failures go.
    pub events: Recorder,
}

/// Starts a probe.
pub fn start(job: Job) -> Running {
    Running(crate::shared::spawn(run(job)))
}

fn secs(field: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(field.and_then(|it| u64::try_from(it).ok()).unwrap_or(default))
}

async fn run(job: Job) {
    let probe = &job.probe;
    let check = Check::of_probe(probe);
    let period = secs(probe.period_seconds.filter(|it| *it > 0), 10);
    let timeout = secs(probe.timeout_seconds.filter(|it| *it > 0), 1);
    let delay = secs(probe.initial_delay_seconds, 0).saturating_sub(job.running_for);
    let mut tick = tokio::time::interval_at(Instant::now() + delay, period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut opinion = Opinion::new(probe, job.healthy);
    loop {
        tick.tick().await;
        let result = check.run(&job.target, Some(timeout)).await;
        let message = result.err().unwrap_or_default();
        let ok = message.is_empty();
        if !ok {
            let text = format!("{} probe failed: {message}", job.kind.as_str());
            job.events
                .pod(&job.pod, Some(&job.container), Level::Warning, "Unhealthy", text);
        }
        let Some(healthy) = opinion.hear(ok, job.kind) else {
            continue;
        };
        let verdict = Verdict {
            id: job.target.id.clone(),
            container: job.container.clone(),
            kind: job.kind,
            healthy,
            message,
        };
        if job.verdicts.send(verdict).await.is_err() || job.kind == Kind::Startup {
            return;
        }
    }
}

/// Counts results until a threshold is reached.
#[derive(Debug)]
struct Opinion {
    healthy: bool,
    in_row: u32,
    last: Option<bool>,
    success: u32,
    failure: u32,
}

impl Opinion {
    fn new(probe: &Probe, healthy: bool) -> Self {
        let count = |field: Option<i32>, default| {
            field
                .and_then(|it| u32::try_from(it).ok())
                .filter(|it| *it > 0)
                .unwrap_or(default)
        };
        Self {
            healthy,
            in_row: 0,
            last: None,
            success: count(probe.success_threshold, 1),
            failure: count(probe.failure_threshold, 3),
        }
    }

    /// Takes a result; returns the opinion when it is to be reported. A liveness probe that still fails after its
    /// report is reported again, and so is a startup probe's failure, although it was unhealthy to begin with.
    fn hear(&mut self, ok: bool, kind: Kind) -> Option<bool> {
        self.in_row = if self.last == Some(ok) { self.in_row + 1 } else { 1 };
        self.last = Some(ok);
        if self.in_row < if ok { self.success } else { self.failure } {
            return None;
        }
        let changed = self.healthy != ok;
        self.healthy = ok;
        let report = changed || (!ok && kind != Kind::Readiness);
        if report && !ok {
            self.in_row = 0;
        }
        report.then_some(ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(success: i32, failure: i32) -> Probe {
        Probe {
            success_threshold: Some(success),
            failure_threshold: Some(failure),
            ..Probe::default()
        }
    }

    fn feed(opinion: &mut Opinion, kind: Kind, results: &[bool]) -> Vec<Option<bool>> {
        results.iter().map(|ok| opinion.hear(*ok, kind)).collect()
    }

    #[test]
    fn readiness_needs_its_thresholds_and_reports_changes() {
        let mut it = Opinion::new(&probe(2, 3), false);
        let got = feed(
            &mut it,
            Kind::Readiness,
            &[true, true, true, false, false, true, false, false, false, false],
        );
        assert_eq!(
            got,
            [None, Some(true), None, None, None, None, None, None, Some(false), None]
        );
    }

    #[test]
    fn liveness_reports_failure_only() {
        let mut it = Opinion::new(&probe(1, 2), true);
        assert_eq!(
            feed(&mut it, Kind::Liveness, &[true, false, true, false, false]),
            [None, None, None, None, Some(false)]
        );
    }

    #[test]
    fn startup_reports_both() {
        assert_eq!(
            feed(
                &mut Opinion::new(&probe(1, 3), false),
                Kind::Startup,
                &[false, false, true]
            ),
            [None, None, Some(true)]
        );
        assert_eq!(
            feed(&mut Opinion::new(&probe(1, 2), false), Kind::Startup, &[false, false]),
            [None, Some(false)]
        );
    }
}
