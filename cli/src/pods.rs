//! Finding pods by what people call them, from the records and the kernel alone.

use anyhow::{Result, bail};
use barepod_runtime::protocol::Phase;
use barepod_runtime::records::{self, SandboxRecord};

use crate::paths::Paths;

/// The one sandbox that `wanted` names: `namespace/name`, a name that is unique, a UID or the beginning of one, or the
/// id of one of its containers.
pub fn find(paths: &Paths, wanted: &str) -> Result<SandboxRecord> {
    let mut found: Vec<SandboxRecord> = records::list(&paths.run_dir)
        .into_iter()
        .filter(|record| names(record, wanted))
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(record), true) => Ok(record),
        (None, _) => bail!("no pod {wanted:?} on this node; `barepod ps` lists them"),
        (Some(_), false) => bail!("{wanted:?} names several pods: give namespace/name or the UID"),
    }
}

fn names(record: &SandboxRecord, wanted: &str) -> bool {
    let config = &record.state.config;
    config.name == wanted
        || config.name.split_once('/').is_some_and(|(_, name)| name == wanted)
        || (wanted.len() >= 4 && config.id.starts_with(wanted))
        || record
            .state
            .containers
            .iter()
            .any(|c| wanted.len() >= 4 && c.id.starts_with(wanted))
}

/// The process in whose namespaces the pod lives: pause, or a running container where there is no pause.
pub fn holder(record: &SandboxRecord) -> Result<i32> {
    let pause = record.state.pause_pid.filter(|_| record.pause_alive);
    let running = || {
        record
            .state
            .containers
            .iter()
            .find(|c| c.phase == Phase::Running)
            .and_then(|c| c.pid)
    };
    match pause.or_else(running) {
        Some(pid) => Ok(pid),
        None => bail!("nothing of pod {} runs any more", record.state.config.name),
    }
}

/// One word for where a container is in its life.
pub fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Created => "created",
        Phase::Running => "running",
        Phase::Exited => "exited",
    }
}
