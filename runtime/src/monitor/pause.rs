//! Making pause: the process that holds a pod's namespaces.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;

use nix::fcntl::AtFlags;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{chdir, execveat, pivot_root, sethostname, setsid};

use super::network;
use crate::broken;
use crate::error::{During, Result};
use crate::init::sysctl::{self, Own};
use crate::protocol::{NamespaceMode, SandboxConfig};
use crate::sys::memory::sealed;
use crate::sys::process::{CapabilitySets, close_on_exec_from, no_root, set_capabilities};

/// The program, compiled by this crate's build script.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause"));

/// pause in a memory file that nobody can change.
pub fn program() -> Result<File> {
    sealed(c"pause", PROGRAM).during("make", "a memory file for pause")
}

/// Which namespaces a sandbox has of its own.
pub fn own(config: &SandboxConfig) -> Own {
    Own {
        network: config.network == NamespaceMode::Pod,
        ipc: config.ipc == NamespaceMode::Pod,
        uts: config.uts == NamespaceMode::Pod,
        user: false,
    }
}

/// What pause is cloned with. The network namespace is made elsewhere meanwhile: [`super::network`].
pub fn clone_flags(config: &SandboxConfig) -> i32 {
    let mut flags = libc::CLONE_NEWNS;
    for (mode, flag) in [
        (config.pid, libc::CLONE_NEWPID),
        (config.ipc, libc::CLONE_NEWIPC),
        (config.uts, libc::CLONE_NEWUTS),
    ] {
        if mode == NamespaceMode::Pod {
            flags |= flag;
        }
    }
    flags
}

/// The namespaces of pause that containers join, the PID namespace aside.
pub fn joined(config: &SandboxConfig) -> CloneFlags {
    let own = own(config);
    let mut flags = CloneFlags::empty();
    flags.set(CloneFlags::CLONE_NEWNET, own.network);
    flags.set(CloneFlags::CLONE_NEWIPC, own.ipc);
    flags.set(CloneFlags::CLONE_NEWUTS, own.uts);
    flags
}

/// Sets the namespaces up and becomes pause; the network namespace comes over `network`. Returns only the error.
pub fn run(config: &SandboxConfig, program: &File, network: Option<&OwnedFd>) -> Result<Infallible> {
    // The kernel ends the PID namespace with pause, so a pod whose monitor dies ends as a whole.
    prctl::set_pdeathsig(Signal::SIGKILL).during("set", "the parent-death signal")?;
    let _ = setsid();
    let own = own(config);
    if own.uts && !config.hostname.is_empty() {
        sethostname(&config.hostname).during("set the host name", &config.hostname)?;
    }
    let join_network = || network.map_or(Ok(()), network::join);
    if config.sysctls.is_empty() {
        empty_root(config)?;
        join_network()?;
    } else {
        // The parameters are below the old root.
        join_network()?;
        sysctl::set(&config.sysctls, own)?;
        empty_root(config)?;
    }
    close_on_exec_from(0).during("mark", "descriptors close-on-exec")?;
    // Nothing that pause could be made to do would have the machine's rights: it keeps none, and its user 0 gets none
    // back by executing.
    no_root().during("give up", "the rights of root")?;
    set_capabilities(CapabilitySets::default()).during("give up", "capabilities")?;
    prctl::set_no_new_privs().during("set", "no_new_privs")?;
    let name: [CString; 1] = [c"/pause".to_owned()];
    execveat(program, c"", &name, &[] as &[CString], AtFlags::AT_EMPTY_PATH).during("execute", "pause")
}

/// Leaves the machine's file systems: containers of the pod see pause's root through `/proc/1/root`. What takes their
/// place is the pod's shared memory, which containers get as `/dev/shm`; its pages are charged to whoever writes them.
fn empty_root(config: &SandboxConfig) -> Result<()> {
    if broken::lacks("empty-pause") {
        return Ok(());
    }
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).during("make private", "/")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(
        Some("shm"),
        &config.dir,
        Some("tmpfs"),
        flags,
        Some("mode=1777,size=65536k"),
    )
    .during("mount shared memory on", config.dir.display())?;
    chdir(&config.dir).during("enter", config.dir.display())?;
    pivot_root(".", ".").during("pivot", "the root of pause")?;
    umount2(".", MntFlags::MNT_DETACH).during("unmount", "the old root of pause")?;
    chdir("/").during("enter", "/")
}
