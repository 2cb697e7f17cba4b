//! The spawner: a process that has done once what every monitor would have to do first, and then clones them.
//!
//! ```text
//! agent ── SandboxConfig and a socket ──► spawner ── clone3 into the monitors' cgroup ──► monitor ── clone3 ──► pause
//!                                         spawner ── network namespace ──────────────────────────────────────────►
//!       ◄── Begun: pidfd, network namespace ── spawner                                    │
//!       ◄── Ready: SandboxState, or Failed: Failure ──────────────────────────────────────┘
//! ```
//!
//! To execute a program and to get it going costs more than to clone a small process, and the network namespace, which
//! takes the longest, is made beside the rest. The spawner ends when nobody can ask it any more; monitors stay.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Component;

use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, setsid};

use super::network;
use super::sandbox::Monitor;
use crate::cgroup::{self, Cgroup, Layout, Mode as Hierarchies};
use crate::error::{During, Error, Result, chain};
use crate::protocol::{Failure, FromSpawner, NamespaceMode, SandboxConfig};
use crate::sys::clone::{Side, SingleThread, clone3};
use crate::sys::process::{close_all_but, close_inherited, default_signal, exit_now, ignore_signal};
use crate::sys::socket::{receive, send};
use crate::{broken, fault, init, records, sealed};

/// Makes the sandboxes that are asked for on standard input, as [`crate::protocol`] has it, until it is closed. Returns
/// the exit code of the spawner; monitors never return from here.
#[must_use]
pub fn main() -> i32 {
    match serve() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("barepod-runtime: {}", chain(&error));
            1
        }
    }
}

fn serve() -> Result<()> {
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
    let _ = prctl::set_name(c"barepod-spawner");
    // The kernel reaps monitors.
    ignore_signal(libc::SIGCHLD);
    let home = File::open("/proc/self/ns/net").during("open", "/proc/self/ns/net")?;
    let requests = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .during("keep", "standard input")?;
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .during("open", "/dev/null")?;
    dup2_stdin(&null).during("let go of", "standard input")?;
    while let Some((packet, mut fds)) = receive(&requests).during("receive", "what sandbox is wanted")? {
        let Some(answers) = fds.pop() else {
            let missing = "a sandbox was asked for without a socket for what becomes of it";
            return Err(Error::Invalid(missing.to_owned()));
        };
        match Sandbox::prepare(&packet) {
            Ok(sandbox) => sandbox.begin(single, answers, &home, &null),
            Err(error) => say(&answers, &FromSpawner::Failed(Failure::from(&error)), &[]),
        }
    }
    Ok(())
}

/// A sandbox that can be made.
struct Sandbox {
    config: SandboxConfig,
    layout: Layout,
    /// The cgroup of monitors.
    monitors: File,
    /// The way of its network namespace, if it gets one of its own: from the spawner, to pause.
    network: Option<(OwnedFd, OwnedFd)>,
}

impl Sandbox {
    fn prepare(packet: &[u8]) -> Result<Self> {
        let config = configuration(packet)?;
        let layout = Layout::detect()?;
        clear_remains(&config)?;
        let monitors = Cgroup::new(&layout, &cgroup::monitors(&config.cgroup)).make_tracker()?;
        Ok(Self {
            monitors: File::open(&monitors).during("open", monitors.display())?,
            network: (config.network == NamespaceMode::Pod).then(network::pair).transpose()?,
            config,
            layout,
        })
    }

    /// Clones the monitor and makes the network namespace beside it. What fails from then on is the monitor's to tell.
    fn begin(self, single: SingleThread, answers: OwnedFd, home: &File, null: &File) {
        let Self {
            config,
            layout,
            monitors,
            network,
        } = self;
        let (maker, pause) = network.unzip();
        let born = (layout.mode != Hierarchies::V1).then(|| monitors.as_fd());
        match clone3(single, 0, born).during("clone", "the monitor") {
            Ok(Side::Child) => {
                let mut keep = vec![answers.as_fd(), null.as_fd()];
                keep.extend(pause.as_ref().map(AsFd::as_fd));
                exit_now(match close_all_but(&keep) {
                    Ok(()) => background(single, config, layout, pause, answers, null),
                    Err(_) => 1,
                })
            }
            Ok(Side::Parent { pidfd, .. }) => {
                drop(pause);
                let made = maker.map(|maker| (network::make(home), maker));
                let namespace = made.as_ref().and_then(|(made, _)| made.as_ref().ok());
                let fds: Vec<_> = [&pidfd].into_iter().chain(namespace).map(AsFd::as_fd).collect();
                say(&answers, &FromSpawner::Begun, &fds);
                if let Some((made, maker)) = &made {
                    network::hand_over(maker, made);
                }
                fault::point("sandbox.network-made");
            }
            Err(error) => say(&answers, &FromSpawner::Failed(Failure::from(&error)), &[]),
        }
    }
}

/// Reads and checks a configuration.
pub fn configuration(text: &[u8]) -> Result<SandboxConfig> {
    let object = "the sandbox configuration".to_owned();
    let config: SandboxConfig = serde_json::from_slice(text).map_err(|source| Error::Document { object, source })?;
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
    answers: OwnedFd,
    null: &File,
) -> i32 {
    fault::point("sandbox.monitor-forked");
    let _ = setsid();
    let _ = prctl::set_name(c"barepod-monitor");
    // Its children are its own to reap.
    default_signal(libc::SIGCHLD);
    init::IGNORED.into_iter().for_each(ignore_signal);
    // Keeps no directory of the caller's busy.
    let _ = chdir("/");
    match Monitor::create(single, config, layout, network) {
        Ok(mut monitor) => {
            say(&answers, &FromSpawner::Ready(monitor.describe()), &[]);
            fault::point("sandbox.ready");
            drop(answers);
            // Until now it was the spawner's, for what nobody expects.
            let _ = dup2_stderr(null);
            default_signals_but_ignored();
            // Clients see the end when the process ends, not while it takes its structures down.
            exit_now(monitor.run())
        }
        Err(error) => {
            say(&answers, &FromSpawner::Failed(Failure::from(&error)), &[]);
            1
        }
    }
}

/// What the caller had ignored is not to be ignored in containers.
fn default_signals_but_ignored() {
    let others = |signal: &i32| !init::IGNORED.contains(signal);
    (1..=64).filter(others).for_each(default_signal);
}

/// Tells who asked. One that is gone finds the record.
fn say(answers: &OwnedFd, word: &FromSpawner, fds: &[BorrowedFd<'_>]) {
    let _ = send(answers, &serde_json::to_vec(word).unwrap_or_default(), fds);
}
