//! The mounts of a container, each attached to a directory that was opened beneath its root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::mount::{MsFlags, mount as mount_call};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{fchdir, symlinkat};
use oci_spec::runtime::Mount;

use super::options::Options;
use super::root::{Root, is_dir};
use crate::cgroup::{self, Layout};
use crate::error::{During, Error, Result};
use crate::sys::mount::{Attributes, attach, clone_tree, set_attributes};
use crate::sys::path::{Scope, is_procfs, open_beneath};

/// A mount with its options read and, for a bind mount, its source cloned.
#[derive(Debug)]
pub struct Prepared<'a> {
    mount: &'a Mount,
    options: Options,
    tree: Option<OwnedFd>,
}

/// Reads the options and clones the sources of bind mounts. This comes before the mount namespace is cut off from the
/// machine's: a clone taken now still is a peer of its source, which `rshared` and `rslave` volumes are about.
///
/// `shm` takes a clone of the sandbox's shared memory file system, for the mount that wants it.
///
/// # Errors
/// A source is not there, or an option not to be had.
pub fn prepare<'a>(mounts: &'a [Mount], shm: Option<&dyn Fn() -> Result<OwnedFd>>) -> Result<Vec<Prepared<'a>>> {
    let prepare = |mount: &'a Mount| {
        let mut options = Options::parse(mount.options().as_deref().unwrap_or_default())?;
        if mount.uid_mappings().is_some() || mount.gid_mappings().is_some() {
            return Err(Error::Invalid(format!(
                "{}: id-mapped mounts are not supported",
                mount.destination().display()
            )));
        }
        if mount.typ().as_deref() == Some("bind") && options.bind.is_none() {
            options.bind = Some(false);
        }
        let tree = match (options.bind, shm) {
            (Some(recursive), _) => Some(source(mount, &options, recursive)?),
            (None, Some(shm)) if is_shared_memory(mount) => Some(shm()?),
            (None, _) => None,
        };
        Ok(Prepared { mount, options, tree })
    };
    mounts.iter().map(prepare).collect()
}

/// The mount that all containers of a sandbox share, because POSIX shared memory lives in it.
fn is_shared_memory(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("tmpfs")
        && mount.source().as_deref() == Some(Path::new("shm"))
        && mount.destination() == Path::new("/dev/shm")
}

/// Clones the source of a bind mount and gives the clone its attributes.
fn source(mount: &Mount, options: &Options, recursive: bool) -> Result<OwnedFd> {
    let path = mount
        .source()
        .as_deref()
        .ok_or_else(|| Error::Invalid(format!("the mount on {} has no source", mount.destination().display())))?;
    let tree = match &options.beneath {
        Some(dir) => {
            let outer = std::fs::File::open(dir).during("open", dir.display())?;
            let inner = path.strip_prefix(dir).unwrap_or(path);
            let inner = inner.strip_prefix("/").unwrap_or(inner);
            let inner = if inner.as_os_str().is_empty() {
                Path::new(".")
            } else {
                inner
            };
            let opened = open_beneath(outer.as_fd(), inner, libc::O_PATH, 0, Scope::Beneath);
            clone_tree(opened.during("open", path.display())?.as_fd(), Path::new(""), recursive)
        }
        None => clone_tree(AT_FDCWD, path, recursive),
    }
    .during("bind", path.display())?;
    let change = |recursive: bool, attributes: Attributes| {
        if attributes == Attributes::default() {
            return Ok(());
        }
        set_attributes(&tree, recursive, attributes).during("set the options of", path.display())
    };
    // Without a word on it the container's mount is on its own: the machine's later mounts do not reach it.
    let propagation = match options.attributes.propagation {
        0 => Attributes {
            propagation: libc::MS_PRIVATE,
            ..Attributes::default()
        },
        kind => Attributes {
            propagation: kind,
            ..Attributes::default()
        },
    };
    change(
        options.propagation_recursive || options.attributes.propagation == 0,
        propagation,
    )?;
    change(true, options.recursive)?;
    change(
        false,
        Attributes {
            propagation: 0,
            ..options.attributes
        },
    )?;
    Ok(tree)
}

/// Attaches everything in the document's order. The working directory is wherever the last one was. `limited` is called
/// before the first cgroup mount, which shows the cgroups the process is in by then.
///
/// # Errors
/// A destination is not what it should be, or the kernel refuses.
pub fn attach_all(
    root: &Root,
    prepared: &[Prepared<'_>],
    layout: &Layout,
    limited: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    for prepared in prepared {
        let destination = prepared.mount.destination();
        match prepared.mount.typ().as_deref() {
            _ if prepared.tree.is_some() => bind(root, prepared)?,
            Some("cgroup" | "cgroup2") => {
                limited()?;
                control_groups(root, prepared, layout)?;
            }
            Some(kind @ ("proc" | "sysfs")) => {
                // A link here would make the container's own files look like the kernel's (CVE-2019-19921).
                root.make_dir(destination, dir_mode())?;
                let target = root.open_plain(destination, libc::O_PATH | libc::O_DIRECTORY);
                let target = target.during("open as an ordinary directory", destination.display())?;
                file_system(target.as_fd(), kind, prepared)?;
            }
            Some(kind) => {
                let target = root.make_dir(destination, dir_mode())?;
                refuse_procfs(&target, destination)?;
                file_system(target.as_fd(), kind, prepared)?;
            }
            None => {
                return Err(Error::Invalid(format!(
                    "the mount on {} has no type",
                    destination.display()
                )));
            }
        }
    }
    Ok(())
}

fn dir_mode() -> Mode {
    Mode::from_bits_truncate(0o755)
}

fn bind(root: &Root, prepared: &Prepared<'_>) -> Result<()> {
    let (Some(tree), destination) = (&prepared.tree, prepared.mount.destination()) else {
        return Ok(());
    };
    let target = if is_dir(tree) {
        root.make_dir(destination, dir_mode())?
    } else {
        root.make_file(destination)?
    };
    if !FAKEABLE
        .iter()
        .any(|name| *destination == Path::new("/proc").join(name))
    {
        refuse_procfs(&target, destination)?;
    }
    attach(tree, &target).during("mount on", destination.display())
}

/// Files of procfs that may have something mounted on them: what lxcfs gives a container's own view of.
const FAKEABLE: [&str; 9] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "uptime",
];

/// Nothing else may be put over a part of procfs: the runtime itself, and others, trust what they read there.
fn refuse_procfs(target: &OwnedFd, destination: &Path) -> Result<()> {
    if destination != Path::new("/proc") && is_procfs(target.as_fd()) {
        return Err(Error::Invalid(format!(
            "{} is inside procfs, nothing may be mounted there",
            destination.display()
        )));
    }
    Ok(())
}

fn file_system(target: BorrowedFd<'_>, kind: &str, prepared: &Prepared<'_>) -> Result<()> {
    let source = prepared.mount.source().as_deref().unwrap_or(Path::new(kind));
    let destination = prepared.mount.destination();
    mount_at(
        target,
        source,
        kind,
        prepared.options.flags,
        &prepared.options.data.join(","),
    )
    .during("mount on", destination.display())
}

/// `mount(2)` on an open directory: it is entered, and `.` is not resolved again.
fn mount_at(target: BorrowedFd<'_>, source: &Path, kind: &str, flags: MsFlags, data: &str) -> nix::Result<()> {
    fchdir(target)?;
    let data = (!data.is_empty()).then_some(data);
    mount_call(Some(source), ".", Some(kind), flags, data)
}

/// The container's own cgroups: one file system on v2, one for each controller on v1.
fn control_groups(root: &Root, prepared: &Prepared<'_>, layout: &Layout) -> Result<()> {
    let destination = prepared.mount.destination();
    let target = root.make_dir(destination, dir_mode())?;
    let flags = prepared.options.flags;
    let source = Path::new("cgroup");
    if layout.mode == cgroup::Mode::V2 {
        return mount_at(target.as_fd(), source, "cgroup2", flags, "")
            .during("mount cgroup2 on", destination.display());
    }
    let rest = flags - MsFlags::MS_RDONLY - MsFlags::MS_RELATIME;
    mount_at(target.as_fd(), Path::new("tmpfs"), "tmpfs", rest, "mode=755")
        .during("mount on", destination.display())?;
    let top = root
        .open(destination, libc::O_PATH | libc::O_DIRECTORY)
        .during("open", destination.display())?;
    for hierarchy in layout
        .v1
        .iter()
        .filter(|h| h.controllers.iter().any(|c| SHOWN.contains(c)))
    {
        let names = hierarchy.controllers.join(",");
        mkdirat(&top, names.as_str(), dir_mode()).during("make", destination.join(&names).display())?;
        let dir = open_beneath(
            top.as_fd(),
            &PathBuf::from(&names),
            libc::O_PATH | libc::O_DIRECTORY,
            0,
            Scope::NoLinks,
        );
        let dir = dir.during("open", destination.join(&names).display())?;
        match mount_at(dir.as_fd(), source, "cgroup", flags, &names) {
            // EBUSY: this kernel has the controllers in other groups than the machine's mounts say.
            Ok(()) | Err(Errno::EBUSY) => {}
            Err(error) => return Err(error).during("mount cgroup on", destination.join(&names).display()),
        }
        if hierarchy.controllers.len() > 1 {
            for controller in &hierarchy.controllers {
                symlinkat(names.as_str(), &top, *controller).during("make", destination.join(controller).display())?;
            }
        }
    }
    if flags.contains(MsFlags::MS_RDONLY) {
        let read_only = Attributes {
            set: libc::MOUNT_ATTR_RDONLY,
            ..Attributes::default()
        };
        set_attributes(&top, false, read_only).during("make read-only", destination.display())?;
    }
    Ok(())
}

/// The v1 controllers a container is shown: those whose limits programs look at. `cpuset` is among them although not
/// every container is in one of its own, because a JVM that does not find it ignores the memory limit as well.
const SHOWN: [&str; 5] = ["cpu", "cpuacct", "cpuset", "memory", "pids"];
