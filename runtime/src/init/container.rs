//! A container's first process.

use std::convert::Infallible;
use std::fs::Metadata;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::AT_FDCWD;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, umask};
use nix::unistd::setsid;
use oci_spec::runtime::Spec;

use super::channel::Child;
use super::root::Root;
use super::{Finish, HARMLESS, console, devices, identity, mounts, paths, rootfs, sysctl, thrice};
use crate::cgroup::Cgroup;
use crate::error::{During, Error, Result};
use crate::protocol::Overlay;
use crate::sys::mount::clone_tree;
use crate::sys::process::default_signals;

/// How to become a container. The process was cloned with a mount namespace and, where it is to have one, a PID
/// namespace of its own.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The OCI configuration.
    pub spec: &'a Spec,
    /// The root file system if it is an overlay.
    pub overlay: Option<&'a Overlay>,
    /// Where it is limited and counted.
    pub cgroup: &'a Cgroup<'a>,
    /// A process whose namespaces are joined, and which of them.
    pub join: Option<(BorrowedFd<'a>, CloneFlags)>,
    /// A process in whose mount namespace the root is the shared memory of the sandbox.
    pub shared_memory: Option<BorrowedFd<'a>>,
    /// Which namespaces are not the machine's.
    pub own: sysctl::Own,
    /// Standard files, if it has no terminal.
    pub files: [Option<OwnedFd>; 3],
    /// Go on to the execution without waiting for the start.
    pub start: bool,
    /// Be killed when the maker dies.
    pub die_with_maker: bool,
    /// The runtime's own file, which may not be executed in a container.
    pub runtime: Option<&'a Metadata>,
}

/// Turns the calling process into the container and executes its program. Returns only the error.
///
/// # Errors
/// The first step that failed.
pub fn container(plan: Plan<'_>, channel: &Child) -> Result<Infallible> {
    default_signals();
    umask(Mode::empty());
    // A process that leads a session already is as good.
    let _ = setsid();
    let process = plan
        .spec
        .process()
        .as_ref()
        .ok_or_else(|| Error::Invalid("there is no process".to_owned()))?;
    refuse_unsupported(plan.spec)?;
    identity::refuse_unsupported(process)?;
    // The maker may have a score of its own, which is not the container's.
    identity::set_oom_score(process.oom_score_adj().unwrap_or(0))?;
    let labels = super::labels(process)?;
    let linux = plan.spec.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    plan.cgroup.make(resources, false)?;
    plan.cgroup.join(resources)?;
    if let Some((process, namespaces)) = plan.join {
        setns(process, namespaces).during("join", "the namespaces of the sandbox")?;
    }
    // Its root is what the process is in now.
    unshare(CloneFlags::CLONE_NEWCGROUP).during("make", "a cgroup namespace")?;
    sysctl::set(
        linux.and_then(|linux| linux.sysctl().as_ref()).into_iter().flatten(),
        plan.own,
    )?;

    let root = file_system(&plan)?;
    let stdio = if process.terminal() == Some(true) {
        let terminal = console::open(&root, process)?;
        console::mount(&root, &terminal.slave)?;
        channel.terminal(terminal.master.as_fd())?;
        thrice(terminal.slave)?
    } else {
        super::files(plan.files, |flags| root.open(Path::new("/dev/null"), flags | HARMLESS))?
    };
    if let Some(linux) = linux {
        paths::mask(&root, linux.masked_paths().as_deref().unwrap_or_default())?;
        paths::make_read_only(&root, linux.readonly_paths().as_deref().unwrap_or_default())?;
    }
    if !process.cwd().is_absolute() {
        return Err(Error::Invalid(format!(
            "the working directory {} is not absolute",
            process.cwd().display()
        )));
    }
    root.make_dir(process.cwd(), Mode::from_bits_truncate(0o755))
        .map(drop)
        .or_else(|error| match error.errno() {
            // A link inside that leads through /proc is judged when it is entered.
            Some(libc::ELOOP) => Ok(()),
            _ => Err(error),
        })?;
    if plan.spec.root().as_ref().and_then(oci_spec::runtime::Root::readonly) == Some(true) {
        paths::make_root_read_only(&root)?;
    }
    rootfs::enter(&root)?;
    drop(root);
    if !plan.start {
        channel.wait_for_start()?;
    }
    let finish = Finish {
        process,
        seccomp: linux.and_then(|linux| linux.seccomp().as_ref()),
        labels,
        stdio,
        terminal: process.terminal() == Some(true),
        die_with_maker: plan.die_with_maker,
        runtime: plan.runtime,
    };
    finish.run(channel)
}

/// Mounts the root and everything in it.
fn file_system(plan: &Plan<'_>) -> Result<Root> {
    let list = plan.spec.mounts().as_deref().unwrap_or_default();
    let shared_memory = plan.shared_memory.map(|process| move || clone_shared_memory(process));
    let shared_memory = shared_memory
        .as_ref()
        .map(|clone| clone as &dyn Fn() -> Result<OwnedFd>);
    let prepared = mounts::prepare(list, shared_memory)?;
    rootfs::cut_off()?;
    let root = match (plan.overlay, plan.spec.root()) {
        (Some(overlay), _) => rootfs::overlay(overlay)?,
        (None, Some(root)) => rootfs::directory(root.path())?,
        (None, None) => return Err(Error::Invalid("there is no root file system".to_owned())),
    };
    mounts::attach_all(&root, &prepared, plan.cgroup.layout())?;
    let linux = plan.spec.linux().as_ref();
    devices::make(
        &root,
        list,
        linux.and_then(|l| l.devices().as_deref()).unwrap_or_default(),
    )?;
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

/// Refuses what this runtime does not do, instead of leaving it out silently.
fn refuse_unsupported(spec: &Spec) -> Result<()> {
    let linux = spec.linux().as_ref();
    let present = [
        (
            "linux.uidMappings",
            linux.is_some_and(|l| l.uid_mappings().as_ref().is_some_and(|m| !m.is_empty())),
        ),
        (
            "linux.gidMappings",
            linux.is_some_and(|l| l.gid_mappings().as_ref().is_some_and(|m| !m.is_empty())),
        ),
        ("linux.intelRdt", linux.is_some_and(|l| l.intel_rdt().is_some())),
        ("linux.memoryPolicy", linux.is_some_and(|l| l.memory_policy().is_some())),
        ("linux.personality", linux.is_some_and(|l| l.personality().is_some())),
        (
            "linux.timeOffsets",
            linux.is_some_and(|l| l.time_offsets().as_ref().is_some_and(|o| !o.is_empty())),
        ),
        (
            "linux.netDevices",
            linux.is_some_and(|l| l.net_devices().as_ref().is_some_and(|d| !d.is_empty())),
        ),
    ];
    match present.iter().find(|(_, present)| *present) {
        Some((name, _)) => Err(Error::Invalid(format!("{name} is not supported"))),
        None => Ok(()),
    }
}
