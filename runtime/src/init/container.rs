//! A container's first process.

use std::convert::Infallible;
use std::fs::Metadata;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::AT_FDCWD;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{sethostname, setsid};

use super::channel::Child;
use super::root::Root;
use super::{Finish, HARMLESS, console, devices, identity, mounts, paths, rootfs, sysctl, thrice};
use crate::cgroup::Cgroup;
use crate::document::Document;
use crate::error::{During, Error, Result};
use crate::fault;
use crate::protocol::Overlay;
use crate::sys::mount::clone_tree;
use crate::sys::network::loopback_up;

/// What comes between a container that is made and the execution of its program.
#[derive(Debug)]
pub enum Gate {
    /// Nothing.
    Open,
    /// The maker's word.
    Maker,
    /// Somebody who connects to this socket, and is told from then on instead of the maker.
    Socket(OwnedFd),
}

/// How to become a container. The process was cloned with a mount namespace and, where it is to have one, a PID
/// namespace of its own.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The OCI configuration.
    pub spec: &'a Document,
    /// The root file system if it is an overlay.
    pub overlay: Option<&'a Overlay>,
    /// Where it is limited and counted.
    pub cgroup: &'a Cgroup<'a>,
    /// What is joined, a process or a namespace each, and which namespaces of it.
    pub join: &'a [(BorrowedFd<'a>, CloneFlags)],
    /// Nobody has set the new namespaces up yet: names, and the loopback interface.
    pub fresh: bool,
    /// With a cgroup namespace of its own.
    pub cgroup_namespace: bool,
    /// A process in whose mount namespace the root is the shared memory of the sandbox.
    pub shared_memory: Option<BorrowedFd<'a>>,
    /// Which namespaces are not the machine's.
    pub own: sysctl::Own,
    /// Standard files, if it has no terminal.
    pub files: [Option<OwnedFd>; 3],
    /// What the execution waits for.
    pub gate: Gate,
    /// Be killed when the maker dies.
    pub die_with_maker: bool,
    /// The runtime's own file, which may not be executed in a container.
    pub runtime: Option<&'a Metadata>,
    /// How many descriptors after the standard ones the program gets.
    pub preserved: u32,
}

/// Turns the calling process into the container and executes its program. Returns only the error.
///
/// # Errors
/// The first step that failed.
pub fn container(plan: Plan<'_>, channel: &mut Child) -> Result<Infallible> {
    super::default_signals();
    umask(Mode::empty());
    // A process that leads a session already is as good.
    let _ = setsid();
    let process = plan
        .spec
        .process
        .as_ref()
        .ok_or_else(|| Error::Invalid("there is no process".to_owned()))?;
    super::refuse_unsupported(plan.spec.unsupported())?;
    // The maker may have a score of its own, which is not the container's.
    identity::set_oom_score(process.oom_score_adj.unwrap_or(0))?;
    let labels = super::labels(process)?;
    let linux = &plan.spec.linux;
    for (from, namespaces) in plan.join {
        setns(from, *namespaces).during("join", "namespaces")?;
    }
    if plan.fresh {
        set_up_namespaces(&plan)?;
    }
    sysctl::set(&linux.sysctl, plan.own)?;

    let mut waiting = true;
    let mut limited = || {
        if std::mem::take(&mut waiting) {
            channel.wait_for_cgroup()?;
            plan.cgroup.join(linux.resources.as_ref())?;
            if plan.cgroup_namespace {
                // Its root is what the process is in now.
                unshare(CloneFlags::CLONE_NEWCGROUP).during("make", "a cgroup namespace")?;
            }
        }
        Ok(())
    };
    let root = file_system(&plan, &mut limited)?;
    limited()?;
    fault::point("init.mounted");
    let stdio = if process.terminal {
        let terminal = console::open(&root, process)?;
        console::mount(&root, &terminal.slave)?;
        channel.terminal(terminal.master.as_fd())?;
        thrice(terminal.slave)?
    } else {
        super::files(plan.files, |flags| root.open(Path::new("/dev/null"), flags | HARMLESS))?
    };
    paths::mask(&root, &linux.masked_paths)?;
    paths::make_read_only(&root, &linux.readonly_paths)?;
    super::refuse_relative(&process.cwd)?;
    match root.make_dir(&process.cwd, Mode::from_bits_truncate(0o755)) {
        // A link that leads through /proc is judged when it is entered.
        Err(error) if error.errno() == Some(libc::ELOOP) => {}
        other => drop(other?),
    }
    if plan.spec.root.as_ref().is_some_and(|root| root.readonly) {
        paths::make_root_read_only(&root)?;
    }
    rootfs::enter(&root)?;
    fault::point("init.entered");
    drop(root);
    let program = super::prepare(process, stdio, process.terminal)?;
    if !matches!(plan.gate, Gate::Open) {
        // Whoever makes a container hears of a program that is not there before it is started.
        program.look_ahead(process)?;
    }
    match plan.gate {
        Gate::Open => {}
        Gate::Maker => channel.wait_for_start()?,
        Gate::Socket(listener) => channel.wait_for_connection(&listener)?,
    }
    fault::point("init.started");
    let finish = Finish {
        process,
        program,
        seccomp: linux.seccomp.as_ref(),
        labels,
        die_with_maker: plan.die_with_maker,
        runtime: plan.runtime,
        preserved: plan.preserved,
    };
    finish.run()
}

/// Gives new namespaces what they lack.
fn set_up_namespaces(plan: &Plan<'_>) -> Result<()> {
    if plan.own.network {
        loopback_up().during("bring up", "the loopback interface")?;
    }
    if let Some(name) = plan
        .spec
        .hostname
        .as_ref()
        .filter(|name| plan.own.uts && !name.is_empty())
    {
        sethostname(name).during("set the host name", name)?;
    }
    if let Some(name) = plan
        .spec
        .domainname
        .as_ref()
        .filter(|name| plan.own.uts && !name.is_empty())
    {
        std::fs::write("/proc/sys/kernel/domainname", name).during("set the domain name", name)?;
    }
    Ok(())
}

/// Mounts the root and everything in it.
fn file_system(plan: &Plan<'_>, limited: &mut dyn FnMut() -> Result<()>) -> Result<Root> {
    let list = &plan.spec.mounts;
    let shared_memory = plan.shared_memory.map(|process| move || clone_shared_memory(process));
    let shared_memory = shared_memory
        .as_ref()
        .map(|clone| clone as &dyn Fn() -> Result<OwnedFd>);
    let prepared = mounts::prepare(list, shared_memory)?;
    rootfs::cut_off()?;
    let root = match (plan.overlay, &plan.spec.root) {
        (Some(overlay), _) => rootfs::overlay(overlay)?,
        (None, Some(root)) => rootfs::directory(&root.path)?,
        (None, None) => return Err(Error::Invalid("there is no root file system".to_owned())),
    };
    mounts::attach_all(&root, &prepared, plan.cgroup.layout(), limited)?;
    devices::make(&root, list, &plan.spec.linux.devices)?;
    Ok(root)
}

/// Clones the root mount of another process's mount namespace. A clone can be taken only from inside, so the process
/// goes there and comes back.
fn clone_shared_memory(process: BorrowedFd<'_>) -> Result<OwnedFd> {
    let own = rootfs::own_namespace("mnt")?;
    setns(process, CloneFlags::CLONE_NEWNS).during("join", "the mount namespace of pause")?;
    let tree = clone_tree(AT_FDCWD, Path::new("/"), false).during("clone", "the shared memory of the sandbox");
    setns(own, CloneFlags::CLONE_NEWNS).during("return to", "the own mount namespace")?;
    tree
}
