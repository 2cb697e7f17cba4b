//! Named points at which the agent can be made to die, to prove that what it leaves behind is adopted or cleaned.
//!
//! `BAREPOD_FAULT=agent.sandbox-ready` makes the agent that passes this point kill itself as `kill -9` would.

use std::sync::OnceLock;

/// Every point there is, in the order in which a pod passes them.
pub const POINTS: &[&str] = &[
    "agent.pod-recorded",
    "agent.sandbox-ready",
    "agent.network-added",
    "agent.volumes-ready",
    "agent.container-recorded",
    "agent.container-started",
    "agent.status-sent",
    "agent.container-stopped",
    "agent.pod-removed",
];

/// Dies here if the environment says so. The environment is read once.
pub fn point(name: &'static str) {
    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    debug_assert!(POINTS.contains(&name), "{name} is missing in POINTS");
    let chosen = CHOSEN.get_or_init(|| std::env::var("BAREPOD_FAULT").ok());
    if chosen.as_deref() == Some(name) {
        // The error cannot happen: a process may always signal itself.
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL);
    }
}
