//! `exec`: another process in a running container.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use oci_spec::runtime::LinuxNamespaceType;

use super::arguments::{Arguments, Known, Order};
use super::create::protect;
use super::global::Global;
use super::launch::{standard_files, tell};
use super::preserved::Preserved;
use super::state::{Directory, Stored};
use super::terminal::Receiver;
use super::wait;
use crate::cgroup::{self, Cgroup, Layout, Leaf, Mode};
use crate::document::Process;
use crate::error::{During, Error, Result};
use crate::init::channel::{self, Child};
use crate::init::{self, Joined, Shared, Stdio, Unset};
use crate::spec::capability_by_name;
use crate::sys::clone::{Side, SingleThread, clone3};
use crate::sys::process::{close_all_but, exit_now};
use crate::{broken, fault};

const OPTIONS: [Known; 19] = [
    ("process", Some('p'), true),
    ("cwd", None, true),
    ("env", Some('e'), true),
    ("user", Some('u'), true),
    ("additional-gids", Some('g'), true),
    ("cap", Some('c'), true),
    ("tty", Some('t'), false),
    ("detach", Some('d'), false),
    ("pid-file", None, true),
    ("pidfd-socket", None, true),
    ("console-socket", None, true),
    ("no-new-privs", None, false),
    ("process-label", None, true),
    ("apparmor", None, true),
    ("preserve-fds", None, true),
    ("cgroup", None, true),
    ("ignore-paused", None, false),
    ("no-subreaper", None, false),
    ("no-new-keyring", None, false),
];

/// How often a cgroup is made again that another exec took for one that is over.
const ATTEMPTS: usize = 100;

/// Executes a program in a container.
pub fn exec(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let mut given = Arguments::parse(arguments, &OPTIONS, Order::First)?;
    let positional = given.positional();
    let Some((id, command)) = positional.split_first() else {
        return Err(Error::Invalid("a container's id is needed".to_owned()));
    };
    // First of all, while no descriptor of ours can be taken for one of the caller's.
    let preserved = Preserved::check(&given)?;
    let directory = Directory::new(global, id)?;
    protect(&given)?;
    let stored = directory.read()?;
    let target = target(&directory, &stored, &given)?;
    let text = directory.config_text()?;
    let shared: Shared = serde_json::from_str(&text).map_err(|source| Error::Document {
        object: "the container's configuration".to_owned(),
        source,
    })?;
    let mut process = process(&shared, &given, command)?;
    process.env.extend(preserved.environment());
    let detached = given.has("detach");
    let receiver = Receiver::open(&given, process.terminal, !detached)?;
    let stdio = if process.terminal {
        Stdio::Terminal
    } else {
        Stdio::Files(standard_files()?)
    };
    let at = At::new(&stored, &shared)?;
    if stored.process().is_none() {
        return Err(Error::State(format!("container not running: {id} has ended")));
    }
    let layout = Layout::detect()?;
    let place = Place::new(&stored, given.value("cgroup"))?;
    let cgroup = Cgroup::new(&layout, &place.cgroup);
    let (maker, child) = channel::pair()?;
    let single = SingleThread::claim().during("count", "threads")?;
    setns(&target, CloneFlags::CLONE_NEWPID).during("join", "the PID namespace of the container")?;
    if layout.mode == Mode::V2 {
        // The process is born into its cgroup.
        init::scheduling::initial_affinity(process.exec_cpu_affinity.as_ref())?;
    }
    let (side, leaf) = place.clone_into(single, &layout, &cgroup)?;
    let Side::Parent { pid, pidfd } = side else {
        become_exec(
            &shared,
            &process,
            &cgroup,
            leaf.as_ref(),
            &target,
            &at,
            stdio,
            &preserved,
            &child,
        )
    };
    fault::point("oci.exec-cloned");
    drop((child, stdio));
    let told = stored.told();
    let outside = Some(shared.attend(&told, pid));
    let terminal = wait::until_made(&maker, pid, true, &receiver, outside.as_ref())?;
    tell(&given, pid, &pidfd)?;
    if detached {
        return Ok(0);
    }
    let code = wait::to_the_end(&pidfd, terminal)?;
    // What it has started may go on in there.
    if let Some(leaf) = leaf {
        leaf.remove();
    }
    Ok(code)
}

/// The container's first process, if something may be executed beside it now.
fn target(directory: &Directory, stored: &Stored, given: &Arguments) -> Result<OwnedFd> {
    let id = &stored.id;
    match stored.process() {
        Some((_, stat)) if !stat.has_executed() => Err(Error::State(format!("container not running: {id} is created"))),
        Some(_) if !given.has("ignore-paused") && cgroup::is_frozen(&stored.tracker) => Err(Error::State(format!(
            "container {id} is paused: resume it first, or use --ignore-paused"
        ))),
        Some((process, _)) => Ok(process),
        None => Err(Error::State(format!(
            "container not running: {id} is {}",
            directory.status(stored)
        ))),
    }
}

/// Where the container is, beside its PID namespace and its cgroup.
struct At {
    namespaces: CloneFlags,
    /// Its root, if others are in its mount namespace as well and have another.
    root: Option<OwnedFd>,
}

impl At {
    /// Looks at what the container has of its own. The pid has to be looked at again afterwards: it may have become
    /// another process'.
    fn new(stored: &Stored, shared: &Shared) -> Result<Self> {
        let mut namespaces = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWCGROUP
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS;
        let process = Path::new("/proc").join(stored.pid.to_string());
        // A user namespace cannot be joined by who is in it: setns(2).
        for (kind, file) in [
            (LinuxNamespaceType::User, "ns/user"),
            (LinuxNamespaceType::Time, "ns/time"),
        ] {
            let inode = |dir: &Path| fs::metadata(dir.join(file)).map(|metadata| metadata.ino()).ok();
            if shared.namespace(kind).is_some() && inode(&process) != inode(Path::new("/proc/self")) {
                namespaces |= CloneFlags::from_bits_retain(kind as i32);
            }
        }
        let mount = shared.namespace(LinuxNamespaceType::Mount);
        let alone = mount.is_some_and(|mount| mount.path().as_ref().is_none_or(|path| path.as_os_str().is_empty()));
        let root = process.join("root");
        let root = (!alone)
            .then(|| fs::File::open(&root).during("open", root.display()))
            .transpose()?;
        Ok(Self {
            namespaces,
            root: root.map(OwnedFd::from),
        })
    }
}

/// Where in the container's cgroup the process goes.
struct Place {
    /// The container's cgroup, or the one below it that was asked for.
    cgroup: PathBuf,
    /// In the tracker.
    dir: PathBuf,
    /// It was asked for, so it gets no leaf of its own.
    named: bool,
}

impl Place {
    fn new(stored: &Stored, named: Option<&str>) -> Result<Self> {
        let below = Path::new(named.unwrap_or_default());
        let below = below.strip_prefix("/").unwrap_or(below);
        if !below.components().all(|part| matches!(part, Component::Normal(_)))
            || named.is_some_and(|n| n.contains(':'))
        {
            return Err(Error::Invalid(format!(
                "--cgroup {} is no path below the container's cgroup",
                below.display()
            )));
        }
        Ok(Self {
            cgroup: stored.cgroup.join(below),
            dir: stored.tracker.join(below),
            named: named.is_some(),
        })
    }

    /// Clones a process that is born in a cgroup of its own, so that it can be killed with all it makes.
    fn clone_into(&self, single: SingleThread, layout: &Layout, cgroup: &Cgroup<'_>) -> Result<(Side, Option<Leaf>)> {
        let clone = |dir: &Path| {
            let opened = fs::File::open(dir)?;
            clone3(single, 0, (layout.mode != Mode::V1).then(|| opened.as_fd()))
        };
        let mut result = Err(Errno::ENOENT.into());
        for _ in 0..ATTEMPTS {
            if self.named {
                return Ok((clone(&self.dir).during("clone into", self.dir.display())?, None));
            }
            let leaf = Leaf::make(&self.dir)?;
            result = clone(leaf.dir());
            match &result {
                Ok(_) => return result.during("clone", "a process").map(|side| (side, Some(leaf))),
                // Taken away before it was used.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {}
                // The container has made its cgroup one of threads: there are no leaves then. It has to be where its
                // first process is.
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    leaf.remove();
                    return Ok((clone(&cgroup.tracker()).during("clone into", self.dir.display())?, None));
                }
                Err(_) => {
                    leaf.remove();
                    break;
                }
            }
        }
        result
            .during("clone", "a process for the exec")
            .map(|side| (side, None))
    }
}

/// The process asked for: a file's, or the container's own with changes.
fn process(shared: &Shared, given: &Arguments, command: &[String]) -> Result<Process> {
    let mut process = match given.value("process").filter(|file| !file.is_empty()) {
        Some(file) => read_process(file)?,
        None => {
            let own = shared.process.clone();
            let mut own = own.ok_or_else(|| Error::Invalid("the container has no process".to_owned()))?;
            own.terminal = false;
            own.args = command.to_vec();
            own
        }
    };
    shared.complete(&mut process);
    process.terminal |= given.has("tty");
    process.no_new_privileges |= given.has("no-new-privs");
    process.env.extend(given.values("env").map(str::to_owned));
    if let Some(cwd) = given.value("cwd") {
        process.cwd = cwd.into();
    }
    if let Some(label) = given.value("process-label") {
        process.selinux_label = Some(label.to_owned());
    }
    if let Some(profile) = given.value("apparmor") {
        process.apparmor_profile = Some(profile.to_owned());
    }
    if let Some(user) = given.value("user") {
        let (uid, gid) = user.split_once(':').unwrap_or((user, "0"));
        let number = |text: &str| {
            text.parse::<u32>()
                .map_err(|_| Error::Invalid(format!("{user} is not of the form UID[:GID], in numbers")))
        };
        let uid = number(uid)?;
        // What another runtime did (CVE-2026-30892).
        let uid = if uid == 1 && broken::lacks("exec-user") { 0 } else { uid };
        process.user.set_uid(uid).set_gid(number(gid)?);
        process.user.set_additional_gids(None);
    }
    let groups = given.values("additional-gids").flat_map(|list| list.split(','));
    let groups: Vec<u32> = groups
        .map(|text| text.parse())
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| Error::Invalid("--additional-gids are numbers".to_owned()))?;
    if !groups.is_empty() {
        let all = process.user.additional_gids().iter().flatten().copied();
        let all: Vec<u32> = all.chain(groups).collect();
        process.user.set_additional_gids(Some(all));
    }
    add_capabilities(&mut process, given)?;
    Ok(process)
}

fn read_process(file: &str) -> Result<Process> {
    let text = fs::read_to_string(file).during("read", file)?;
    serde_json::from_str(&text).map_err(|source| Error::Document {
        object: file.to_owned(),
        source,
    })
}

/// Adds `--cap` to the sets that make a capability effective for the program.
fn add_capabilities(process: &mut Process, given: &Arguments) -> Result<()> {
    for name in given.values("cap") {
        let number = capability_by_name(&name.to_uppercase());
        let number = number.ok_or_else(|| Error::Invalid(format!("there is no capability {name}")))?;
        let sets = process.capabilities.get_or_insert_default();
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.mask |= 1 << number;
        }
        // Never the inheritable ones: a file with inheritable capabilities gives them to whoever executes it then
        // (CVE-2022-27650, CVE-2022-29162).
        if broken::lacks("exec-without-inheritable") {
            sets.inheritable.mask |= 1 << number;
        }
    }
    Ok(())
}

#[expect(
    clippy::too_many_arguments,
    reason = "what the child needs is what the parent just made"
)]
fn become_exec(
    shared: &Shared,
    process: &Process,
    cgroup: &Cgroup<'_>,
    leaf: Option<&Leaf>,
    target: &OwnedFd,
    at: &At,
    stdio: Stdio,
    preserved: &Preserved,
    channel: &Child,
) -> ! {
    let runtime = fs::metadata("/proc/self/exe").ok();
    let run = || {
        let mut keep = vec![channel.as_fd(), target.as_fd()];
        if let Stdio::Files(files) = &stdio {
            keep.extend(files.iter().flatten().map(AsFd::as_fd));
        }
        keep.extend(at.root.iter().map(AsFd::as_fd));
        keep.extend(preserved.descriptors());
        close_all_but(&keep).during("close", "inherited descriptors")?;
        let joined = Joined {
            process: target.as_fd(),
            namespaces: at.namespaces,
            cgroup,
            root: at.root.as_ref().map(AsFd::as_fd),
            linux: &shared.linux,
            unset: Unset::Inherited,
            leaf: leaf.filter(|_| cgroup.layout().mode == Mode::V1).map(Leaf::dir),
            die_with_maker: false,
            runtime: runtime.as_ref(),
            preserved: preserved.count,
        };
        init::exec(&joined, process, stdio, channel)
    };
    let Err(error) = run();
    channel.failed(&error);
    exit_now(1)
}
