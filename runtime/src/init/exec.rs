//! Another process in a running container.

use std::convert::Infallible;
use std::fs::{File, Metadata};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode, umask};
use nix::unistd::setsid;
use oci_spec::runtime::{LinuxResources, LinuxSeccomp};

use super::channel::Child;
use super::{Finish, HARMLESS, Stdio, console, identity, thrice};
use crate::cgroup::{self, Cgroup};
use crate::document::Process;
use crate::error::{During, Result};

/// The container that is joined.
#[derive(Debug)]
pub struct Joined<'a> {
    /// Its first process.
    pub process: BorrowedFd<'a>,
    /// The namespaces to join, beside the PID namespace, which the clone took care of.
    pub namespaces: CloneFlags,
    /// Its cgroup.
    pub cgroup: &'a Cgroup<'a>,
    /// What its cgroup was made with, which tells the controllers it is in.
    pub resources: Option<&'a LinuxResources>,
    /// A v1 directory below the tracker's for this process and what it makes. On v2 it is born there.
    pub leaf: Option<&'a Path>,
    /// Its filter.
    pub seccomp: Option<&'a LinuxSeccomp>,
    /// Be killed when the maker dies.
    pub die_with_maker: bool,
    /// The runtime's own file, which may not be executed in a container.
    pub runtime: Option<&'a Metadata>,
}

/// Joins the container and executes a program in it. Returns only the error.
///
/// # Errors
/// The first step that failed.
pub fn exec(joined: &Joined<'_>, process: &Process, stdio: Stdio, channel: &Child) -> Result<Infallible> {
    super::default_signals();
    umask(Mode::empty());
    // A process that leads a session already is as good.
    let _ = setsid();
    super::refuse_unsupported(process.unsupported())?;
    identity::set_oom_score(process.oom_score_adj.unwrap_or(0))?;
    let labels = super::labels(process)?;
    joined.cgroup.join(joined.resources)?;
    if let Some(leaf) = joined.leaf {
        cgroup::join_leaf(leaf)?;
    }
    setns(joined.process, joined.namespaces).during("join", "the namespaces of the container")?;
    let root = open_root()?;
    let terminal = matches!(stdio, Stdio::Terminal);
    let stdio = match stdio {
        Stdio::Files(given) => super::files(given, |flags| {
            Ok(File::options()
                .read(true)
                .write(flags != libc::O_RDONLY)
                .custom_flags(HARMLESS)
                .open("/dev/null")?
                .into())
        })?,
        Stdio::Terminal => {
            let terminal = console::open(root.as_fd(), process)?;
            channel.terminal(terminal.master.as_fd())?;
            thrice(terminal.slave)?
        }
    };
    super::refuse_relative(&process.cwd)?;
    let finish = Finish {
        process,
        seccomp: joined.seccomp,
        labels,
        stdio,
        terminal,
        die_with_maker: joined.die_with_maker,
        runtime: joined.runtime,
    };
    finish.run()
}

/// The root of the mount namespace that was joined.
fn open_root() -> Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    Ok(File::options()
        .read(true)
        .custom_flags(flags)
        .open(Path::new("/"))
        .during("open", "/")?
        .into())
}
