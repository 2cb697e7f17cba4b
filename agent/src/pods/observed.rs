//! What is known of a pod on this node. The other half of [`super::plan`]'s input, and what the status is built from.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Instant;

use barepod_client::types::Time;
use serde::{Deserialize, Serialize};

use super::backoff::Backoff;
use crate::advice::advised;

/// A step that takes time and may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Step {
    /// Not begun.
    #[default]
    Absent,
    /// Under way.
    Busy,
    /// Done.
    Ready,
    /// Failed; to be tried again then.
    Failed {
        /// When it may be tried again.
        retry_at: Instant,
    },
    /// Undone for good.
    Gone,
}

/// A pod, as it is on this node.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The sandbox with its network.
    pub sandbox: Step,
    /// Volumes.
    pub volumes: Step,
    /// Containers by name.
    pub containers: BTreeMap<String, Seen>,
    /// The pod is to go: its object has a deletion time, or is gone already.
    pub deleting: bool,
    /// The pod has failed as a whole.
    pub failure: Option<Failure>,
    /// When `activeDeadlineSeconds` is over.
    pub deadline: Option<Instant>,
    /// Its life ended before this agent saw it: nothing is ever started again.
    pub over: bool,
    /// Its address.
    pub ip: Option<Ipv4Addr>,
    /// When the agent first saw it.
    pub start_time: Option<Time>,
}

/// Why a pod failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// One word, for machines.
    pub reason: String,
    /// One sentence, for people.
    pub message: String,
}

/// One container, as it is on this node.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Where the current attempt is.
    pub state: State,
    /// Id of the current attempt.
    pub id: Option<String>,
    /// How often it was started again.
    pub restarts: u32,
    /// How long the next start has to wait.
    pub backoff: Backoff,
    /// A start that failed before there was a container is tried again then.
    pub blocked_until: Option<Instant>,
    /// Why it waits, for the status.
    pub waiting: Option<Waiting>,
    /// The image of the specification the current attempt was started from.
    pub spec_image: String,
    /// The image's full name.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// Its `postStart` hook has ended; only then it counts as running.
    pub hook_done: bool,
    /// Its startup probe succeeded, or it has none.
    pub started: bool,
    /// Its readiness probe succeeds, or it has none.
    pub ready: bool,
    /// Its liveness or startup probe says that it must be restarted.
    pub unhealthy: Option<Unhealthy>,
    /// How the attempt before ended.
    pub last: Option<Termination>,
}

/// Where a container's current attempt is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum State {
    /// There is none.
    #[default]
    Absent,
    /// Being made.
    Starting,
    /// Running.
    Running {
        /// Since when.
        since: Time,
    },
    /// Being stopped.
    Stopping {
        /// Since when it ran.
        since: Time,
    },
    /// Ended.
    Exited {
        /// How.
        end: Termination,
        /// When, on the monotonic clock.
        at: Instant,
    },
}

/// Why a container has to be restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unhealthy {
    /// What failed, for the event.
    pub message: String,
    /// The probe's own grace period, in seconds.
    pub grace_secs: Option<i64>,
}

/// Why a container waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// One word, for machines.
    pub reason: String,
    /// One sentence, for people.
    pub message: String,
}

impl Waiting {
    /// From both parts.
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: advised(message.into()),
        }
    }
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Termination {
    /// The attempt's id.
    pub id: String,
    /// Exit code; 128 + signal for one that was killed.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// One word: `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`.
    pub reason: String,
    /// Its termination message.
    pub message: String,
    /// When it started.
    pub started_at: Option<Time>,
    /// When it ended.
    pub finished_at: Time,
}

impl Seen {
    /// Whether there is a process, or may be one.
    pub fn active(&self) -> bool {
        matches!(
            self.state,
            State::Starting | State::Running { .. } | State::Stopping { .. }
        )
    }

    /// How the current attempt ended.
    pub fn end(&self) -> Option<&Termination> {
        match &self.state {
            State::Exited { end, .. } => Some(end),
            _ => None,
        }
    }

    /// Forgets the current attempt but counts it, as when the sandbox it ran in is made again.
    pub fn restart_from_nothing(&mut self) {
        if let State::Exited { end, .. } = std::mem::take(&mut self.state) {
            self.last = Some(end);
            self.restarts += 1;
        }
        self.id = None;
        self.waiting = None;
        self.blocked_until = None;
        self.hook_done = false;
        self.started = false;
        self.ready = false;
        self.unhealthy = None;
    }
}
