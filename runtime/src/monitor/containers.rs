//! Containers, from the request to the record of their end.
//!
//! ```text
//! Making ─ Ready ─► Made ─ start ─► Starting ─ executed ─► Running ─ exit ─► Ending ─ output read ─► Exited
//!    └──────────────── failed ─────────┴──► (removed)
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::epoll::EpollFlags;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::pipe2;
use oci_spec::runtime::LinuxResources;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::clients::Caller;
use super::log::{Log, Stream};
use super::output::{self, Outputs};
use super::pause;
use super::poller::Source;
use super::request::{Config, parse};
use super::sandbox::Monitor;
use crate::cgroup::{self, Cgroup, Mode};
use crate::document::{Document, OOM_GROUP, is_yes};
use crate::error::{During, Error, Result};
use crate::init::channel::{self, Child, Maker, Message};
use crate::init::hooks::Told;
use crate::init::{self, Gate, Keyring, Plan, Unset};
use crate::protocol::{ContainerState, Event, Exit, Failure, NamespaceMode, Phase, Reason, Response};
use crate::sys::clone::{Side, clone3};
use crate::sys::process::{close_all_but, exit_now, has_executed, pidfd_send_signal};
use crate::sys::{memory, terminal};
use crate::{fault, records, time};

/// The parts of an OCI configuration by which the monitor makes cgroups.
#[derive(Debug, Deserialize)]
struct Limits {
    #[serde(default)]
    linux: LinuxLimits,
    #[serde(default)]
    hooks: Option<IgnoredAny>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
struct LinuxLimits {
    #[serde(default)]
    resources: Option<LinuxResources>,
}

/// Where a container is between two [`Phase`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its process sets it up.
    Making,
    /// Set up, waits to be started.
    Made,
    /// Told to execute.
    Starting,
    /// Executed.
    Running,
    /// Its first process has ended; other processes or output are left.
    Ending,
    /// Over.
    Exited,
}

/// One container.
#[derive(Debug)]
pub struct Container {
    pub(super) state: ContainerState,
    /// Its configuration as it was received; execs share parts of it.
    pub(super) config: Box<str>,
    pub(super) stage: Stage,
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) channel: Option<Maker>,
    failure: Option<Failure>,
    pub(super) outputs: Outputs,
    pub(super) log: Log,
    /// The write end of its standard input.
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdin_once: bool,
    /// The master of its terminal.
    pub(super) terminal: Option<OwnedFd>,
    /// Who waits for it to be made or started.
    waiting: Option<Caller>,
    /// Who waits for it to be gone.
    deleting: Vec<Caller>,
    /// How its first process ended.
    exit: Option<Exit>,
    /// Tells when its cgroup has become empty.
    emptied: Option<File>,
    /// It has hooks.
    pub(super) hooks: bool,
}

impl Container {
    /// Whether clients may know of it: one that could not be made never was.
    pub fn is_known(&self) -> bool {
        self.failure.is_none()
    }

    /// Whether nothing of it runs any more.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Exited
    }
}

impl Monitor {
    pub(super) fn find(&self, id: &str) -> Result<u32> {
        let found = self.containers.iter().find(|(_, container)| container.state.id == id);
        found
            .map(|(key, _)| *key)
            .ok_or_else(|| Error::NotFound(format!("container {id}")))
    }

    /// Begins to make a container; the caller gets its answer when it is made, or started if `start`.
    pub(super) fn create_container(&mut self, caller: Caller, text: &str, start: bool) -> Result<()> {
        let config: Config<'_> = parse("the container's configuration", text)?;
        init::check_id(&config.id)?;
        if self.find(&config.id).is_ok() {
            return Err(Error::Exists(format!("container {}", config.id)));
        }
        if self.pause.is_none() {
            return Err(Error::State("the sandbox is gone: pause has ended".to_owned()));
        }
        let state = ContainerState {
            id: config.id.clone(),
            name: config.name.clone(),
            phase: Phase::Created,
            pid: None,
            cgroup: self.state.config.cgroup.join(&config.id),
            log_path: config.log_path.clone(),
            created_at: time::now_text(),
            started_at: None,
            exit: None,
            log_dropped_bytes: 0,
            annotations: config.annotations.clone(),
        };
        self.last_key += 1;
        let (key, path) = (self.last_key, state.cgroup.clone());
        let made = self.clone_container(key, &config, text, state, start, caller);
        match made {
            Ok(container) => {
                self.containers.insert(key, container);
                Ok(())
            }
            Err(error) => {
                self.forget_container(&config.id, &path);
                Err(error)
            }
        }
    }

    /// Clones the process that becomes the container.
    fn clone_container(
        &self,
        key: u32,
        config: &Config<'_>,
        text: &str,
        state: ContainerState,
        start: bool,
        caller: Caller,
    ) -> Result<Container> {
        let cgroup = Cgroup::new(&self.layout, &state.cgroup);
        let tracker = cgroup.make_tracker()?;
        let directory = File::open(&tracker).during("open", tracker.display())?;
        fault::point("container.cgroup-made");
        let (stdout, stdout_end) = output::pipe()?;
        let (stderr, stderr_end) = output::pipe()?;
        let (stdin_end, stdin) = if config.stdin {
            let (read, write) = pipe2(OFlag::O_CLOEXEC).during("make", "a pipe")?;
            (Some(read), Some(write))
        } else {
            (None, None)
        };
        let (maker, child) = channel::pair()?;
        let mut flags = libc::CLONE_NEWNS;
        if self.state.config.pid == NamespaceMode::Container {
            flags |= libc::CLONE_NEWPID;
        }
        let born = (self.layout.mode != Mode::V1).then(|| directory.as_fd());
        let pid_namespace = if self.state.config.pid == NamespaceMode::Pod {
            self.pause.as_ref()
        } else {
            None
        };
        let side = self
            .clone_into(pid_namespace, flags, born)
            .during("clone", "the container's process")?;
        let Side::Parent { pid, pidfd } = side else {
            let files = [stdin_end, Some(stdout_end), Some(stderr_end)];
            self.become_container(config, &cgroup, files, child, start)
        };
        fault::point("container.cloned");
        // The child is at work meanwhile; whatever fails here is its end.
        let prepare = || {
            let limits: Limits = parse("the container's OCI configuration", config.spec.get())?;
            cgroup.make(limits.linux.resources.as_ref(), false)?;
            if limits.annotations.get(OOM_GROUP).is_some_and(|value| is_yes(value)) {
                cgroup.kill_as_a_group()?;
            }
            // A child that is gone has said why, or its end will be noticed.
            let _ = maker.limited();
            self.poller
                .add(&pidfd, EpollFlags::EPOLLIN, Source::ContainerExit(key))?;
            self.poller
                .add(&maker, EpollFlags::EPOLLIN, Source::ContainerChannel(key))?;
            let log = Log::open(&config.log_path, config.log_max_bytes, config.log_max_files)?;
            Ok((log, limits.hooks.is_some()))
        };
        let (log, hooks) = prepare().inspect_err(|_| self.end_child(&pidfd, &maker))?;
        Ok(Container {
            state: ContainerState {
                pid: Some(pid),
                ..state
            },
            config: text.into(),
            stage: Stage::Making,
            pidfd: Some(pidfd),
            channel: Some(maker),
            failure: None,
            outputs: Outputs::pipes(key, stdout, stderr, &self.poller)?,
            log,
            stdin,
            stdin_once: config.stdin_once,
            terminal: None,
            waiting: Some(caller),
            deleting: Vec::new(),
            exit: None,
            emptied: None,
            hooks,
        }
        .starting(start))
    }

    /// Kills a child that will not be watched, and waits for its end.
    fn end_child(&self, pidfd: &OwnedFd, channel: &Maker) {
        self.poller.remove(pidfd);
        self.poller.remove(channel);
        // Both cannot fail: it is our child, and not reaped.
        let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
        let _ = waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED);
    }

    /// Clones with the PID namespace of another process for the child.
    pub(super) fn clone_into(
        &self,
        pid_namespace: Option<&OwnedFd>,
        flags: i32,
        cgroup: Option<std::os::fd::BorrowedFd<'_>>,
    ) -> std::io::Result<Side> {
        let Some(process) = pid_namespace else {
            return clone3(self.single, flags, cgroup);
        };
        // Moves the children only, never the caller: setns(2).
        setns(process, CloneFlags::CLONE_NEWPID)?;
        let side = clone3(self.single, flags, cgroup);
        if !matches!(side, Ok(Side::Child)) {
            setns(&self.own_pid_namespace, CloneFlags::CLONE_NEWPID)?;
        }
        side
    }

    /// The child: becomes the container or says why not.
    fn become_container(
        &self,
        config: &Config<'_>,
        cgroup: &Cgroup<'_>,
        files: [Option<OwnedFd>; 3],
        mut channel: Child,
        start: bool,
    ) -> ! {
        let run = |channel: &mut Child| {
            let mut keep = vec![channel.as_fd()];
            keep.extend(files.iter().flatten().chain(&self.pause).map(AsFd::as_fd));
            close_all_but(&keep).during("close", "inherited descriptors")?;
            let spec: Document = parse("the container's OCI configuration", config.spec.get())?;
            spec.check()?;
            if spec.linux.intel_rdt.is_some() {
                let what = "linux.intelRdt: the containers of a pod have no classes of their own";
                return Err(Error::Invalid(what.to_owned()));
            }
            let own = pause::own(&self.state.config);
            let pause = self.pause.as_ref().map(AsFd::as_fd);
            let shared = pause::joined(&self.state.config);
            let join: Vec<_> = pause
                .map(|pause| (pause, shared))
                .filter(|_| !shared.is_empty())
                .into_iter()
                .collect();
            let plan = Plan {
                spec: &spec,
                told: Told::new(&config.id, Path::new("/"), &spec.annotations),
                filter: config
                    .filter
                    .map(|filter| parse("the container's filter", filter.get()))
                    .transpose()?,
                overlay: config.overlay.as_ref(),
                cgroup,
                join: &join,
                named: false,
                new_network: false,
                brings_interfaces: own.network,
                cgroup_namespace: true,
                shared_mounts: false,
                mount_namespace: None,
                prepared: None,
                shared_memory: pause.filter(|_| own.ipc),
                own,
                unset: Unset::Ordinary,
                files,
                gate: if start { Gate::Open } else { Gate::Maker },
                die_with_maker: self.state.config.pid != NamespaceMode::Pod,
                runtime: self.runtime.as_ref(),
                moved_root: false,
                keyring: Keyring::New(&config.id),
                preserved: 0,
            };
            init::container(plan, channel)
        };
        let Err(error) = run(&mut channel);
        channel.failed(&error);
        exit_now(1)
    }

    /// A container being made says something.
    pub(super) fn container_says(&mut self, key: u32) {
        let Some(container) = self.containers.get_mut(&key) else {
            return;
        };
        let Some(message) = container.channel.as_ref().map(Maker::receive) else {
            return;
        };
        let mut step = Ok(());
        match message {
            Message::Ready => {
                container.stage = Stage::Made;
                step = records::write_container(&self.state.config.dir, &container.state);
                self.answer_made(key);
                memory::trim();
            }
            Message::Terminal(master) => step = self.take_terminal(key, master),
            Message::Failed(failure) => container.failure = Some(failure),
            // Said to strangers only.
            Message::Executing => {}
            message @ (Message::Hooks | Message::Notifications(_)) => {
                step = self
                    .containers
                    .get(&key)
                    .map_or(Ok(()), |container| self.attend(container, &message));
            }
            Message::Closed => {
                if let Some(channel) = container.channel.take() {
                    self.poller.remove(&channel);
                }
                if container.failure.is_none() && container.state.pid.is_some_and(has_executed) {
                    container.state.started_at = Some(time::now_text());
                    self.container_runs(key);
                }
                // Otherwise its process is about to end, which is when the caller hears of it.
            }
        }
        self.note(step);
    }

    fn take_terminal(&mut self, key: u32, master: OwnedFd) -> Result<()> {
        let Some(container) = self.containers.get_mut(&key) else {
            return Ok(());
        };
        let copy = master.try_clone().during("copy", "the terminal")?;
        container.outputs.terminal(key, copy, &self.poller)?;
        container.stdin = None;
        container.terminal = Some(master);
        Ok(())
    }

    /// Its program was executed.
    fn container_runs(&mut self, key: u32) {
        let Some(container) = self.containers.get_mut(&key) else {
            return;
        };
        container.stage = Stage::Running;
        container.state.phase = Phase::Running;
        self.answer_made(key);
        fault::point("container.started");
        if let Some(container) = self.containers.get(&key) {
            self.note(records::write_container(&self.state.config.dir, &container.state));
            self.attend_start(container);
        }
        memory::trim();
    }

    fn answer_made(&mut self, key: u32) {
        let Some(container) = self.containers.get_mut(&key) else {
            return;
        };
        if let Some(caller) = container.waiting.take() {
            let response = Response::Container(container.state.clone());
            self.clients.reply(caller, Ok(response), Vec::new(), &self.poller);
        }
    }

    /// Starts a container that was made before.
    pub(super) fn start_container(&mut self, caller: Caller, id: &str) -> Result<()> {
        let key = self.find(id)?;
        let Some(container) = self.containers.get_mut(&key) else {
            return Ok(());
        };
        match (container.stage, &container.channel) {
            (Stage::Made, Some(channel)) => {
                channel.start().during("start", id)?;
                container.stage = Stage::Starting;
                container.waiting = Some(caller);
                Ok(())
            }
            (stage, _) => Err(Error::State(format!(
                "container {id} cannot be started: it is {}",
                stage.words()
            ))),
        }
    }

    /// Sends a signal.
    pub(super) fn kill_container(&mut self, id: &str, signal: i32, all: bool) -> Result<()> {
        let key = self.find(id)?;
        let Some(container) = self.containers.get(&key) else {
            return Ok(());
        };
        let Some(pidfd) = container.pidfd.as_ref().filter(|_| container.stage < Stage::Ending) else {
            return Err(Error::State(format!("container {id} has ended")));
        };
        if !all {
            return pidfd_send_signal(pidfd.as_fd(), signal).during("signal", id);
        }
        let tracker = Cgroup::new(&self.layout, &container.state.cgroup).tracker();
        if signal == libc::SIGKILL {
            return cgroup::kill(&tracker).during("kill the processes of", tracker.display());
        }
        cgroup::signal(&tracker, signal).during("signal the processes of", tracker.display())
    }

    /// Removes a container; `true` if the caller gets the answer later.
    pub(super) fn delete_container(&mut self, caller: Caller, id: &str) -> bool {
        let Ok(key) = self.find(id) else { return false };
        let Some(container) = self.containers.get_mut(&key) else {
            return false;
        };
        if container.stage == Stage::Exited {
            self.drop_container(key);
            return false;
        }
        container.deleting.push(caller);
        let tracker = Cgroup::new(&self.layout, &container.state.cgroup).tracker();
        if let Some(pidfd) = &container.pidfd {
            let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
        }
        self.note(cgroup::kill(&tracker).during("kill the processes of", tracker.display()));
        fault::point("container.killed");
        true
    }

    /// Changes limits.
    pub(super) fn update_container(&mut self, id: &str, resources: &str) -> Result<()> {
        let key = self.find(id)?;
        let Some(container) = self.containers.get(&key) else {
            return Ok(());
        };
        if container.stage >= Stage::Ending {
            return Err(Error::State(format!("container {id} has ended")));
        }
        let resources: LinuxResources = parse("the resources", resources)?;
        Cgroup::new(&self.layout, &container.state.cgroup).update(&resources)
    }

    /// Changes the size of a terminal, of a container or an exec.
    pub(super) fn resize(&mut self, id: &str, width: u16, height: u16) -> Result<()> {
        let container = self
            .containers
            .values()
            .find(|c| c.state.id == id)
            .map(|c| c.terminal.as_ref());
        let exec = || self.execs.values().find(|e| e.id == id).map(|e| e.terminal.as_ref());
        let found = container
            .or_else(exec)
            .ok_or_else(|| Error::NotFound(format!("container or exec {id}")))?;
        let master = found.ok_or_else(|| Error::State(format!("{id} has no terminal")))?;
        terminal::resize(master.as_fd(), width, height).during("resize the terminal of", id)
    }

    /// Copies output to the descriptors given; returns what is to be sent back.
    pub(super) fn attach(&mut self, id: &str, stdio: [bool; 3], fds: Vec<OwnedFd>) -> Result<Vec<OwnedFd>> {
        let key = self.find(id)?;
        let Some(container) = self.containers.get_mut(&key) else {
            return Ok(Vec::new());
        };
        if container.stage >= Stage::Ending {
            return Err(Error::State(format!("container {id} has ended")));
        }
        let mut fds = fds.into_iter();
        for (wanted, stream) in [(stdio[1], Stream::Stdout), (stdio[2], Stream::Stderr)] {
            // A terminal has one output only.
            if wanted && (stream == Stream::Stdout || container.terminal.is_none()) {
                let fd = fds
                    .next()
                    .ok_or_else(|| Error::Invalid("a descriptor to attach is missing".to_owned()))?;
                self.attachments.add(key, stream, fd, &self.poller)?;
            }
        }
        let input = match (&container.terminal, &container.stdin) {
            _ if !stdio[0] => None,
            (Some(master), _) => Some(master.try_clone().during("copy", "the terminal")?),
            // Given away, it is closed when the one who attached closes it.
            (None, Some(_)) if container.stdin_once => container.stdin.take(),
            (None, Some(stdin)) => Some(stdin.try_clone().during("copy", "standard input")?),
            (None, None) => None,
        };
        Ok(input.into_iter().collect())
    }

    /// A container wrote something.
    pub(super) fn container_wrote(&mut self, key: u32, stream: Stream) {
        if let Some(container) = self.containers.get_mut(&key) {
            container.outputs.pump(
                key,
                stream,
                false,
                &mut container.log,
                &mut self.attachments,
                &self.poller,
            );
            if container.stage == Stage::Ending {
                self.settle(key);
            }
        }
    }

    /// A container's first process has ended.
    pub(super) fn container_ended(&mut self, key: u32) {
        // What it said before it ended comes first.
        while self
            .containers
            .get(&key)
            .is_some_and(|container| container.channel.is_some())
        {
            self.container_says(key);
        }
        let Some(container) = self.containers.get_mut(&key) else {
            return;
        };
        let Some(pidfd) = container.pidfd.take() else { return };
        self.poller.remove(&pidfd);
        let status = waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED);
        container.state.pid = None;
        let cgroup = Cgroup::new(&self.layout, &container.state.cgroup);
        let oom_killed = cgroup.oom_kills() > 0;
        let tracker = cgroup.tracker();
        let killed = if cgroup::populated(&tracker) {
            cgroup::kill(&tracker)
        } else {
            Ok(())
        };
        if container.stage < Stage::Running {
            container.failure.get_or_insert_with(|| died_in_the_making(oom_killed));
        }
        let finished_at = time::now_text();
        let started_at = container
            .state
            .started_at
            .clone()
            .unwrap_or_else(|| finished_at.clone());
        let (code, signal) = meaning(status);
        container.exit = Some(Exit {
            code,
            signal,
            oom_killed,
            started_at,
            finished_at,
        });
        container.stage = Stage::Ending;
        self.note(killed.during("kill the processes of", tracker.display()));
        fault::point("container.exited");
        self.settle(key);
    }

    /// Ends a container whose first process has ended, as soon as all processes are gone and all output is read.
    pub(super) fn settle(&mut self, key: u32) {
        let Some(container) = self.containers.get_mut(&key) else {
            return;
        };
        if container.stage != Stage::Ending {
            return;
        }
        let tracker = Cgroup::new(&self.layout, &container.state.cgroup).tracker();
        if cgroup::populated(&tracker) {
            self.watch_cgroup(key, &tracker);
            return;
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            container.outputs.pump(
                key,
                stream,
                true,
                &mut container.log,
                &mut self.attachments,
                &self.poller,
            );
        }
        if let Some(events) = container.emptied.take() {
            self.poller.remove(&events);
        }
        container.outputs.close(&self.poller);
        self.attachments.end(key, None, &self.poller);
        (container.stdin, container.terminal) = (None, None);
        container.stage = Stage::Exited;
        match container.failure.take() {
            Some(failure) => self.container_failed(key, failure),
            None => self.container_exited(key),
        }
    }

    /// Waits for the cgroup to become empty. v2 tells; v1 is looked at again by [`Monitor::expire`].
    fn watch_cgroup(&mut self, key: u32, tracker: &Path) {
        let Some(container) = self.containers.get_mut(&key) else {
            return;
        };
        if let Some(events) = &mut container.emptied {
            // Reading it is what makes the next change be told.
            let _ = events.rewind().and_then(|()| events.read_to_string(&mut String::new()));
            return;
        }
        let Ok(mut events) = File::open(tracker.join("cgroup.events")) else {
            return;
        };
        let mut text = String::new();
        if events.read_to_string(&mut text).is_ok() && text.contains("populated 0") {
            return self.settle(key);
        }
        let added = self.poller.add(&events, EpollFlags::EPOLLPRI, Source::Cgroup(key));
        container.emptied = Some(events);
        self.note(added);
    }

    /// It could not be made or executed: nothing is left of it, and the caller hears why.
    fn container_failed(&mut self, key: u32, failure: Failure) {
        let Some(container) = self.containers.remove(&key) else {
            return;
        };
        self.forget_container(&container.state.id, &container.state.cgroup);
        self.attend_end(&container);
        if let Some(caller) = container.waiting {
            self.clients.reply(caller, Err(failure), Vec::new(), &self.poller);
        }
        for caller in container.deleting {
            self.clients.reply(caller, Ok(Response::Done), Vec::new(), &self.poller);
        }
        memory::trim();
    }

    fn container_exited(&mut self, key: u32) {
        let Some(container) = self.containers.get_mut(&key) else {
            return;
        };
        let Some(exit) = container.exit.clone() else { return };
        container.log.finish();
        container.state.phase = Phase::Exited;
        container.state.exit = Some(exit.clone());
        container.state.log_dropped_bytes = container.log.dropped();
        let (id, path) = (container.state.id.clone(), container.state.cgroup.clone());
        let deleting = std::mem::take(&mut container.deleting);
        let written = records::write_container(&self.state.config.dir, &container.state);
        self.note(written);
        self.clients.publish(&Event::Exited { id, exit }, &self.poller);
        // Kernel memory for nothing, were it kept until somebody deletes the container.
        let _ = Cgroup::new(&self.layout, &path).remove();
        if !deleting.is_empty() {
            self.drop_container(key);
        }
        for caller in deleting {
            self.clients.reply(caller, Ok(Response::Done), Vec::new(), &self.poller);
        }
    }

    /// Removes what an exited container leaves.
    fn drop_container(&mut self, key: u32) {
        if let Some(container) = self.containers.remove(&key) {
            self.forget_container(&container.state.id, &container.state.cgroup);
            self.attend_end(&container);
        }
    }

    fn forget_container(&self, id: &str, cgroup: &Path) {
        for error in Cgroup::new(&self.layout, cgroup).remove() {
            // Whatever is still busy goes with the pod's cgroup.
            self.note::<()>(Err(error));
        }
        records::remove_container(&self.state.config.dir, id);
    }

    /// Whether a container's end can only be seen by looking again.
    pub(super) fn must_look_again(&self) -> impl Iterator<Item = u32> + '_ {
        let blind = |container: &Container| container.stage == Stage::Ending && container.emptied.is_none();
        self.containers
            .iter()
            .filter(move |(_, container)| blind(container))
            .map(|(key, _)| *key)
    }
}

impl Container {
    fn starting(self, start: bool) -> Self {
        Self {
            stage: if start { Stage::Starting } else { Stage::Making },
            ..self
        }
    }
}

impl Stage {
    fn words(self) -> &'static str {
        match self {
            Self::Making => "being made",
            Self::Made => "made",
            Self::Starting | Self::Running => "started already",
            Self::Ending | Self::Exited => "ended already",
        }
    }
}

impl PartialOrd for Stage {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some((*self as u8).cmp(&(*other as u8)))
    }
}

fn died_in_the_making(oom_killed: bool) -> Failure {
    let message = if oom_killed {
        "the memory limit is too small for the container to be made in"
    } else {
        "the process that was to become the container died"
    };
    Failure {
        reason: Reason::System,
        message: message.to_owned(),
    }
}

/// Exit code and signal of a status.
pub(super) fn meaning(status: nix::Result<WaitStatus>) -> (i32, Option<i32>) {
    match status {
        Ok(WaitStatus::Exited(_, code)) => (code, None),
        Ok(WaitStatus::Signaled(_, signal, _)) => (128 + signal as i32, Some(signal as i32)),
        // Nobody else reaps our children, so there always is one of the two.
        _ => (255, None),
    }
}
