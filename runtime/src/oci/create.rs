//! `create` and `run`: from a bundle to a process that is the container.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType};

use super::Global;
use super::arguments::{Arguments, Known};
use super::state::{Directory, Stored, read_document};
use super::{delete, start};
use crate::cgroup::{Cgroup, Layout, Mode};
use crate::client::with_address;
use crate::document::Document;
use crate::error::{During, Error, Result};
use crate::init::channel::{self, Maker, Message};
use crate::init::sysctl::Own;
use crate::init::{self, Gate, Plan};
use crate::sys::clone::{Side, SingleThread, clone3};
use crate::sys::process::{close_all_but, exit_now, has_executed, pidfd_send_signal};
use crate::{records, sealed, time};

const OPTIONS: [Known; 6] = [
    ("bundle", Some('b'), true),
    ("pid-file", None, true),
    ("console-socket", None, true),
    ("detach", Some('d'), false),
    ("no-pivot", None, false),
    ("preserve-fds", None, true),
];

/// `create`.
pub fn create(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let mut given = Arguments::parse(arguments, &OPTIONS)?;
    let id = given.only("a container's id")?;
    protect()?;
    make(global, &given, &id, false)?;
    Ok(0)
}

/// `run`.
pub fn run(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let mut given = Arguments::parse(arguments, &OPTIONS)?;
    let id = given.only("a container's id")?;
    protect()?;
    let pidfd = make(global, &given, &id, true)?;
    if given.has("detach") {
        return Ok(0);
    }
    let code = start::wait(&pidfd)?;
    delete::remove(&Directory::new(global, &id)?)?;
    Ok(code)
}

/// Keeps containers from the runtime's own file and memory while it is on its way into them.
pub fn protect() -> Result<()> {
    if !sealed::is_sealed() {
        sealed::execute_again()?;
    }
    prctl::set_dumpable(false).during("protect", "the process")
}

/// Makes a container; with `start` its program is executed as well. When it fails nothing is left of it.
fn make(global: &Global, given: &Arguments, id: &str, start: bool) -> Result<OwnedFd> {
    let bundle = given
        .value("bundle")
        .map_or_else(std::env::current_dir, fs::canonicalize)
        .during("find", "the bundle")?;
    let (text, mut document) = read_document(&bundle.join("config.json"))?;
    if given.has("preserve-fds") && given.value("preserve-fds").as_deref() != Some("0") {
        return Err(Error::Invalid(
            "passing descriptors on (--preserve-fds) is not supported".to_owned(),
        ));
    }
    let root = document
        .root
        .as_mut()
        .ok_or_else(|| Error::Invalid("there is no root file system".to_owned()))?;
    root.path = fs::canonicalize(bundle.join(&root.path)).during("find the root file system", root.path.display())?;
    let stored = Stored {
        id: id.to_owned(),
        pid: 0,
        start_ticks: 0,
        rootfs: root.path.clone(),
        bundle,
        cgroup: cgroup_path(&document, id),
        created: time::now_text(),
        annotations: document.annotations.clone(),
    };
    let directory = Directory::new(global, id)?;
    directory.make()?;
    let made = directory
        .write_config(text.as_bytes())
        .and_then(|()| clone(&directory, stored, &document, given, start));
    if made.is_err() {
        // Why it could not be made is what the caller wants to hear.
        let _ = delete::remove(&directory);
    }
    made
}

/// The cgroup of those whose configuration names none, or only a relative one.
pub const PARENT: &str = "/barepod-runtime";

/// The cgroup asked for; a relative path is below one of our own.
fn cgroup_path(document: &Document, id: &str) -> PathBuf {
    match &document.linux.cgroups_path {
        Some(path) if path.is_absolute() => path.clone(),
        Some(path) => Path::new(PARENT).join(path),
        None => Path::new(PARENT).join(id),
    }
}

fn clone(
    directory: &Directory,
    mut stored: Stored,
    document: &Document,
    given: &Arguments,
    start: bool,
) -> Result<OwnedFd> {
    let layout = Layout::detect()?;
    directory.write(&stored)?;
    let cgroup = Cgroup::new(&layout, &stored.cgroup);
    if layout.mode == Mode::V2 {
        cgroup.make(None, false)?;
    }
    let tracker = cgroup.make_tracker()?;
    let born_in = File::open(&tracker).during("open", tracker.display())?;
    let console = given
        .value("console-socket")
        .map(|path| connect_console(Path::new(&path)))
        .transpose()?;
    let terminal = document.process.as_ref().is_some_and(|process| process.terminal);
    if terminal != console.is_some() {
        return Err(Error::Invalid(
            "a terminal and --console-socket go together, one needs the other".to_owned(),
        ));
    }
    let namespaces = Namespaces::open(document)?;
    let listener = if start {
        None
    } else {
        Some(listen_on(&directory.socket())?)
    };
    let files = if terminal {
        [None, None, None]
    } else {
        standard_files()?
    };
    let (maker, child) = channel::pair()?;
    let single = SingleThread::claim().during("count", "threads")?;
    let born = (layout.mode != Mode::V1).then(|| born_in.as_fd());
    if let Some(namespace) = &namespaces.pid {
        setns(namespace, CloneFlags::CLONE_NEWPID).during("join", "the PID namespace")?;
    }
    let side = clone3(single, namespaces.new, born).during("clone", "the container's process")?;
    let Side::Parent { pid, pidfd } = side else {
        become_container(document, &cgroup, &namespaces, files, listener, child)
    };
    drop((child, listener, files));
    stored.pid = pid;
    stored.start_ticks = records::start_ticks(pid).unwrap_or(0);
    let finish = || {
        directory.write(&stored)?;
        cgroup.make(document.linux.resources.as_ref(), false)?;
        // A child that is gone has said why, or its end will be noticed.
        let _ = maker.limited();
        wait_until_made(&maker, pid, start, console.as_ref())?;
        match given.value("pid-file") {
            Some(file) => records::replace_public(Path::new(&file), pid.to_string().as_bytes()),
            None => Ok(()),
        }
    };
    finish().inspect_err(|_| {
        // Ended already is as good.
        let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
    })?;
    Ok(pidfd)
}

/// Follows the child until it waits for its start, or has executed.
pub fn wait_until_made(maker: &Maker, pid: i32, start: bool, console: Option<&OwnedFd>) -> Result<()> {
    loop {
        match (maker.receive(), console) {
            (Message::Ready, _) => return Ok(()),
            (Message::Terminal(master), Some(console)) => {
                // The name is what the protocol of console sockets has in the packet.
                crate::sys::socket::send(console, b"/dev/ptmx", &[master.as_fd()]).during("send", "the terminal")?;
            }
            (Message::Terminal(_), None) => {}
            (Message::Failed(failure), _) => return Err(Error::Remote(failure)),
            (Message::Closed, _) if start && has_executed(pid) => return Ok(()),
            (Message::Closed, _) => {
                return Err(Error::State(
                    "the process that was to become the container died".to_owned(),
                ));
            }
        }
    }
}

fn become_container(
    document: &Document,
    cgroup: &Cgroup<'_>,
    namespaces: &Namespaces,
    files: [Option<OwnedFd>; 3],
    listener: Option<OwnedFd>,
    mut channel: channel::Child,
) -> ! {
    let runtime = fs::metadata("/proc/self/exe").ok();
    let run = |channel: &mut channel::Child| {
        let join: Vec<(BorrowedFd<'_>, CloneFlags)> = namespaces
            .joined
            .iter()
            .map(|(namespace, kind)| (namespace.as_fd(), *kind))
            .collect();
        let mut keep: Vec<BorrowedFd<'_>> = join.iter().map(|(namespace, _)| *namespace).collect();
        keep.push(channel.as_fd());
        keep.extend(files.iter().flatten().chain(&listener).map(AsFd::as_fd));
        close_all_but(&keep).during("close", "inherited descriptors")?;
        let plan = Plan {
            spec: document,
            overlay: None,
            cgroup,
            join: &join,
            fresh: true,
            cgroup_namespace: namespaces.cgroup,
            shared_memory: None,
            own: namespaces.own,
            files,
            gate: listener.map_or(Gate::Open, Gate::Socket),
            die_with_maker: false,
            runtime: runtime.as_ref(),
        };
        init::container(plan, channel)
    };
    let Err(error) = run(&mut channel);
    channel.failed(&error);
    exit_now(1)
}

/// The namespaces a configuration asks for.
struct Namespaces {
    /// `CLONE_NEW*` of the new ones.
    new: i32,
    /// Those to be joined after the clone.
    joined: Vec<(OwnedFd, CloneFlags)>,
    /// The one to be joined before it.
    pid: Option<OwnedFd>,
    /// A new cgroup namespace.
    cgroup: bool,
    own: Own,
}

impl Namespaces {
    fn open(document: &Document) -> Result<Self> {
        let none = Own {
            network: false,
            ipc: false,
            uts: false,
        };
        let mut all = Self {
            new: libc::CLONE_NEWNS,
            joined: Vec::new(),
            pid: None,
            cgroup: false,
            own: none,
        };
        for namespace in &document.linux.namespaces {
            all.add(namespace)?;
        }
        Ok(all)
    }

    fn add(&mut self, namespace: &LinuxNamespace) -> Result<()> {
        let path = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty());
        let flag = match namespace.typ() {
            LinuxNamespaceType::Mount if path.is_some() => {
                return Err(Error::Invalid("joining a mount namespace is not supported".to_owned()));
            }
            LinuxNamespaceType::User | LinuxNamespaceType::Time => {
                return Err(Error::Invalid(format!(
                    "{} namespaces are not supported",
                    namespace.typ()
                )));
            }
            LinuxNamespaceType::Mount => return Ok(()),
            LinuxNamespaceType::Cgroup => CloneFlags::CLONE_NEWCGROUP,
            LinuxNamespaceType::Uts => CloneFlags::CLONE_NEWUTS,
            LinuxNamespaceType::Ipc => CloneFlags::CLONE_NEWIPC,
            LinuxNamespaceType::Pid => CloneFlags::CLONE_NEWPID,
            LinuxNamespaceType::Network => CloneFlags::CLONE_NEWNET,
        };
        // A namespace that is joined is the pod's, whose parameters may be set as well.
        self.own.network |= flag == CloneFlags::CLONE_NEWNET;
        self.own.ipc |= flag == CloneFlags::CLONE_NEWIPC;
        self.own.uts |= flag == CloneFlags::CLONE_NEWUTS;
        match path {
            Some(path) => {
                let opened: OwnedFd = File::open(path).during("open the namespace", path.display())?.into();
                if flag == CloneFlags::CLONE_NEWPID {
                    self.pid = Some(opened);
                } else {
                    self.joined.push((opened, flag));
                }
            }
            // Its root is where the process is only after it was limited.
            None if flag == CloneFlags::CLONE_NEWCGROUP => self.cgroup = true,
            None => self.new |= flag.bits(),
        }
        Ok(())
    }
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

/// Connects to the socket that is to get the terminal's master.
pub fn connect_console(path: &Path) -> Result<OwnedFd> {
    let console = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    let console = console.during("make", "a socket")?;
    let to = |address: &UnixAddr| Ok(connect(console.as_raw_fd(), address)?);
    with_address(path, to).during("connect to", path.display())?;
    Ok(console)
}

fn listen_on(path: &Path) -> Result<OwnedFd> {
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None);
    let listener = listener.during("make", "a socket")?;
    with_address(path, |address| Ok(bind(listener.as_raw_fd(), address)?)).during("bind", path.display())?;
    listen(&listener, Backlog::new(1).unwrap_or(Backlog::MAXCONN)).during("listen on", path.display())?;
    Ok(listener)
}
