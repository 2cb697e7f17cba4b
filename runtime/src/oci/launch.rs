//! The clone that becomes the container, and what its maker does meanwhile.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sched::CloneFlags;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, bind, listen, socket};

use super::arguments::Arguments;
use super::create::Mode;
use super::namespaces::Namespaces;
use super::preserved::Preserved;
use super::state::{Directory, Stored};
use super::terminal::{Receiver, connect_to};
use super::{staged, wait};
use crate::cgroup::{self, Cgroup, Layout, Mode as Hierarchies};
use crate::client::with_address;
use crate::document::Document;
use crate::error::{During, Error, Result};
use crate::init::channel::{self, Child, Maker};
use crate::init::outside::{Outside, Prepared};
use crate::init::{self, Gate, Plan, Unset};
use crate::resctrl::Group;
use crate::sys::clone::{Side, SingleThread, clone3};
use crate::sys::path::mount_id;
use crate::sys::process::{close_all_but, exit_now, pidfd_send_signal, unique_number};
use crate::sys::socket::send;
use crate::systemd::{self, Holder};
use crate::{fault, records};

/// A container that was made.
#[derive(Debug)]
pub struct Launched {
    /// Its first process.
    pub pidfd: OwnedFd,
    /// Its terminal, if it is passed through this process.
    pub terminal: Option<OwnedFd>,
}

/// Clones the process and follows it until it waits for its start, or has executed.
///
/// # Errors
/// Whatever went wrong on either side; the process is killed then, the rest is the caller's to remove.
pub fn launch(
    directory: &Directory,
    layout: &Layout,
    mut stored: Stored,
    document: &Document,
    given: &Arguments,
    preserved: &Preserved,
    mode: Mode,
) -> Result<Launched> {
    let terminal = document.process.as_ref().is_some_and(|process| process.terminal);
    let receiver = Receiver::open(given, terminal, mode == Mode::Follow)?;
    let namespaces = Namespaces::open(document)?;
    stored.pid_namespace = namespaces.leads();
    if namespaces.shared_mounts && namespaces.mount.is_none() {
        let mount = mount_id(&stored.rootfs).during("look at", stored.rootfs.display())?;
        stored.mounted_on = Some(mount);
    }
    // What is in there by then is killed with the container, so that this comes first.
    if cgroup::populated(&stored.tracker) {
        return Err(Error::State(format!(
            "the cgroup {} has processes of others in it",
            stored.cgroup.display()
        )));
    }
    if cgroup::is_frozen(&stored.tracker) {
        return Err(Error::State(format!(
            "the cgroup {} is frozen",
            stored.cgroup.display()
        )));
    }
    let classes = document.linux.intel_rdt.as_ref();
    stored.resctrl = classes.map(|asked| Group::plan(asked, &stored.id)).transpose()?;
    // Written down before it is made.
    directory.write(&stored)?;
    fault::point("oci.recorded");
    let cgroup = Cgroup::new(layout, &stored.cgroup);
    // Until the container is in the scope.
    let holder = match &stored.scope {
        Some(scope) => {
            let holder = Holder::new(SingleThread::claim().during("count", "threads")?)?;
            let resources = document.linux.resources.as_ref();
            scope.start(&holder, layout, &stored.id, resources, &stored.annotations)?;
            Some(holder)
        }
        None => None,
    };
    if layout.mode == Hierarchies::V2 {
        cgroup.make(None, false)?;
    }
    let tracker = cgroup.make_tracker()?;
    fault::point("oci.cgroup-made");
    let born_in = File::open(&tracker).during("open", tracker.display())?;
    let listener = match mode {
        Mode::Wait => Some(listen_on(&directory.socket())?),
        Mode::Leave | Mode::Follow => None,
    };
    let files = if terminal {
        [None, None, None]
    } else {
        standard_files()?
    };
    let (maker, child) = channel::pair()?;
    let single = SingleThread::claim().during("count", "threads")?;
    let born = (layout.mode != Hierarchies::V1).then(|| born_in.as_fd());
    let prepared = Prepared::new(document, &stored.bundle, namespaces.user.as_ref().map(AsFd::as_fd))?;
    if let Some((group, asked)) = stored.resctrl.as_ref().zip(classes) {
        group.make(asked)?;
        group.join()?;
    }
    let entered = namespaces.enter()?;
    let side = match &namespaces.user {
        None => clone3(single, namespaces.new, born).during("clone", "the container's process")?,
        Some(user) => staged::clone(single, &namespaces, user, born)?,
    };
    let Side::Parent { pid, pidfd } = side else {
        let made = Made {
            stored: &stored,
            document,
            cgroup: &cgroup,
            namespaces: &namespaces,
            preserved,
            moved_root: given.has("no-pivot"),
        };
        become_container(&made, prepared, files, listener, child)
    };
    fault::point("oci.cloned");
    let in_unit = stored.scope.as_ref().map_or(Ok(()), |_| cgroup.take_into_unit(pid));
    // Before the limits, which it might not leave room under.
    drop(holder);
    drop(prepared);
    drop((child, listener, files));
    stored.pid = pid;
    stored.start_ticks = records::start_ticks(pid).unwrap_or(0);
    stored.unique = unique_number(pidfd.as_fd());
    let outside = Outside::new(document, stored.told(), "creating", pid);
    let finish = || {
        entered.leave()?;
        in_unit?;
        directory.write(&stored)?;
        fault::point("oci.pid-recorded");
        outside.move_interfaces(namespaces.network())?;
        outside.map(&maker)?;
        let resources = document.linux.resources.as_ref();
        if let Some((scope, resources)) = stored.scope.as_ref().zip(resources) {
            systemd::update(scope, layout, resources)?;
        }
        cgroup.make(resources, false)?;
        outside.own(&cgroup, namespaces.cgroup)?;
        // A child that is gone has said why, or its end will be noticed.
        let _ = maker.limited();
        fault::point("oci.limited");
        let terminal = wait::until_made(&maker, pid, mode != Mode::Wait, &receiver, Some(&outside))?;
        if mode != Mode::Wait {
            outside.started()?;
        }
        fault::point("oci.made");
        tell(given, pid, &pidfd)?;
        Ok(terminal)
    };
    match finish() {
        Ok(terminal) => Ok(Launched { pidfd, terminal }),
        Err(error) => {
            // Ended already is as good.
            let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
            Err(error)
        }
    }
}

/// Tells the caller which process it is: in a file, and as a descriptor.
///
/// # Errors
/// The file cannot be written, or nobody listens at the socket.
pub fn tell(given: &Arguments, pid: i32, pidfd: &OwnedFd) -> Result<()> {
    if let Some(path) = given.value("pidfd-socket").filter(|path| !path.is_empty()) {
        let socket = connect_to("the pidfd socket", Path::new(path))?;
        send(&socket, b"pidfd", &[pidfd.as_fd()]).during("send a descriptor to", path)?;
    }
    match given.value("pid-file").filter(|path| !path.is_empty()) {
        Some(path) => records::replace_public(Path::new(path), pid.to_string().as_bytes()),
        None => Ok(()),
    }
}

/// What the child has from its maker.
struct Made<'a> {
    stored: &'a Stored,
    document: &'a Document,
    cgroup: &'a Cgroup<'a>,
    namespaces: &'a Namespaces,
    preserved: &'a Preserved,
    moved_root: bool,
}

fn become_container(
    made: &Made<'_>,
    prepared: Option<Prepared<'_>>,
    files: [Option<OwnedFd>; 3],
    listener: Option<OwnedFd>,
    mut channel: Child,
) -> ! {
    let runtime = fs::metadata("/proc/self/exe").ok();
    let namespaces = made.namespaces;
    let run = |channel: &mut Child| {
        let join: Vec<(BorrowedFd<'_>, CloneFlags)> = namespaces
            .joined
            .iter()
            // With a user namespace that was joined all others have been as well.
            .filter(|_| namespaces.user.is_none())
            .map(|(namespace, kind)| (namespace.as_fd(), *kind))
            .collect();
        let mut keep: Vec<BorrowedFd<'_>> = join.iter().map(|(namespace, _)| *namespace).collect();
        keep.push(channel.as_fd());
        keep.extend(files.iter().flatten().chain(&listener).map(AsFd::as_fd));
        keep.extend(namespaces.mount.iter().map(AsFd::as_fd));
        keep.extend(prepared.iter().flat_map(Prepared::descriptors));
        keep.extend(made.preserved.descriptors());
        close_all_but(&keep).during("close", "inherited descriptors")?;
        let plan = Plan {
            spec: made.document,
            told: made.stored.told(),
            filter: None,
            overlay: None,
            cgroup: made.cgroup,
            join: &join,
            named: true,
            new_network: namespaces.new & libc::CLONE_NEWNET != 0,
            brings_interfaces: false,
            cgroup_namespace: namespaces.cgroup,
            shared_mounts: namespaces.shared_mounts,
            mount_namespace: namespaces.mount.as_ref().map(AsFd::as_fd),
            prepared,
            shared_memory: None,
            own: namespaces.own,
            unset: Unset::Inherited,
            files,
            gate: listener.map_or(Gate::Open, Gate::Socket),
            die_with_maker: false,
            runtime: runtime.as_ref(),
            moved_root: made.moved_root,
            keyring: made.stored.new_keyring(),
            preserved: made.preserved.count,
        };
        init::container(plan, channel)
    };
    let Err(error) = run(&mut channel);
    channel.failed(&error);
    exit_now(1)
}

/// The caller's standard files, to be the container's.
pub fn standard_files() -> Result<[Option<OwnedFd>; 3]> {
    let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(Some).during("copy", "a standard file");
    Ok([
        copy(io::stdin().as_fd())?,
        copy(io::stdout().as_fd())?,
        copy(io::stderr().as_fd())?,
    ])
}

/// Connects a starter to a container that waits.
///
/// # Errors
/// Nobody waits there.
pub fn connect(directory: &Directory) -> Result<Maker> {
    let waiting = crate::client::connect(&directory.socket()).during("connect to", "the waiting container")?;
    Ok(Maker::from(waiting))
}

fn listen_on(path: &Path) -> Result<OwnedFd> {
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None);
    let listener = listener.during("make", "a socket")?;
    with_address(path, |address| Ok(bind(listener.as_raw_fd(), address)?)).during("bind", path.display())?;
    listen(&listener, Backlog::new(1).unwrap_or(Backlog::MAXCONN)).during("listen on", path.display())?;
    Ok(listener)
}
