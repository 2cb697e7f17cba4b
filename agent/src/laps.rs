//! Where the time of a pod's start goes: one debug line a step.

use std::time::Instant;

/// A stopwatch that tells each step's time since the beginning.
#[derive(Debug, Clone)]
pub struct Laps {
    pod: String,
    began: Instant,
}

impl Laps {
    /// Begins now.
    pub fn begin(pod: &str) -> Self {
        Self {
            pod: pod.to_owned(),
            began: Instant::now(),
        }
    }

    /// A step is done.
    pub fn done(&self, step: &'static str) {
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(target: "barepod_agent::laps", pod = self.pod, step, micros);
    }
}
