//! Programs executed in running containers.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sched::CloneFlags;
use nix::sys::epoll::EpollFlags;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use serde::Deserialize;

use super::clients::Caller;
use super::containers::{Stage, meaning};
use super::pause;
use super::poller::Source;
use super::request::{Body, parse};
use super::sandbox::Monitor;
use crate::cgroup::{self, Cgroup, Leaf, Mode};
use crate::document::Process;
use crate::error::{During, Error, Result};
use crate::init::channel::{self, Child, Maker, Message};
use crate::init::{self, Joined, Keyring, Shared, Stdio, Unset};
use crate::protocol::{Event, Exit, Failure, NamespaceMode, Reason, Response};
use crate::seccomp::Filter;
use crate::sys::clone::Side;
use crate::sys::process::{close_all_but, exit_now, has_executed, pidfd_send_signal};
use crate::{fault, time};

/// How long the monitor waits before it looks again at what it is not told about.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The same for a log that there was no space for.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// One exec.
#[derive(Debug)]
pub struct Exec {
    pub(super) id: String,
    /// The container's number.
    pub(super) container: u32,
    caller: Caller,
    pub(super) pid: i32,
    pidfd: OwnedFd,
    pub(super) channel: Option<Maker>,
    /// The caller knows that it runs.
    answered: bool,
    failure: Option<Failure>,
    started_at: String,
    deadline: Option<Instant>,
    timed_out: bool,
    /// Its own directory in the tracker.
    leaf: Leaf,
    pub(super) terminal: Option<OwnedFd>,
}

/// The parts of a container's configuration that its execs share.
#[derive(Debug, Deserialize)]
struct Config {
    id: String,
    spec: Shared,
    #[serde(default)]
    filter: Option<Filter>,
}

impl Monitor {
    /// Begins an exec; the caller gets its answer when the program was executed.
    pub(super) fn exec(&mut self, caller: Caller, body: &Body<'_>, fds: Vec<OwnedFd>) -> Result<()> {
        let inside = self.find(&body.id)?;
        let container = self
            .containers
            .get(&inside)
            .filter(|container| container.stage == Stage::Running);
        let Some((container, process)) = container.and_then(|c| Some((c, c.pidfd.as_ref()?))) else {
            return Err(Error::State(format!("container {} is not running", body.id)));
        };
        if self.execs.values().any(|exec| exec.id == body.exec_id) {
            return Err(Error::Exists(format!("exec {}", body.exec_id)));
        }
        let text = body
            .process
            .ok_or_else(|| Error::Invalid("an exec needs a process".to_owned()))?
            .get();
        let mut fds = fds.into_iter();
        let mut files = [None, None, None];
        for (file, _) in files
            .iter_mut()
            .zip(body.stdio)
            .filter(|(_, given)| *given && !body.tty)
        {
            *file = Some(
                fds.next()
                    .ok_or_else(|| Error::Invalid("a descriptor for an exec is missing".to_owned()))?,
            );
        }
        self.last_key += 1;
        let key = self.last_key;
        let cgroup = Cgroup::new(&self.layout, &container.state.cgroup);
        if cgroup::is_frozen(&cgroup.tracker()) {
            return Err(Error::State(format!("container {} is frozen", body.id)));
        }
        let leaf = Leaf::make(&cgroup.tracker())?;
        let directory = File::open(leaf.dir()).during("open", leaf.dir().display())?;
        let (maker, mut child) = channel::pair()?;
        let born = (self.layout.mode != Mode::V1).then(|| directory.as_fd());
        let pid_namespace = (self.state.config.pid != NamespaceMode::Node).then_some(process);
        let started_at = time::now_text();
        let deadline = body.timeout_ms.map(|ms| Instant::now() + Duration::from_millis(ms));
        let side = self
            .clone_into(pid_namespace, 0, born)
            .during("clone", "a process for the exec");
        let (pid, pidfd) = match side {
            Ok(Side::Parent { pid, pidfd }) => (pid, pidfd),
            Ok(Side::Child) => {
                let stdio = if body.tty { Stdio::Terminal } else { Stdio::Files(files) };
                self.become_exec(&container.config, process, &cgroup, leaf.dir(), text, stdio, &mut child)
            }
            Err(error) => {
                leaf.remove();
                return Err(error);
            }
        };
        fault::point("exec.cloned");
        self.poller.add(&pidfd, EpollFlags::EPOLLIN, Source::ExecExit(key))?;
        self.poller.add(&maker, EpollFlags::EPOLLIN, Source::ExecChannel(key))?;
        let exec = Exec {
            id: body.exec_id.clone(),
            container: inside,
            caller,
            pid,
            pidfd,
            channel: Some(maker),
            answered: false,
            failure: None,
            started_at,
            deadline,
            timed_out: false,
            leaf,
            terminal: None,
        };
        self.execs.insert(key, exec);
        Ok(())
    }

    /// The child: joins the container and executes, or says why not.
    #[expect(
        clippy::too_many_arguments,
        reason = "what the child needs is what the parent just made"
    )]
    fn become_exec(
        &self,
        config: &str,
        target: &OwnedFd,
        cgroup: &Cgroup<'_>,
        leaf: &Path,
        text: &str,
        stdio: Stdio,
        channel: &mut Child,
    ) -> ! {
        let run = |channel: &mut Child| {
            let mut keep = vec![channel.as_fd(), target.as_fd()];
            if let Stdio::Files(files) = &stdio {
                keep.extend(files.iter().flatten().map(AsFd::as_fd));
            }
            close_all_but(&keep).during("close", "inherited descriptors")?;
            let Config {
                id,
                spec: shared,
                filter,
            } = parse("the container's configuration", config)?;
            let mut process: Process = parse("the exec's process", text)?;
            shared.complete(&mut process);
            let joined = Joined {
                process: target.as_fd(),
                namespaces: CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP | pause::joined(&self.state.config),
                cgroup,
                filter,
                linux: &shared.linux,
                leaf: (self.layout.mode == Mode::V1).then_some(leaf),
                root: None,
                unset: Unset::Ordinary,
                die_with_maker: self.state.config.pid != NamespaceMode::Pod,
                runtime: self.runtime.as_ref(),
                keyring: Keyring::Of(&id),
                preserved: 0,
            };
            init::exec(&joined, &process, stdio, channel)
        };
        let Err(error) = run(channel);
        channel.failed(&error);
        exit_now(1)
    }

    /// An exec being made says something.
    pub(super) fn exec_says(&mut self, key: u32) {
        let Some(exec) = self.execs.get_mut(&key) else { return };
        match exec.channel.as_ref().map(Maker::receive) {
            Some(Message::Terminal(master)) => exec.terminal = Some(master),
            Some(Message::Failed(failure)) => exec.failure = Some(failure),
            Some(Message::Notifications(listener)) => {
                if let Some(exec) = self.execs.get(&key) {
                    self.note(self.attend_exec(exec, &listener));
                }
            }
            Some(Message::Closed) => {
                if let Some(channel) = exec.channel.take() {
                    self.poller.remove(&channel);
                }
                if exec.failure.is_none() && has_executed(exec.pid) {
                    exec.started_at = time::now_text();
                    exec.answered = true;
                    let master = exec.terminal.as_ref().and_then(|master| master.try_clone().ok());
                    let (caller, response) = (exec.caller, Response::Exec { pid: exec.pid });
                    self.clients
                        .reply(caller, Ok(response), master.into_iter().collect(), &self.poller);
                }
            }
            Some(Message::Ready | Message::Hooks | Message::Executing) | None => {}
        }
    }

    /// An exec's process has ended. What it started may go on, until the container ends.
    pub(super) fn exec_ended(&mut self, key: u32) {
        // What it said before it ended comes first.
        while self.execs.get(&key).is_some_and(|exec| exec.channel.is_some()) {
            self.exec_says(key);
        }
        let Some(exec) = self.execs.remove(&key) else { return };
        self.poller.remove(&exec.pidfd);
        let (code, signal) = meaning(waitid(Id::PIDFd(exec.pidfd.as_fd()), WaitPidFlag::WEXITED));
        exec.leaf.remove();
        if !exec.answered {
            // Its time can be over before it has executed anything.
            let begun = exec.timed_out && exec.failure.is_none();
            let died = || Failure {
                reason: Reason::System,
                message: "the process for the exec died".to_owned(),
            };
            let result = if begun {
                Ok(Response::Exec { pid: exec.pid })
            } else {
                Err(exec.failure.unwrap_or_else(died))
            };
            self.clients.reply(exec.caller, result, Vec::new(), &self.poller);
            if !begun {
                return;
            }
        }
        let exit = Exit {
            code,
            signal,
            oom_killed: false,
            started_at: exec.started_at,
            finished_at: time::now_text(),
        };
        let event = Event::ExecExited {
            exec_id: exec.id,
            exit,
            timed_out: exec.timed_out,
        };
        self.clients.tell(exec.caller.client, event, &self.poller);
    }

    /// Kills an exec and all it has started.
    pub(super) fn kill_exec(&mut self, id: &str) -> Result<()> {
        let exec = self.execs.values().find(|exec| exec.id == id);
        let exec = exec.ok_or_else(|| Error::NotFound(format!("exec {id}")))?;
        exec.kill().during("kill the processes of", exec.leaf.dir().display())
    }

    /// When something is due although nobody tells.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let execs = self
            .execs
            .values()
            .filter(|exec| !exec.timed_out)
            .filter_map(|exec| exec.deadline)
            .min();
        let look = self.must_look_again().next().map(|_| Instant::now() + LOOK_AGAIN);
        let stuck = self.containers.values().any(|container| container.log.is_stuck());
        let write = stuck.then(|| Instant::now() + WRITE_AGAIN);
        execs.into_iter().chain(look).chain(write).min()
    }

    /// Does what is due.
    pub(super) fn expire(&mut self, now: Instant) {
        let due = |exec: &&mut Exec| !exec.timed_out && exec.deadline.is_some_and(|deadline| deadline <= now);
        let mut failed = Vec::new();
        for exec in self.execs.values_mut().filter(due) {
            exec.timed_out = true;
            failed.extend(
                exec.kill()
                    .during("kill the processes of", exec.leaf.dir().display())
                    .err(),
            );
        }
        for error in failed {
            self.note::<()>(Err(error));
        }
        for container in self
            .containers
            .values_mut()
            .filter(|container| container.log.is_stuck())
        {
            container.log.flush();
        }
        let again: Vec<u32> = self.must_look_again().collect();
        for key in again {
            self.settle(key);
        }
    }
}

impl Exec {
    fn kill(&self) -> std::io::Result<()> {
        // Ended already is as good.
        let _ = pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        cgroup::kill(self.leaf.dir())
    }
}
