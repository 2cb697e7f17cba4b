//! Starts a container's probes and acts on what they say.

use std::sync::Arc;
use std::time::Duration;

use super::super::observed::{State, Unhealthy};
use super::super::shape;
use super::Worker;
use crate::probes::{self, Job, Kind, Verdict};
use crate::time;

impl Worker {
    /// Starts the probes a container has by now: the startup probe alone, or the others.
    pub(super) fn begin_probes(&mut self, name: &str, adopted: bool) {
        let Some((_, container)) = shape::container(&self.now.pod, name) else {
            return;
        };
        let has = |kind: Kind| kind.of(container).is_some();
        let (startup, readiness) = (has(Kind::Startup), has(Kind::Readiness));
        let it = self.container(name);
        if adopted {
            // What a probe said before counts until it speaks again; without a probe there is nothing to wait for.
            it.started |= !startup;
            it.ready |= it.started && !readiness;
        } else {
            it.started = !startup;
            it.ready = !startup && !readiness;
        }
        let kinds: &[Kind] = if it.started {
            &[Kind::Readiness, Kind::Liveness]
        } else {
            &[Kind::Startup]
        };
        for kind in kinds {
            self.begin_probe(name, *kind);
        }
    }

    fn begin_probe(&mut self, name: &str, kind: Kind) {
        let Some((_, container)) = shape::container(&self.now.pod, name) else {
            return;
        };
        let (Some(probe), Some(target)) = (kind.of(container).cloned(), self.target(name)) else {
            return;
        };
        let it = self.container(name);
        let State::Running { since } = &it.state else { return };
        let ran = time::now().0.as_second() - since.0.as_second();
        let job = Job {
            healthy: match kind {
                Kind::Liveness => true,
                Kind::Readiness => it.ready,
                Kind::Startup => false,
            },
            running_for: Duration::from_secs(u64::try_from(ran).unwrap_or(0)),
            pod: Arc::clone(&self.now.pod),
            container: name.to_owned(),
            kind,
            probe,
            target,
            verdicts: self.verdicts.0.clone(),
            events: self.shared.events.clone(),
        };
        if let Some(run) = self.runs.get_mut(name) {
            run.probes.insert(kind, probes::start(job));
        }
    }

    /// Takes a probe's opinion.
    pub(super) fn judge(&mut self, verdict: Verdict) {
        let Verdict {
            id,
            container: name,
            kind,
            healthy,
            message: _,
        } = verdict;
        if self.runs.get(&name).is_none_or(|run| run.id != id) {
            return;
        }
        let Some((_, container)) = shape::container(&self.now.pod, &name) else {
            return;
        };
        let readiness = Kind::Readiness.of(container).is_some();
        let grace_secs = kind.of(container).and_then(|it| it.termination_grace_period_seconds);
        let it = self.container(&name);
        match (kind, healthy) {
            (Kind::Readiness, _) => it.ready = healthy,
            (Kind::Startup, true) => {
                it.started = true;
                it.ready = !readiness;
                self.begin_probe(&name, Kind::Readiness);
                self.begin_probe(&name, Kind::Liveness);
            }
            (Kind::Startup, false) => {
                it.unhealthy = Some(Unhealthy {
                    message: "startup probe".into(),
                    grace_secs,
                })
            }
            (Kind::Liveness, false) => {
                it.unhealthy = Some(Unhealthy {
                    message: "liveness probe".into(),
                    grace_secs,
                })
            }
            (Kind::Liveness, true) => {}
        }
    }
}
