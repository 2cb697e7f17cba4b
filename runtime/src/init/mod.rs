//! What happens between the clone of a process and the execution of a container's program: the process turns itself
//! into the container, step by step, and tells its maker over a [`channel`] how far it got.
//!
//! The order is dictated: clones of volumes before the mount namespace is cut off
//! from the machine's, limits before anything of the container's own runs, everything that takes
//! privilege before the user changes, the filter last.

pub mod channel;
mod console;
mod container;
mod copyup;
mod devices;
mod exec;
pub mod hooks;
pub mod identity;
mod interfaces;
mod keyring;
pub mod labels;
mod mounts;
mod moved;
mod options;
pub mod outside;
mod paths;
mod procfs;
mod program;
mod remount;
mod root;
mod rootfs;
pub mod scheduling;
pub mod sysctl;
mod users;

pub use container::{Gate, Plan, container};
pub use exec::{Joined, Shared, SharedLinux, exec};
pub use keyring::Keyring;
pub use options::{BENEATH, mount_options, propagation};

use channel::Child;
use hooks::{Place, Told};
use labels::Labels;

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::prctl;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown};

use oci_spec::runtime::{LinuxMemoryPolicy, LinuxPersonality};

use crate::document::{Hook, Process};
use crate::error::{During, Error, Result};
use crate::seccomp::Filter;
use crate::sys::process::{close_on_exec_from, default_signal, unblock_signals};
use crate::sys::terminal::make_controlling;
use crate::{broken, fault};

/// What a monitor ignores, on top of what its own start reset to the defaults.
pub const IGNORED: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGPIPE, libc::SIGQUIT];

/// Gives the process the signal actions a program expects, [`IGNORED`] being all that is not default.
pub(crate) fn default_signals() {
    IGNORED.into_iter().for_each(default_signal);
    unblock_signals();
}

/// Standard input, output and error, open.
type Stdio3 = [OwnedFd; 3];

/// Standard input, output and error of the program.
#[derive(Debug)]
pub enum Stdio {
    /// Three descriptors; a missing one is the container's null device.
    Files([Option<OwnedFd>; 3]),
    /// A terminal of the container's own, whose master goes to the maker.
    Terminal,
}

/// What a process gets that its configuration does not speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// What the caller has, as the OCI runtime specification wants it.
    Inherited,
    /// What a container of a pod ordinarily has, whoever started the pod's monitor.
    Ordinary,
}

/// The last steps, the same for a container's first process and for those executed in it later: from a root-privileged
/// process inside the container's root to the user's program.
struct Finish<'a> {
    process: &'a Process,
    program: program::Program,
    personality: Option<&'a LinuxPersonality>,
    memory_policy: Option<&'a LinuxMemoryPolicy>,
    /// The maker has set the scheduler already.
    scheduled: bool,
    filter: Option<Filter>,
    labels: Labels,
    unset: Unset,
    /// The mask for new files' modes that the process was cloned with.
    umask: Mode,
    /// Die with the maker: nothing else would end a container whose PID namespace has no init of ours.
    die_with_maker: bool,
    runtime: Option<&'a std::fs::Metadata>,
    keyring: Keyring<'a>,
    /// How many descriptors after the standard ones the program gets.
    preserved: u32,
    /// Where the start is waited for, if the filter comes before it.
    gate: Option<OwnedFd>,
    /// What is executed before the program with no more rights than it has, and what that is told: the container's own
    /// files are executed there, as runc and crun do.
    hooks: Option<(&'a [Hook], Told<'a>)>,
}

impl Finish<'_> {
    fn run(self, channel: &mut Child) -> Result<Infallible> {
        let Self {
            process,
            program,
            personality,
            memory_policy,
            scheduled,
            filter,
            labels,
            unset,
            umask,
            die_with_maker,
            runtime,
            keyring,
            preserved,
            gate,
            hooks,
        } = self;
        keyring::join(keyring)?;
        // From here on all other descriptors are closed by the execution, whatever they are.
        if !broken::lacks("closed-descriptors") {
            close_on_exec_from(3 + preserved).during("mark", "descriptors close-on-exec")?;
        }
        if !scheduled {
            scheduling::schedule(0, process)?;
        }
        personality.map_or(Ok(()), scheduling::personality)?;
        memory_policy.map_or(Ok(()), scheduling::memory_policy)?;
        identity::set_limits(&process.rlimits)?;
        if broken::lacks("early-procfs") {
            // Through whatever the container has there by now (CVE-2019-16884).
            let score = process.oom_score_adj.unwrap_or(0).to_string();
            std::fs::write("/proc/self/oom_score_adj", score).during("write", "oom_score_adj")?;
        }
        labels.set()?;
        // A directory that only root may enter, or only the user (over NFS), is the working directory either way.
        let entered = program::enter_directory(&process.cwd);
        let sets = identity::Sets::new(process.capabilities.as_ref());
        identity::become_user(process, &sets, umask, unset)?;
        if entered.is_err() {
            program::enter_directory(&process.cwd)?;
        }
        if die_with_maker {
            // A change of user resets it: prctl(2).
            prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).during("set", "the parent-death signal")?;
        }
        let found = program.find()?;
        program::refuse_runtime(&found, runtime)?;
        channel.executing();
        // A filter applies to all that comes after it, so as little as possible does.
        if process.no_new_privileges {
            prctl::set_no_new_privs().during("set", "no_new_privs")?;
            sets.assume()?;
            install(filter, channel)?;
        } else {
            if filter.is_some() {
                // Without no_new_privs a filter takes CAP_SYS_ADMIN: seccomp(2).
                sets.raise()?;
                install(filter, channel)?;
            }
            sets.assume()?;
        }
        if let Some(listener) = gate {
            channel.wait_for_connection(&listener)?;
            fault::point("init.started");
            channel.executing();
            // The filter may forbid it; the execution does it as well.
            std::mem::forget(listener);
        }
        if let Some((hooks, told)) = hooks {
            let place = Place {
                directory: Path::new("/"),
                environment: Some(&process.env),
            };
            hooks::run("startContainer", hooks, &told, place)?;
        }
        Err(program.execute(&found))
    }
}

/// Reads what is to be executed, and puts its standard files in place: whoever made the process may wait for the end of
/// what it was given itself.
fn prepare(process: &Process, stdio: Stdio3, terminal: bool) -> Result<program::Program> {
    let program = program::Program::new(process)?;
    standard_files(stdio, terminal, process)?;
    Ok(program)
}

/// Installs a filter; its notifications, if there are some, go to whoever the maker gives their descriptor.
fn install(filter: Option<Filter>, channel: &Child) -> Result<()> {
    match filter.map_or(Ok(None), Filter::install)? {
        Some(listener) => channel.notifications(listener),
        None => Ok(()),
    }
}

/// Puts the three files in place. Pipes are given to the user, so that `/dev/stdout` can be opened.
fn standard_files(stdio: Stdio3, terminal: bool, process: &Process) -> Result<()> {
    let uid = process.user.uid();
    if uid != 0 {
        // The null device may be the machine's.
        for fd in stdio.iter().filter(|fd| !root::is_null(fd)) {
            // Some files, as sockets or those of a user namespace, have owners that cannot be changed.
            let _ = fchown(fd, Some(Uid::from_raw(uid)), None::<Gid>);
        }
    }
    if terminal {
        make_controlling(stdio[0].as_fd()).during("take", "the terminal")?;
    }
    dup2_stdin(&stdio[0]).during("set", "standard input")?;
    dup2_stdout(&stdio[1]).during("set", "standard output")?;
    dup2_stderr(&stdio[2]).during("set", "standard error")
}

/// Flags with which a file that may turn out to be anything is opened without effect.
const HARMLESS: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;

/// The standard files of a process without a terminal; what is missing is the null device below `root`.
fn files(given: [Option<OwnedFd>; 3], null: impl Fn(i32) -> std::io::Result<OwnedFd>) -> Result<Stdio3> {
    let mut given = given.into_iter().zip([libc::O_RDONLY, libc::O_WRONLY, libc::O_WRONLY]);
    let mut next = || {
        let (fd, flags) = given.next().unwrap_or((None, libc::O_RDWR));
        match fd {
            Some(fd) => Ok(fd),
            None => {
                let null = null(flags).during("open", "/dev/null in the container")?;
                if root::is_null(&null) {
                    Ok(null)
                } else {
                    Err(Error::Invalid(
                        "the container's /dev/null is not the null device".to_owned(),
                    ))
                }
            }
        }
    };
    Ok([next()?, next()?, next()?])
}

/// Three times the same descriptor.
fn thrice(fd: OwnedFd) -> Result<Stdio3> {
    let copy = || fd.try_clone().during("copy", "the terminal");
    Ok([copy()?, copy()?, fd])
}

/// Whether an id can be part of a file name and of a cgroup.
///
/// # Errors
/// It cannot.
pub fn check_id(id: &str) -> Result<()> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.+".contains(byte);
    let bytes = Path::new(id).as_os_str().as_bytes();
    if bytes.is_empty() || bytes.len() > 128 || bytes[0] == b'.' || !bytes.iter().all(plain) {
        return Err(Error::Invalid(format!(
            "{id:?} cannot be an id: up to 128 letters, digits, and _ - . + are"
        )));
    }
    Ok(())
}
