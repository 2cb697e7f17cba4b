//! `exec`: another process in a running container.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns};

use super::Global;
use super::arguments::{Arguments, Known};
use super::create::{connect_console, protect, standard_files, wait_until_made};
use super::start;
use super::state::{Directory, Status};
use crate::cgroup::{Cgroup, Layout, Mode};
use crate::document::{Document, Process};
use crate::error::{During, Error, Result};
use crate::init::channel::{self, Child};
use crate::init::{self, Joined, Stdio};
use crate::records;
use crate::sys::clone::{Side, SingleThread, clone3};
use crate::sys::process::{close_all_but, exit_now};

const OPTIONS: [Known; 9] = [
    ("process", Some('p'), true),
    ("cwd", None, true),
    ("env", Some('e'), true),
    ("user", Some('u'), true),
    ("tty", Some('t'), false),
    ("detach", Some('d'), false),
    ("pid-file", None, true),
    ("console-socket", None, true),
    ("no-new-privs", None, false),
];

/// Executes a program in a container.
pub fn exec(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let mut given = Arguments::parse(arguments, &OPTIONS)?;
    let positional = given.positional();
    let Some((id, command)) = positional.split_first() else {
        return Err(Error::Invalid("a container's id is needed".to_owned()));
    };
    protect()?;
    let directory = Directory::new(global, id)?;
    let stored = directory.read()?;
    let target = stored.process().filter(|_| stored.status() == Status::Running);
    let target = target.ok_or_else(|| Error::State(format!("container {id} is not running")))?;
    let mut document = directory.read_config()?;
    let process = process(&mut document, &given, command)?;
    let console = given
        .value("console-socket")
        .map(|path| connect_console(Path::new(&path)))
        .transpose()?;
    if process.terminal != console.is_some() {
        return Err(Error::Invalid(
            "a terminal and --console-socket go together, one needs the other".to_owned(),
        ));
    }
    let layout = Layout::detect()?;
    let cgroup = Cgroup::new(&layout, &stored.cgroup);
    let tracker = cgroup.tracker();
    let born_in = File::open(&tracker).during("open", tracker.display())?;
    let stdio = if process.terminal {
        Stdio::Terminal
    } else {
        Stdio::Files(standard_files()?)
    };
    let (maker, child) = channel::pair()?;
    let single = SingleThread::claim().during("count", "threads")?;
    setns(&target, CloneFlags::CLONE_NEWPID).during("join", "the PID namespace of the container")?;
    let born = (layout.mode != Mode::V1).then(|| born_in.as_fd());
    let side = clone3(single, 0, born).during("clone", "a process for the exec")?;
    let Side::Parent { pid, pidfd } = side else {
        become_exec(&document, &process, &cgroup, &target, stdio, &child)
    };
    drop((child, stdio));
    wait_until_made(&maker, pid, true, console.as_ref())?;
    if let Some(file) = given.value("pid-file") {
        records::replace_public(Path::new(&file), pid.to_string().as_bytes())?;
    }
    if given.has("detach") {
        Ok(0)
    } else {
        start::wait(&pidfd)
    }
}

/// The process asked for: a file's, or the container's own with changes.
fn process(document: &mut Document, given: &Arguments, command: &[String]) -> Result<Process> {
    if let Some(file) = given.value("process") {
        let text = fs::read_to_string(&file).during("read", &file)?;
        return serde_json::from_str(&text).map_err(|source| Error::Document { object: file, source });
    }
    let mut process = document
        .process
        .take()
        .ok_or_else(|| Error::Invalid("the container has no process".to_owned()))?;
    process.args = command.to_vec();
    process.terminal = given.has("tty");
    process.no_new_privileges |= given.has("no-new-privs");
    process.env.extend(given.values("env").map(str::to_owned));
    if let Some(cwd) = given.value("cwd") {
        process.cwd = cwd.into();
    }
    if let Some(user) = given.value("user") {
        let (uid, gid) = user.split_once(':').unwrap_or((&user, "0"));
        let number = |text: &str| {
            text.parse::<u32>()
                .map_err(|_| Error::Invalid(format!("{user} is not of the form UID[:GID], in numbers")))
        };
        process.user.set_uid(number(uid)?).set_gid(number(gid)?);
        process.user.set_additional_gids(None);
    }
    Ok(process)
}

fn become_exec(
    document: &Document,
    process: &Process,
    cgroup: &Cgroup<'_>,
    target: &OwnedFd,
    stdio: Stdio,
    channel: &Child,
) -> ! {
    let runtime = fs::metadata("/proc/self/exe").ok();
    let run = || {
        let mut keep = vec![channel.as_fd(), target.as_fd()];
        if let Stdio::Files(files) = &stdio {
            keep.extend(files.iter().flatten().map(AsFd::as_fd));
        }
        close_all_but(&keep).during("close", "inherited descriptors")?;
        let joined = Joined {
            process: target.as_fd(),
            namespaces: CloneFlags::CLONE_NEWNS
                | CloneFlags::CLONE_NEWCGROUP
                | CloneFlags::CLONE_NEWNET
                | CloneFlags::CLONE_NEWIPC
                | CloneFlags::CLONE_NEWUTS,
            cgroup,
            resources: document.linux.resources.as_ref(),
            leaf: None,
            seccomp: document.linux.seccomp.as_ref(),
            die_with_maker: false,
            runtime: runtime.as_ref(),
        };
        init::exec(&joined, process, stdio, channel)
    };
    let Err(error) = run();
    channel.failed(&error);
    exit_now(1)
}
