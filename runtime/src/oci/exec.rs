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
use super::terminal::{Receiver, fit};
use super::{process, wait};
use crate::cgroup::{self, Cgroup, Layout, Leaf, Mode};
use crate::document::{KEEP_GROUPS, Process, is_yes};
use crate::error::{During, Error, Result};
use crate::fault;
use crate::init::channel::{self, Child};
use crate::init::{self, Joined, Shared, Stdio, Unset};
use crate::resctrl::Group;
use crate::sys::clone::{Side, SingleThread, clone3};
use crate::sys::process::{close_all_but, exit_now};

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
    let preserved = Preserved::new(&given)?;
    let directory = Directory::new(global, id)?;
    protect()?;
    let stored = directory.read()?;
    let target = target(&directory, &stored, &given)?;
    let text = directory.config_text()?;
    let shared: Shared = serde_json::from_str(&text).map_err(|source| Error::Document {
        object: "the container's configuration".to_owned(),
        source,
    })?;
    let mut process = process::asked_for(global, &shared, &given, command)?;
    process.env.extend(preserved.environment());
    process.keeps_groups = stored.annotations.get(KEEP_GROUPS).is_some_and(|value| is_yes(value));
    let detached = given.has("detach");
    let receiver = Receiver::open(&given, process.terminal, !detached)?;
    if !detached {
        fit(&given, &mut process);
    }
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
    stored.resctrl.as_ref().map_or(Ok(()), Group::join)?;
    let (maker, mut child) = channel::pair()?;
    let single = SingleThread::claim().during("count", "threads")?;
    setns(&target, CloneFlags::CLONE_NEWPID).during("join", "the PID namespace of the container")?;
    if layout.mode == Mode::V2 {
        // The process is born into its cgroup.
        init::scheduling::initial_affinity(process.exec_cpu_affinity.as_ref())?;
    }
    let (side, leaf) = place.clone_into(single, &layout, &cgroup)?;
    let Side::Parent { pid, pidfd } = side else {
        let made = Made {
            stored: &stored,
            shared: &shared,
            process: &process,
            cgroup: &cgroup,
            leaf: leaf.as_ref(),
            target: &target,
            at: &at,
            preserved: &preserved,
        };
        become_exec(&made, stdio, &mut child)
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
        Some(_) if !given.has("ignore-paused") && cgroup::is_frozen(&stored.tracker) => Err(Error::State(format!(
            "cannot exec in a paused container: resume {id} first, or use --ignore-paused"
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
                "--cgroup: {} is not a sub cgroup path of the container",
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

/// What the child needs of what its maker has just made.
struct Made<'a> {
    stored: &'a Stored,
    shared: &'a Shared,
    process: &'a Process,
    cgroup: &'a Cgroup<'a>,
    leaf: Option<&'a Leaf>,
    target: &'a OwnedFd,
    at: &'a At,
    preserved: &'a Preserved,
}

fn become_exec(made: &Made<'_>, stdio: Stdio, channel: &mut Child) -> ! {
    let runtime = fs::metadata("/proc/self/exe").ok();
    let run = |channel: &mut Child| {
        let mut keep = vec![channel.as_fd(), made.target.as_fd()];
        if let Stdio::Files(files) = &stdio {
            keep.extend(files.iter().flatten().map(AsFd::as_fd));
        }
        keep.extend(made.at.root.iter().map(AsFd::as_fd));
        keep.extend(made.preserved.descriptors());
        close_all_but(&keep).during("close", "inherited descriptors")?;
        let joined = Joined {
            process: made.target.as_fd(),
            namespaces: made.at.namespaces,
            cgroup: made.cgroup,
            root: made.at.root.as_ref().map(AsFd::as_fd),
            filter: None,
            linux: &made.shared.linux,
            unset: Unset::Inherited,
            leaf: made
                .leaf
                .filter(|_| made.cgroup.layout().mode == Mode::V1)
                .map(Leaf::dir),
            die_with_maker: false,
            runtime: runtime.as_ref(),
            keyring: made.stored.keyring(),
            preserved: made.preserved.count,
        };
        init::exec(&joined, made.process, stdio, channel)
    };
    let Err(error) = run(channel);
    channel.failed(&error);
    exit_now(1)
}
