//! Another process in a running container.

use std::convert::Infallible;
use std::fs::{File, Metadata};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode, umask};
use nix::unistd::setsid;
use oci_spec::runtime::{LinuxResources, LinuxSeccomp};
use serde::Deserialize;

use super::channel::Child;
use super::{Finish, HARMLESS, Stdio, console, identity, thrice};
use crate::cgroup::{self, Cgroup};
use crate::document::Process;
use crate::error::{During, Error, Result};
use crate::fault;
use crate::sys::process::has_ended;

/// The container that is joined.
#[derive(Debug)]
pub struct Joined<'a> {
    /// Its first process.
    pub process: BorrowedFd<'a>,
    /// The namespaces to join, beside the PID namespace, which the clone took care of.
    pub namespaces: CloneFlags,
    /// Its cgroup.
    pub cgroup: &'a Cgroup<'a>,
    /// What its cgroup was made with, which tells the controllers it is in.
    pub resources: Option<&'a LinuxResources>,
    /// A v1 directory below the tracker's for this process and what it makes. On v2 it is born there.
    pub leaf: Option<&'a Path>,
    /// Its filter.
    pub seccomp: Option<&'a LinuxSeccomp>,
    /// Be killed when the maker dies.
    pub die_with_maker: bool,
    /// The runtime's own file, which may not be executed in a container.
    pub runtime: Option<&'a Metadata>,
    /// How many descriptors after the standard ones the program gets.
    pub preserved: u32,
}

/// The parts of a container's configuration that its execs share.
#[derive(Debug, Default, Deserialize)]
pub struct Shared {
    /// The container's own process.
    #[serde(default)]
    pub process: Option<Process>,
    /// What only Linux has.
    #[serde(default)]
    pub linux: SharedLinux,
}

/// `linux` of [`Shared`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SharedLinux {
    /// System calls that are allowed.
    pub seccomp: Option<LinuxSeccomp>,
    /// What the cgroup was made with.
    pub resources: Option<LinuxResources>,
}

impl Shared {
    /// Gives a process what it does not say of itself and the container's own has: whoever executes something in a
    /// container gets no more rights than the container by leaving them out.
    pub fn complete(&self, process: &mut Process) {
        let Some(own) = &self.process else { return };
        let empty = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
        if process.capabilities.is_none() {
            process.capabilities.clone_from(&own.capabilities);
        }
        if empty(&process.apparmor_profile) {
            process.apparmor_profile.clone_from(&own.apparmor_profile);
        }
        if empty(&process.selinux_label) {
            process.selinux_label.clone_from(&own.selinux_label);
        }
        if process.rlimits.is_empty() {
            process.rlimits.clone_from(&own.rlimits);
        }
        process.oom_score_adj = process.oom_score_adj.or(own.oom_score_adj);
    }
}

/// Joins the container and executes a program in it. Returns only the error.
///
/// # Errors
/// The first step that failed.
pub fn exec(joined: &Joined<'_>, process: &Process, stdio: Stdio, channel: &Child) -> Result<Infallible> {
    super::default_signals();
    umask(Mode::empty());
    // A process that leads a session already is as good.
    let _ = setsid();
    super::refuse_unsupported(process.unsupported())?;
    identity::set_oom_score(process.oom_score_adj.unwrap_or(0))?;
    let labels = super::labels(process)?;
    joined.cgroup.join(joined.resources)?;
    if let Some(leaf) = joined.leaf {
        cgroup::join_leaf(leaf)?;
    }
    setns(joined.process, joined.namespaces).during("join", "the namespaces of the container")?;
    fault::point("init.exec-joined");
    let root = open_root()?;
    let terminal = matches!(stdio, Stdio::Terminal);
    let stdio = match stdio {
        Stdio::Files(given) => super::files(given, |flags| {
            Ok(File::options()
                .read(true)
                .write(flags != libc::O_RDONLY)
                .custom_flags(HARMLESS)
                .open("/dev/null")?
                .into())
        })?,
        Stdio::Terminal => {
            let terminal = console::open(root.as_fd(), process)?;
            channel.terminal(terminal.master.as_fd())?;
            thrice(terminal.slave)?
        }
    };
    super::refuse_relative(&process.cwd)?;
    if has_ended(joined.process) {
        // A PID namespace ends with its first process; where there is none, nothing else would end this one.
        return Err(Error::State("the container has ended meanwhile".to_owned()));
    }
    let finish = Finish {
        process,
        program: super::prepare(process, stdio, terminal)?,
        seccomp: joined.seccomp,
        labels,
        die_with_maker: joined.die_with_maker,
        runtime: joined.runtime,
        preserved: joined.preserved,
    };
    finish.run()
}

/// The root of the mount namespace that was joined.
fn open_root() -> Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    Ok(File::options()
        .read(true)
        .custom_flags(flags)
        .open(Path::new("/"))
        .during("open", "/")?
        .into())
}
