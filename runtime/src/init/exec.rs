//! Another process in a running container.

use std::convert::Infallible;
use std::fs::{File, Metadata};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode as FileMode, umask};
use nix::unistd::setsid;
use oci_spec::runtime::{
    LinuxMemoryPolicy, LinuxNamespace, LinuxNamespaceType, LinuxPersonality, LinuxResources, LinuxSeccomp,
};
use serde::Deserialize;

use super::channel::Child;
use super::hooks::Told;
use super::labels::Labels;
use super::outside::Outside;
use super::{Finish, HARMLESS, Keyring, Stdio, Unset, console, identity, rootfs, scheduling, thrice, users};
use crate::cgroup::{Cgroup, Mode};
use crate::document::Process;
use crate::error::{During, Error, Result};
use crate::seccomp::Filter;
use crate::sys::process::has_ended;
use crate::{broken, fault};

/// The container that is joined.
#[derive(Debug)]
pub struct Joined<'a> {
    /// Its first process.
    pub process: BorrowedFd<'a>,
    /// The namespaces to join, beside the PID namespace, which the clone took care of.
    pub namespaces: CloneFlags,
    /// Its cgroup.
    pub cgroup: &'a Cgroup<'a>,
    /// A v1 directory below the tracker's for this process and what it makes. On v2 it is born there.
    pub leaf: Option<&'a Path>,
    /// Its root, if its mount namespace is not its own and has another.
    pub root: Option<BorrowedFd<'a>>,
    /// The container's filter, if that is compiled already.
    pub filter: Option<Filter>,
    /// What it shares with the container.
    pub linux: &'a SharedLinux,
    /// What the process gets that its configuration does not speak of.
    pub unset: Unset,
    /// Be killed when the maker dies.
    pub die_with_maker: bool,
    /// The runtime's own file, which may not be executed in a container.
    pub runtime: Option<&'a Metadata>,
    /// Its session keyring.
    pub keyring: Keyring<'a>,
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
#[serde(rename_all = "camelCase", default)]
pub struct SharedLinux {
    /// System calls that are allowed.
    pub seccomp: Option<LinuxSeccomp>,
    /// What the cgroup was made with, which tells the controllers it is in.
    pub resources: Option<LinuxResources>,
    /// Which namespaces it has.
    pub namespaces: Option<Vec<LinuxNamespace>>,
    /// Its execution domain.
    pub personality: Option<LinuxPersonality>,
    /// Where its memory comes from.
    pub memory_policy: Option<LinuxMemoryPolicy>,
}

impl Shared {
    /// The entry for a kind of namespace.
    #[must_use]
    pub fn namespace(&self, kind: LinuxNamespaceType) -> Option<&LinuxNamespace> {
        self.linux
            .namespaces
            .iter()
            .flatten()
            .find(|namespace| namespace.typ() == kind)
    }

    /// What the maker of a process does for it.
    #[must_use]
    pub fn attend<'a>(&'a self, told: &Told<'a>, pid: i32) -> Outside<'a> {
        Outside {
            document: None,
            seccomp: self.linux.seccomp.as_ref(),
            told: told.at("running", Some(pid)),
            status: "running",
            pid,
        }
    }

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
pub fn exec(joined: &Joined<'_>, process: &Process, stdio: Stdio, channel: &mut Child) -> Result<Infallible> {
    super::default_signals();
    let inherited_umask = umask(FileMode::empty());
    // A process that leads a session already is as good.
    let _ = setsid();
    process.check()?;
    let filter = Filter::of(joined.filter.clone(), joined.linux.seccomp.as_ref())?;
    identity::set_oom_score(process.oom_score_adj, joined.unset)?;
    let labels = Labels::new(process)?;
    // Root of a user namespace may not do it, so it comes before that is joined.
    scheduling::schedule(0, process)?;
    let affinity = process.exec_cpu_affinity.as_ref();
    if joined.cgroup.layout().mode != Mode::V2 {
        // Born into a v2 cgroup it has passed the moment for the initial one, which its maker has seen to.
        scheduling::initial_affinity(affinity)?;
    }
    joined.cgroup.join(joined.linux.resources.as_ref(), joined.leaf)?;
    scheduling::final_affinity(affinity)?;
    match setns(joined.process, joined.namespaces) {
        Err(_) if broken::lacks("exec-inside") => {}
        other => other.during("join", "the namespaces of the container")?,
    }
    if joined.namespaces.contains(CloneFlags::CLONE_NEWUSER) {
        // Where there is no root the process' own user does.
        let _ = users::become_root(None, process.keeps_groups);
    }
    if let Some(root) = joined.root {
        rootfs::enter_shared(root)?;
    }
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
    if has_ended(joined.process) && !broken::lacks("exec-inside") {
        // A PID namespace ends with its first process; where there is none, nothing else would end this one.
        return Err(Error::State("the container has ended meanwhile".to_owned()));
    }
    let finish = Finish {
        process,
        program: super::prepare(process, stdio, terminal)?,
        personality: joined.linux.personality.as_ref(),
        memory_policy: joined.linux.memory_policy.as_ref(),
        scheduled: true,
        filter,
        labels,
        unset: joined.unset,
        umask: inherited_umask,
        die_with_maker: joined.die_with_maker,
        runtime: joined.runtime,
        keyring: joined.keyring,
        preserved: joined.preserved,
        gate: None,
        hooks: None,
    };
    finish.run(channel)
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
