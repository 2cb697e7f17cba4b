//! Named points at which a process can be made to die, to prove that what it leaves behind is found and cleaned.
//!
//! `BAREPOD_FAULT=sandbox.cgroup-made` makes the process that passes this point kill itself as `kill -9` would.

use std::sync::OnceLock;

use crate::sys::process::exit_now;

/// Every point there is, collected from the source by the build script.
pub const POINTS: &[&str] = include!(concat!(env!("OUT_DIR"), "/points.rs"));

/// Dies here if the environment says so. The environment is read once.
pub fn point(name: &'static str) {
    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("BAREPOD_FAULT").ok());
    if chosen.as_deref() == Some(name) {
        // The error cannot happen: a process may always signal itself.
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL);
        // The first process of a PID namespace cannot kill itself: pid_namespaces(7).
        exit_now(128 + libc::SIGKILL);
    }
}
