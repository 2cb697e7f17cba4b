//! A container's first process.

use std::convert::Infallible;
use std::fs::Metadata;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::AT_FDCWD;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{fchdir, getpid, sethostname, setsid};

use super::channel::Child;
use super::hooks::{self, Place, Told};
use super::labels::Labels;
use super::mounts::{Shown, Sources};
use super::outside::Prepared;
use super::root::Root;
use super::users::{self, Mappings};
use super::{
    Finish, HARMLESS, Keyring, Stdio3, Unset, console, devices, identity, interfaces, mounts, moved, paths, rootfs,
    sysctl, thrice,
};
use crate::cgroup::Cgroup;
use crate::document::{Document, Process};
use crate::error::{During, Error, Result};
use crate::netlink::Netlink;
use crate::protocol::Overlay;
use crate::seccomp::Filter;
use crate::sys::mount::clone_tree;
use crate::sys::network::loopback_up;
use crate::sys::process::set_domain_name;
use crate::{broken, fault};

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
    /// What it is called and where it comes from; without hooks for nobody.
    pub told: Told<'a>,
    /// Its filter, if that is compiled already.
    pub filter: Option<Filter>,
    /// The root file system if it is an overlay.
    pub overlay: Option<&'a Overlay>,
    /// Where it is limited and counted.
    pub cgroup: &'a Cgroup<'a>,
    /// What is joined, a process or a namespace each, and which namespaces of it.
    pub join: &'a [(BorrowedFd<'a>, CloneFlags)],
    /// The host and domain name are its own.
    pub named: bool,
    /// Nobody has set its network namespace up yet.
    pub new_network: bool,
    /// It moves network interfaces to the network namespace that it joins.
    pub brings_interfaces: bool,
    /// With a cgroup namespace of its own.
    pub cgroup_namespace: bool,
    /// Its mount namespace is not its own: it has been joined, or is the maker's.
    pub shared_mounts: bool,
    /// The mount namespace that is joined.
    pub mount_namespace: Option<BorrowedFd<'a>>,
    /// It is in a user namespace that is not the machine's, for which its maker has prepared this.
    pub prepared: Option<Prepared<'a>>,
    /// A process in whose mount namespace the root is the shared memory of the sandbox.
    pub shared_memory: Option<BorrowedFd<'a>>,
    /// Which namespaces are not the machine's.
    pub own: sysctl::Own,
    /// What it gets that its configuration does not speak of.
    pub unset: Unset,
    /// Standard files, if it has no terminal.
    pub files: [Option<OwnedFd>; 3],
    /// What the execution waits for.
    pub gate: Gate,
    /// Be killed when the maker dies.
    pub die_with_maker: bool,
    /// The runtime's own file, which may not be executed in a container.
    pub runtime: Option<&'a Metadata>,
    /// Its root takes the place of the machine's by being moved there instead of changing places with it.
    pub moved_root: bool,
    /// Its session keyring.
    pub keyring: Keyring<'a>,
    /// How many descriptors after the standard ones the program gets.
    pub preserved: u32,
}

/// Turns the calling process into the container and executes its program. Returns only the error.
///
/// # Errors
/// The first step that failed.
pub fn container(mut plan: Plan<'_>, channel: &mut Child) -> Result<Infallible> {
    super::default_signals();
    let inherited_umask = umask(Mode::empty());
    // A process that leads a session already is as good.
    let _ = setsid();
    let (spec, linux) = (plan.spec, &plan.spec.linux);
    let process = spec.process.as_ref();
    let filter = Filter::of(plan.filter.take(), linux.seccomp.as_ref())?;
    let labels = process.map(Labels::new).transpose()?;
    if let Some(process) = process {
        identity::set_oom_score(process.oom_score_adj, plan.unset)?;
    }
    let mut waiting = true;
    let (cgroup, cgroup_namespace) = (plan.cgroup, plan.cgroup_namespace);
    let mut limited = |channel: &mut Child| {
        if std::mem::take(&mut waiting) {
            channel.wait_for_cgroup()?;
            cgroup.join(linux.resources.as_ref(), None)?;
            if cgroup_namespace && !broken::lacks("cgroup-namespace") {
                // Its root is what the process is in now.
                unshare(CloneFlags::CLONE_NEWCGROUP).during("make", "a cgroup namespace")?;
            }
        }
        Ok(())
    };
    if plan.prepared.is_some() {
        channel.wait_for_mapping()?;
        // Root of the user namespace may not write to the machine's cgroups.
        limited(channel)?;
        let users = Mappings::of(spec);
        let keeps_groups = process.is_some_and(|process| process.keeps_groups);
        users::become_root((!users.is_empty()).then_some(users), keeps_groups)?;
    }
    join(&plan)?;
    set_up_namespaces(&plan)?;
    sysctl::set(&linux.sysctl, plan.own)?;
    let root = file_system(&mut plan, &mut || limited(channel))?;
    limited(channel)?;
    fault::point("init.mounted");
    let stdio = standard_files(&mut plan, &root, channel)?;
    if !(spec.hooks.prestart.is_empty() && spec.hooks.create_runtime.is_empty()) {
        channel.hooks()?;
    }
    let told = plan.told.at("creating", Some(getpid().as_raw()));
    if !spec.hooks.create_container.is_empty() {
        // They are in the machine's root still; where the container's is they see from where they are, as with runc.
        fchdir(&root).during("enter", "the root file system")?;
        let place = Place {
            directory: Path::new("."),
            environment: None,
        };
        hooks::run("createContainer", &spec.hooks.create_container, &told, place)?;
    }
    paths::mask(&root, &linux.masked_paths)?;
    paths::make_read_only(&root, &linux.readonly_paths)?;
    mounts::close_devices(&root, &spec.mounts)?;
    if let Some(process) = process {
        make_working_directory(&root, process)?;
    }
    if spec.root.as_ref().is_some_and(|root| root.readonly) {
        paths::make_root_read_only(&root)?;
    }
    if plan.shared_mounts {
        rootfs::enter_shared(&root)?;
    } else {
        if plan.moved_root {
            moved::enter(&root)?;
        } else {
            rootfs::enter(&root)?;
        }
        rootfs::propagate(linux.rootfs_propagation.as_deref())?;
    }
    fault::point("init.entered");
    drop(root);
    let program = process
        .map(|process| super::prepare(process, stdio, process.terminal))
        .transpose()?;
    if let Some((program, process)) = program.as_ref().zip(process)
        && !matches!(plan.gate, Gate::Open)
        && spec.hooks.start_container.is_empty()
    {
        // Whoever makes a container hears of a program that is not there before it is started.
        program.look_ahead(process)?;
    }
    let notifies = filter.as_ref().is_some_and(Filter::notifies);
    let late = match plan.gate {
        // Whoever is notified hears of it before the start.
        Gate::Socket(listener) if notifies && process.is_some() => Some(listener),
        gate => {
            match gate {
                Gate::Open => {}
                Gate::Maker => channel.wait_for_start()?,
                Gate::Socket(listener) => channel.wait_for_connection(&listener)?,
            }
            fault::point("init.started");
            None
        }
    };
    let (Some(process), Some(program), Some(labels)) = (process, program, labels) else {
        return Err(Error::Invalid("there is no process to be started".to_owned()));
    };
    let finish = Finish {
        process,
        program,
        personality: linux.personality.as_ref(),
        memory_policy: linux.memory_policy.as_ref(),
        scheduled: plan.prepared.is_some(),
        filter,
        labels,
        unset: plan.unset,
        umask: inherited_umask,
        die_with_maker: plan.die_with_maker,
        runtime: plan.runtime,
        keyring: plan.keyring,
        preserved: plan.preserved,
        gate: late,
        hooks: Some((&spec.hooks.start_container, told.at("created", told.pid()))),
    };
    finish.run(channel)
}

/// Joins namespaces. A process that comes from the machine's network namespace brings the container's interfaces along.
fn join(plan: &Plan<'_>) -> Result<()> {
    let devices = &plan.spec.linux.net_devices;
    let brings = plan.brings_interfaces && !devices.is_empty();
    let socket = || Netlink::open().during("open", "a netlink socket");
    let outside = brings.then(socket).transpose()?;
    for (from, namespaces) in plan.join {
        let kinds = if broken::lacks("namespace-kinds") {
            CloneFlags::empty()
        } else {
            *namespaces
        };
        setns(from, kinds).during("join", "namespaces")?;
    }
    match outside {
        Some(mut outside) => {
            interfaces::move_all(devices, &mut outside, &mut socket()?, &rootfs::own_namespace("net")?)
        }
        None => Ok(()),
    }
}

/// Gives new namespaces what they lack.
fn set_up_namespaces(plan: &Plan<'_>) -> Result<()> {
    if plan.new_network {
        loopback_up().during("bring up", "the loopback interface")?;
    }
    let given = |name: &'_ Option<String>| name.clone().filter(|name| plan.named && !name.is_empty());
    if let Some(name) = given(&plan.spec.hostname) {
        sethostname(&name).during("set the host name", name)?;
    }
    if let Some(name) = given(&plan.spec.domainname) {
        set_domain_name(&name).during("set the domain name", name)?;
    }
    Ok(())
}

/// Mounts the root and everything in it.
fn file_system(plan: &mut Plan<'_>, limited: &mut dyn FnMut() -> Result<()>) -> Result<Root> {
    let (spec, linux) = (plan.spec, &plan.spec.linux);
    let propagation = linux.rootfs_propagation.as_deref();
    let shown = Shown {
        cgroup: plan.cgroup,
        namespace: plan.cgroup_namespace,
    };
    let path = spec.root.as_ref().map(|root| root.path.as_path());
    let path = || path.ok_or_else(|| Error::Invalid("there is no root file system".to_owned()));
    if let Some(prepared) = plan.prepared.take() {
        match plan.mount_namespace {
            Some(namespace) => setns(namespace, CloneFlags::CLONE_NEWNS).during("join", "the mount namespace")?,
            None => rootfs::cut_off(propagation)?,
        }
        let mut root = rootfs::prepared(prepared.root, path()?, plan.shared_mounts)?;
        mounts::attach_all(&mut root, &prepared.mounts, shown, limited)?;
        devices::make(&root, &spec.mounts, &linux.devices, Some(&prepared.devices))?;
        return Ok(root);
    }
    let shared_memory = plan.shared_memory.map(|process| move || clone_shared_memory(process));
    let shared_memory = shared_memory
        .as_ref()
        .map(|clone| clone as &dyn Fn() -> Result<OwnedFd>);
    let sources = Sources {
        base: Some(plan.told.bundle()),
        users: Mappings::of(spec),
        namespace: None,
        label: linux.mount_label.as_deref(),
        inside: true,
    };
    let prepared = mounts::prepare(&spec.mounts, sources, shared_memory)?;
    let mut root = match plan.overlay {
        _ if plan.shared_mounts => match plan.mount_namespace {
            Some(namespace) => {
                let (path, tree) = (path()?, rootfs::prepare(path()?, propagation)?);
                setns(namespace, CloneFlags::CLONE_NEWNS).during("join", "the mount namespace")?;
                rootfs::prepared(tree, path, true)?
            }
            None => rootfs::shared_directory(path()?)?,
        },
        Some(overlay) => {
            rootfs::cut_off(propagation)?;
            rootfs::overlay(overlay)?
        }
        None => {
            rootfs::cut_off(propagation)?;
            rootfs::directory(path()?)?
        }
    };
    mounts::attach_all(&mut root, &prepared, shown, limited)?;
    devices::make(&root, &spec.mounts, &linux.devices, None)?;
    Ok(root)
}

/// The standard files of the program. A container without one needs none.
fn standard_files(plan: &mut Plan<'_>, root: &Root, channel: &Child) -> Result<Stdio3> {
    let files = std::mem::take(&mut plan.files);
    let null = |flags: i32| root.open(Path::new("/dev/null"), flags | HARMLESS);
    let Some(process) = plan.spec.process.as_ref().filter(|process| process.terminal) else {
        return super::files(files, null);
    };
    let terminal = console::open(root, process)?;
    console::mount(root, &terminal.slave)?;
    channel.terminal(terminal.master.as_fd())?;
    thrice(terminal.slave)
}

/// Makes the working directory if it is missing.
fn make_working_directory(root: &Root, process: &Process) -> Result<()> {
    match root.make_dir(&process.cwd, Mode::from_bits_truncate(0o755)) {
        // A link that leads through /proc is judged when it is entered.
        Err(error) if error.errno() == Some(libc::ELOOP) => Ok(()),
        other => other.map(drop),
    }
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
