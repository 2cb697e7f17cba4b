//! The sandbox: made, described, ended.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use nix::sys::epoll::EpollFlags;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::sethostname;

use super::attach::Attachments;
use super::clients::{Caller, Clients};
use super::containers::Container;
use super::execs::Exec;
use super::pause;
use super::poller::{Poller, Source};
use super::start::configuration;
use crate::cgroup::{self, Cgroup, Layout, Mode};
use crate::client::with_address;
use crate::error::{During, Error, Result};
use crate::init::channel::{self, Maker, Message};
use crate::protocol::{Event, NamespaceMode, Response, SandboxConfig, SandboxState};
use crate::sys::clone::{Side, SingleThread, clone3};
use crate::sys::process::{close_all_but, exit_now, has_executed, pidfd_send_signal};
use crate::{broken, fault, records, time};

/// Everything a monitor knows.
pub struct Monitor {
    pub(super) single: SingleThread,
    pub(super) layout: Layout,
    /// The sandbox; its list of containers stays empty, they are in `containers`.
    pub(super) state: SandboxState,
    /// pause, as long as it lives.
    pub(super) pause: Option<OwnedFd>,
    /// The PID namespace to come back to.
    pub(super) own_pid_namespace: OwnedFd,
    /// The program's own file.
    pub(super) runtime: Option<Metadata>,
    pub(super) poller: Poller,
    pub(super) listener: OwnedFd,
    pub(super) signals: SignalFd,
    pub(super) clients: Clients,
    pub(super) containers: BTreeMap<u32, Container>,
    pub(super) execs: BTreeMap<u32, Exec>,
    pub(super) attachments: Attachments,
    /// The last key given to a container or an exec.
    pub(super) last_key: u32,
    /// Who asked for the end.
    pub(super) stopping: Vec<Caller>,
    /// SIGTERM came: leave when nothing runs any more.
    pub(super) terminating: bool,
}

impl Monitor {
    /// Makes the sandbox, whose network namespace comes over `network`. When it fails nothing is left of it.
    pub fn create(
        single: SingleThread,
        config: SandboxConfig,
        layout: Layout,
        network: Option<OwnedFd>,
    ) -> Result<Self> {
        let pid = nix::unistd::getpid().as_raw();
        let state = SandboxState {
            config,
            made_for: None,
            monitor_pid: pid,
            monitor_start_ticks: records::start_ticks(pid).unwrap_or(0),
            pause_pid: None,
            created_at: time::now_text(),
            containers: Vec::new(),
        };
        let created = Self::make(single, state.clone(), layout.clone(), network);
        if created.is_err() {
            // The reason why it could not be made is what the caller wants to hear.
            let _ = records::remove_kernel(&layout, &state);
            let _ = records::remove_files(&state.config.dir);
        }
        created
    }

    fn make(single: SingleThread, mut state: SandboxState, layout: Layout, network: Option<OwnedFd>) -> Result<Self> {
        records::write(&state.config.dir, &state)?;
        fault::point("sandbox.recorded");
        let config = &state.config;
        let keeper = Cgroup::new(&layout, &cgroup::keeper(&config.cgroup)).make_tracker()?;
        fault::point("sandbox.cgroup-made");
        let (pause_pid, pause, channel) = clone_pause(single, config, &layout, &keeper, network)?;
        fault::point("sandbox.pause-cloned");
        // pause sets itself up meanwhile.
        if !config.spare {
            make_pod(&layout, config)?;
        }
        let listener = listen_on(&config.dir.join(records::SOCKET))?;
        let poller = Poller::new()?;
        poller.add(&listener, EpollFlags::EPOLLIN, Source::Listener)?;
        poller.add(&pause, EpollFlags::EPOLLIN, Source::Pause)?;
        let signals = watch_signals()?;
        poller.add(&signals, EpollFlags::EPOLLIN, Source::Signals)?;
        state.pause_pid = Some(pause_pid);
        let own_pid_namespace = File::open("/proc/self/ns/pid")
            .during("open", "/proc/self/ns/pid")?
            .into();
        let runtime = std::fs::metadata("/proc/self/exe").ok();
        wait_for_pause(&channel, pause_pid)?;
        Ok(Self {
            single,
            layout,
            state,
            pause: Some(pause),
            own_pid_namespace,
            runtime,
            poller,
            listener,
            signals,
            clients: Clients::default(),
            containers: BTreeMap::new(),
            execs: BTreeMap::new(),
            attachments: Attachments::default(),
            last_key: 0,
            stopping: Vec::new(),
            terminating: false,
        })
    }

    /// Makes a spare sandbox that of a pod.
    pub(super) fn claim(&mut self, config: &str) -> Result<()> {
        let config = configuration(config.as_bytes())?;
        let old = &self.state.config;
        let namespaces = |it: &SandboxConfig| (it.network, it.pid, it.ipc, it.uts);
        if !old.spare || config.spare {
            return Err(Error::State(
                "only a spare sandbox can be claimed, for a pod".to_owned(),
            ));
        }
        if namespaces(old) != namespaces(&config) || !config.sysctls.is_empty() {
            let other = "the pod needs other namespaces than the spare sandbox has";
            return Err(Error::Invalid(other.to_owned()));
        }
        let SandboxConfig { dir, cgroup, .. } = std::mem::replace(&mut self.state.config, config);
        self.state.made_for = Some(cgroup);
        records::write(&dir, &self.state)?;
        fault::point("claim.recorded");
        let config = &self.state.config;
        std::fs::rename(&dir, &config.dir).during("move the sandbox to", config.dir.display())?;
        fault::point("claim.moved");
        make_pod(&self.layout, config)?;
        match self.state.pause_pid {
            Some(pause) if pause::own(config).uts => name_host(pause, &config.hostname),
            _ => Ok(()),
        }
    }

    /// The sandbox with its containers.
    pub fn describe(&self) -> SandboxState {
        let containers = self
            .containers
            .values()
            .filter(|c| c.is_known())
            .map(|c| c.state.clone())
            .collect();
        SandboxState {
            containers,
            ..self.state.clone()
        }
    }

    /// The network namespace and pause, for clients.
    pub(super) fn descriptors(&self) -> Vec<OwnedFd> {
        let (Some(pause), Some(pid)) = (&self.pause, self.state.pause_pid) else {
            return Vec::new();
        };
        let network = match self.state.config.network {
            NamespaceMode::Node => Path::new("/proc/self/ns/net").to_owned(),
            _ => Path::new("/proc").join(pid.to_string()).join("ns/net"),
        };
        match (File::open(network), pause.try_clone()) {
            (Ok(network), Ok(pause)) => vec![network.into(), pause],
            // pause ended this very moment.
            _ => Vec::new(),
        }
    }

    /// pause has ended.
    pub(super) fn pause_ended(&mut self) {
        let Some(pause) = self.pause.take() else { return };
        self.poller.remove(&pause);
        let _ = waitid(Id::PIDFd(pause.as_fd()), WaitPidFlag::WEXITED);
        self.state.pause_pid = None;
        if self.stopping.is_empty() {
            self.clients.publish(&Event::SandboxExited, &self.poller);
        }
    }

    /// Begins the end: everything is killed, and what is left is removed when all of it has died.
    pub(super) fn stop(&mut self, caller: Caller) {
        self.stopping.push(caller);
        fault::point("sandbox.stopping");
        let pod = Cgroup::new(&self.layout, &self.state.config.cgroup).tracker();
        self.note(cgroup::kill(&pod).during("kill the processes of", pod.display()));
        if let Some(pause) = &self.pause {
            // Ended already is as good.
            let _ = pidfd_send_signal(pause.as_fd(), libc::SIGKILL);
        }
    }

    /// Whether everything that was to end has ended.
    pub(super) fn finished(&self) -> bool {
        let asked = self.terminating || !self.stopping.is_empty();
        asked && self.pause.is_none() && self.execs.is_empty() && self.containers.values().all(Container::is_over)
    }

    /// Removes what a sandbox whose processes are all gone leaves, and answers those who asked for it.
    pub(super) fn remove(&mut self) {
        let mut errors = records::remove_kernel(&self.layout, &self.state);
        self.containers
            .values()
            .for_each(|container| self.attend_end(container));
        // Who only ended with the machine is not asked about any more, but its record tells how it ended.
        if !self.stopping.is_empty() && errors.is_empty() {
            errors = records::remove_files(&self.state.config.dir);
        }
        fault::point("sandbox.stopped");
        for caller in std::mem::take(&mut self.stopping) {
            let result = errors.first().map_or(Ok(Response::Done), |error| Err(error.into()));
            self.clients.reply(caller, result, Vec::new(), &self.poller);
        }
    }
}

/// Makes the pod's cgroup, with its limits.
fn make_pod(layout: &Layout, config: &SandboxConfig) -> Result<()> {
    let pod = Cgroup::new(layout, &config.cgroup);
    pod.make_tracker()?;
    pod.make(config.resources.as_ref(), true)?;
    fault::point("sandbox.limits-set");
    Ok(())
}

/// Sets the host name where pause is.
fn name_host(pause: i32, name: &str) -> Result<()> {
    let open = |path: &str| File::open(path).during("open", path);
    let home = open("/proc/self/ns/uts")?;
    setns(open(&format!("/proc/{pause}/ns/uts"))?, CloneFlags::CLONE_NEWUTS).during("join", "pause's UTS namespace")?;
    let named = sethostname(name).during("set the host name", name);
    setns(home, CloneFlags::CLONE_NEWUTS).during("leave", "pause's UTS namespace")?;
    named
}

/// Clones the process that becomes pause.
fn clone_pause(
    single: SingleThread,
    config: &SandboxConfig,
    layout: &Layout,
    keeper: &Path,
    network: Option<OwnedFd>,
) -> Result<(i32, OwnedFd, Maker)> {
    let program = pause::program()?;
    let (maker, child) = channel::pair()?;
    let directory = File::open(keeper).during("open", keeper.display())?;
    let born = (layout.mode != Mode::V1).then(|| directory.as_fd());
    match clone3(single, pause::clone_flags(config), born).during("clone", "pause")? {
        Side::Parent { pid, pidfd } => Ok((pid, pidfd, maker)),
        Side::Child => {
            let run = || {
                let mut keep = vec![program.as_fd(), child.as_fd()];
                keep.extend(network.as_ref().map(AsFd::as_fd));
                close_all_but(&keep).during("close", "inherited descriptors")?;
                if layout.mode == Mode::V1 {
                    cgroup::join_leaf(keeper)?;
                }
                pause::run(config, &program, network.as_ref())
            };
            let Err(error) = run();
            child.failed(&error);
            exit_now(1)
        }
    }
}

fn wait_for_pause(channel: &Maker, pid: i32) -> Result<()> {
    loop {
        match channel.receive() {
            Message::Failed(failure) => return Err(Error::Remote(failure)),
            Message::Closed if has_executed(pid) => return Ok(()),
            Message::Closed => return Err(Error::State("pause died while it was being made".to_owned())),
            _ => {}
        }
    }
}

fn listen_on(path: &Path) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).during("make", "a socket")?;
    let bind_once = || with_address(path, |address| Ok(bind(socket.as_raw_fd(), address)?));
    match bind_once() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            std::fs::remove_file(path).during("remove", path.display())?;
            bind_once()
        }
        other => other,
    }
    .during("bind", path.display())?;
    listen(&socket, Backlog::MAXCONN).during("listen on", path.display())?;
    if broken::lacks("no-abstract-socket") {
        // Found by everybody in the same network namespace.
        let other = nix::sys::socket::socket(AddressFamily::Unix, SockType::SeqPacket, flags, None);
        let other = other.during("make", "a socket")?;
        let name = UnixAddr::new_abstract(b"barepod-monitor").during("name", "a socket")?;
        bind(other.as_raw_fd(), &name).during("bind", "a socket")?;
        listen(&other, Backlog::MAXCONN).during("listen on", "a socket")?;
        std::mem::forget(other);
    }
    Ok(socket)
}

/// SIGTERM as a descriptor.
fn watch_signals() -> Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.thread_block().during("block", "SIGTERM")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).during("watch", "SIGTERM")
}
