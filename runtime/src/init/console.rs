//! A container's terminal, taken from its own devpts.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sys::stat::fstat;
use nix::sys::statfs::{FsType, fstatfs};

use super::mounts::refuse_procfs;
use super::root::Root;
use crate::broken;
use crate::document::Process;
use crate::error::{During, Error, Result};
use crate::sys::mount::{attach, clone_tree};
use crate::sys::path::{Scope, open_beneath};
use crate::sys::terminal::{open_peer, resize};

/// Both ends of a terminal.
#[derive(Debug)]
pub struct Terminal {
    /// What the outside reads and writes.
    pub master: OwnedFd,
    /// What the program gets.
    pub slave: OwnedFd,
}

/// Opens a new terminal of the devpts below `root` (the container's root, open).
///
/// # Errors
/// There is no devpts, or something else in its place.
pub fn open(root: impl AsFd, process: &Process) -> Result<Terminal> {
    const PTMX: &str = "dev/pts/ptmx";
    let flags = libc::O_RDWR | libc::O_NOCTTY;
    let master = open_beneath(root.as_fd(), Path::new(PTMX), flags, 0, Scope::InRoot).during("open", PTMX)?;
    // Whoever controls the file system may have put anything there (CVE-2025-52565).
    let is_devpts = fstatfs(&master).is_ok_and(|stat| stat.filesystem_type() == FsType(libc::DEVPTS_SUPER_MAGIC));
    let is_ptmx = is_devpts && fstat(&master).is_ok_and(|stat| stat.st_rdev == libc::makedev(5, 2));
    if !is_ptmx {
        return Err(Error::Invalid(format!(
            "/{PTMX} is not the terminal multiplexer of a devpts"
        )));
    }
    let slave = open_peer(master.as_fd()).during("open the other end of", PTMX)?;
    if let Some(size) = process.console_size {
        let cells = |count: u64| u16::try_from(count).unwrap_or(u16::MAX);
        resize(master.as_fd(), cells(size.width()), cells(size.height())).during("set the size of", "the terminal")?;
    }
    Ok(Terminal { master, slave })
}

/// Puts the terminal on `/dev/console`.
///
/// # Errors
/// The file cannot be made, is not what it should be, or the kernel refuses.
pub fn mount(root: &Root, slave: &OwnedFd) -> Result<()> {
    const CONSOLE: &str = "/dev/console";
    let mut target = root.make_file(Path::new(CONSOLE))?;
    if !broken::lacks("console-in-place") {
        // Never over a file elsewhere, where it would uncover what is hidden or read-only (CVE-2025-52565).
        let plain = root.open_plain(Path::new(CONSOLE), libc::O_PATH);
        target = plain.during("open as an ordinary file", CONSOLE)?;
        refuse_procfs(&target, Path::new(CONSOLE))?;
    }
    let tree = clone_tree(slave.as_fd(), Path::new(""), false).during("clone", "the terminal")?;
    attach(&tree, &target).during("mount on", CONSOLE)
}
