//! Named points at which a process can be made to die, to prove that what it leaves behind is found and cleaned.
//!
//! `BAREPOD_FAULT=sandbox.cgroup-made` makes the process that passes this point kill itself as `kill -9` would.

use std::sync::OnceLock;

/// Every point there is, in the order in which a pod passes them.
pub const POINTS: &[&str] = &[
    "sandbox.monitor-forked",
    "sandbox.recorded",
    "sandbox.cgroup-made",
    "sandbox.pause-cloned",
    "sandbox.limits-set",
    "sandbox.ready",
    "container.cgroup-made",
    "container.cloned",
    "container.started",
    "container.exited",
    "container.killed",
    "sandbox.stopping",
    "sandbox.stopped",
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
