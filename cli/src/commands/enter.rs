//! `barepod enter POD -- CMD`: a program of this machine inside a pod's namespaces, whatever its image lacks.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use nix::sched::{CloneFlags, setns};
use nix::unistd::Pid;

use crate::paths::Paths;
use crate::{pods, sys};

/// Options of `enter`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// namespace/name, name, UID or container id
    pod: String,
    /// Namespaces to join; without mnt the program is this machine's, with it the container's
    #[arg(long = "ns", value_enum, value_delimiter = ',', default_values_t = [Namespace::Net, Namespace::Ipc, Namespace::Uts, Namespace::Pid])]
    namespaces: Vec<Namespace>,
    /// The container whose namespaces are joined [default: the pod's own, for mnt its first container]
    #[arg(long)]
    container: Option<String>,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Namespace {
    Net,
    Ipc,
    Uts,
    Pid,
    Mnt,
    Cgroup,
}

impl std::fmt::Display for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |v| v.get_name()))
    }
}

impl Namespace {
    fn flag(self) -> CloneFlags {
        match self {
            Namespace::Net => CloneFlags::CLONE_NEWNET,
            Namespace::Ipc => CloneFlags::CLONE_NEWIPC,
            Namespace::Uts => CloneFlags::CLONE_NEWUTS,
            Namespace::Pid => CloneFlags::CLONE_NEWPID,
            Namespace::Mnt => CloneFlags::CLONE_NEWNS,
            Namespace::Cgroup => CloneFlags::CLONE_NEWCGROUP,
        }
    }
}

/// Runs the program and exits as it does.
pub fn run(paths: &Paths, options: &Options) -> Result<ExitCode> {
    let record = pods::find(paths, &options.pod)?;
    let own = options
        .namespaces
        .iter()
        .any(|n| matches!(n, Namespace::Mnt | Namespace::Cgroup));
    let container = match &options.container {
        Some(name) => Some(
            record
                .state
                .containers
                .iter()
                .find(|c| c.name == *name || c.id.starts_with(name))
                .with_context(|| format!("pod {} has no container {name:?}", record.state.config.name))?,
        ),
        None if own => record
            .state
            .containers
            .iter()
            .find(|c| c.pid.is_some() && c.exit.is_none()),
        None => None,
    };
    let pid = match container {
        Some(c) => c
            .pid
            .filter(|_| c.exit.is_none())
            .with_context(|| format!("container {} does not run", c.name))?,
        None if own => bail!(
            "no container of pod {} runs, and mnt and cgroup are a container's own",
            record.state.config.name
        ),
        None => pods::holder(&record)?,
    };
    let pidfd = sys::pidfd_open(Pid::from_raw(pid)).with_context(|| format!("open process {pid}"))?;
    let flags = options
        .namespaces
        .iter()
        .fold(CloneFlags::empty(), |all, n| all | n.flag());
    // One call for all of them: setns(2) on a pidfd joins every namespace or none.
    setns(&pidfd, flags).with_context(|| format!("join the namespaces of process {pid}"))?;
    let (program, arguments) = options.command.split_first().context("clap requires a program")?;
    let mut command = Command::new(program);
    command.args(arguments);
    if flags.contains(CloneFlags::CLONE_NEWNS) {
        std::env::set_current_dir("/").context("go to the container's root")?;
    }
    let status = command.status().with_context(|| format!("run {program}"))?;
    let code = status.code().or_else(|| status.signal().map(|s| 128 + s)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
