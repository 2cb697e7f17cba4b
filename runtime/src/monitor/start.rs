//! From a command to a monitor in the background.
//!
//! ```text
//! caller ── configuration on stdin ──► first process ── clone3 into the monitors' cgroup ──► monitor ── clone3 ──► pause
//!                                      first process ── network namespace ────────────────────────────────────────►
//!        ◄───────────── one line: {"ok": SandboxState} or {"err": Failure} ──────────────────┘  │
//!        ◄── exit code 0 or 1 ── first process ◄── one byte ────────────────────────────────────┘
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Component;

use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, pipe2, setsid};

use super::network;
use super::sandbox::Monitor;
use crate::cgroup::{self, Cgroup, Layout, Mode as Hierarchies};
use crate::error::{During, Error, Result};
use crate::protocol::{Failure, NamespaceMode, SandboxConfig, SandboxState};
use crate::sys::clone::{Side, SingleThread, clone3};
use crate::sys::process::{close_inherited, default_signal, exit_now, ignore_signal};
use crate::{broken, fault, init, records, sealed};

/// Starts the monitor of a sandbox whose configuration is on standard input. Returns the exit code of the first
/// process once the sandbox is ready or has failed; the monitor itself never returns from here.
#[must_use]
pub fn main() -> i32 {
    match start() {
        Ok(ready) => i32::from(!ready),
        Err(error) => {
            say(&Err(Failure::from(&error)));
            1
        }
    }
}

/// `true` when the monitor reports that the sandbox is ready.
fn start() -> Result<bool> {
    close_inherited().during("close", "inherited descriptors")?;
    if !sealed::is_sealed() {
        sealed::execute_again()?;
    }
    // Nobody looks into this process or into those it makes before they are containers.
    sealed::keep_out()?;
    let single = SingleThread::claim().during("count", "threads")?;
    if !broken::lacks("records-of-ones-own") {
        umask(Mode::from_bits_truncate(0o077));
    }
    let config = configuration()?;
    let layout = Layout::detect()?;
    clear_remains(&config)?;
    let monitors = Cgroup::new(&layout, &cgroup::monitors(&config.cgroup)).make_tracker()?;
    let directory = File::open(&monitors).during("open", monitors.display())?;
    let (mut done, told) = pipe2(OFlag::O_CLOEXEC)
        .map(|(r, w)| (File::from(r), w))
        .during("make", "a pipe")?;
    let (maker, network) = match config.network {
        NamespaceMode::Pod => network::pair().map(|(maker, pause)| (Some(maker), Some(pause)))?,
        NamespaceMode::Node | NamespaceMode::Container => (None, None),
    };
    let born = (layout.mode != Hierarchies::V1).then(|| directory.as_fd());
    match clone3(single, 0, born).during("clone", "the monitor")? {
        Side::Child => {
            drop((done, directory, maker));
            exit_now(background(single, config, layout, network, told));
        }
        Side::Parent { pidfd, .. } => {
            drop((told, network));
            if let Some(maker) = maker {
                network::make(&maker);
            }
            fault::point("sandbox.network-made");
            let mut byte = [0];
            if done.read(&mut byte).is_ok_and(|count| count == 1) && byte[0] == 0 {
                return Ok(true);
            }
            // The caller may try again at once: nothing of the monitor may be left by then.
            let status = waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED);
            match status {
                // It has said why.
                Ok(WaitStatus::Exited(_, 1)) => Ok(false),
                _ => Err(Error::State("the monitor died before the sandbox was ready".to_owned())),
            }
        }
    }
}

/// Reads and checks the configuration.
fn configuration() -> Result<SandboxConfig> {
    let mut text = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut text)
        .during("read", "standard input")?;
    let object = "the sandbox configuration on standard input".to_owned();
    let config: SandboxConfig = serde_json::from_slice(&text).map_err(|source| Error::Document { object, source })?;
    init::check_id(&config.id)?;
    if !config.dir.is_absolute() {
        return Err(Error::Invalid(format!(
            "the directory {} is not absolute",
            config.dir.display()
        )));
    }
    let parts: Vec<Component<'_>> = config.cgroup.components().collect();
    if parts.len() < 3
        || parts[0] != Component::RootDir
        || parts[1..].iter().any(|c| !matches!(c, Component::Normal(_)))
    {
        return Err(Error::Invalid(format!(
            "the cgroup {} is not of the form /PARENT/POD",
            config.cgroup.display()
        )));
    }
    Ok(config)
}

/// A directory in which a monitor lives is refused, one in which a monitor died is cleared.
fn clear_remains(config: &SandboxConfig) -> Result<()> {
    if !config.dir.join(records::RECORD).exists() {
        return Ok(());
    }
    let record = records::load(&config.dir)?;
    if record.monitor_alive {
        return Err(Error::Exists(format!(
            "a sandbox with its monitor in {}",
            config.dir.display()
        )));
    }
    records::cleanup(&record).into_iter().next().map_or(Ok(()), Err)
}

/// The monitor's life; returns its exit code.
fn background(
    single: SingleThread,
    config: SandboxConfig,
    layout: Layout,
    network: Option<OwnedFd>,
    told: OwnedFd,
) -> i32 {
    fault::point("sandbox.monitor-forked");
    let _ = setsid();
    let _ = prctl::set_name(c"barepod-monitor");
    init::IGNORED.into_iter().for_each(ignore_signal);
    // Keeps no directory of the caller's busy.
    let _ = chdir("/");
    let mut told = File::from(told);
    match Monitor::create(single, config, layout, network) {
        Ok(mut monitor) => {
            say(&Ok(monitor.describe()));
            fault::point("sandbox.ready");
            quiet();
            // The first process may be gone already, killed.
            let _ = told.write_all(&[0]);
            drop(told);
            default_signals_but_ignored();
            // Clients see the end when the process ends, not while it takes its structures down.
            exit_now(monitor.run())
        }
        Err(error) => {
            say(&Err(Failure::from(&error)));
            1
        }
    }
}

/// What the caller had ignored is not to be ignored in containers.
fn default_signals_but_ignored() {
    let others = |signal: &i32| !init::IGNORED.contains(signal);
    (1..=64).filter(others).for_each(default_signal);
}

/// The line for the caller. A caller that is gone finds the record.
fn say(outcome: &Result<SandboxState, Failure>) {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "lowercase")]
    enum Line<'a> {
        Ok(&'a SandboxState),
        Err(&'a Failure),
    }
    let line = match outcome {
        Ok(state) => Line::Ok(state),
        Err(failure) => Line::Err(failure),
    };
    let mut line = serde_json::to_vec(&line).unwrap_or_default();
    line.push(b'\n');
    let _ = io::stdout().write_all(&line);
}

/// Lets go of the caller's standard files.
fn quiet() {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        // These cannot fail with an open descriptor.
        let _ = dup2_stdin(&null);
        let _ = dup2_stdout(&null);
        let _ = dup2_stderr(&null);
    }
}
