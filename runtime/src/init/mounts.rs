//! The mounts of a container, each attached to a directory that was opened beneath its root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, readlinkat};
use nix::mount::{MsFlags, mount as mount_call};
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::{fchdir, symlinkat};
use oci_spec::runtime::Mount;

use super::options::Options;
use super::paths;
use super::root::{Root, is_dir};
use super::users::{self, Mappings};
use crate::broken;
use crate::cgroup::{self, Cgroup};
use crate::error::{During, Error, Result};
use crate::sys::mount::{Attributes, Context, attach, clone_link, clone_tree, map_users, set_attributes};
use crate::sys::path::{Scope, is_procfs, open_beneath};

/// A mount with its options read, and its source cloned if it is a bind mount.
#[derive(Debug)]
pub struct Prepared<'a> {
    mount: &'a Mount,
    destination: PathBuf,
    options: Options,
    tree: Option<OwnedFd>,
    /// Its file system, if that is made already.
    made: Option<OwnedFd>,
    /// Where the link leads that is its source and made again.
    link: Option<PathBuf>,
}

impl Prepared<'_> {
    /// The clone of its source.
    #[must_use]
    pub fn tree(&self) -> Option<BorrowedFd<'_>> {
        self.tree.as_ref().map(AsFd::as_fd)
    }

    /// Mounts its file system; the root of one that is not made yet has a mode if the options do not give it another.
    fn mount_at(&self, target: &OwnedFd, kind: &str, mode: Option<u32>) -> Result<()> {
        let place = self.destination.display();
        match &self.made {
            Some(made) => attach(made, target).during("mount on", place),
            None => {
                let mounted = FileSystem::new(kind, self.mount, &self.options).mount_at(target, mode);
                mounted.during("mount on", place)
            }
        }
    }
}

/// What sources are found by.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// Where relative ones begin: the bundle.
    pub base: Option<&'a Path>,
    /// The users of the container, if it has a user namespace of its own.
    pub users: Mappings<'a>,
    /// The user namespace that it joins.
    pub namespace: Option<BorrowedFd<'a>>,
    /// The context of what SELinux labels.
    pub label: Option<&'a str>,
    /// Whether the caller is in the container's namespaces, so that file systems it makes are the container's.
    pub inside: bool,
}

/// Reads the options and clones the sources of bind mounts. This comes before the mount namespace is cut off from the
/// machine's: a clone taken now still is a peer of its source, which `rshared` and `rslave` volumes are about, and the
/// machine's root, bound with all below it, does not have the container's own mounts in it. Kernels since 6.8 list mounts
/// by when their objects were made, and programs take the order of that list for the order of mounting: the usual file
/// systems are made here as well, in their places among the clones.
///
/// `shm` takes a clone of the sandbox's shared memory file system, for the mount that wants it.
///
/// # Errors
/// A source is not there, or an option not to be had.
pub fn prepare<'a>(
    mounts: &'a [Mount],
    sources: Sources<'_>,
    shm: Option<&dyn Fn() -> Result<OwnedFd>>,
) -> Result<Vec<Prepared<'a>>> {
    let mut seen: Vec<(Mappings<'a>, OwnedFd)> = Vec::new();
    let mut all = Vec::with_capacity(mounts.len());
    for mount in mounts {
        let mut options = Options::parse(mount.options().as_deref().unwrap_or_default());
        if mount.typ().as_deref() == Some("bind") && options.bind.is_none() {
            options.bind = Some(false);
        }
        let change = options.is_change(mount.typ().as_deref());
        let link = options.copy_link.then(|| copied_link(mount, sources.base)).flatten();
        let tree = match (options.bind, shm) {
            _ if change || link.is_some() => None,
            (Some(recursive), _) => Some(source(mount, &options, recursive, sources.base)?),
            (None, Some(shm)) if is_shared_memory(mount) => Some(shm()?),
            (None, _) => None,
        };
        if link.is_none() {
            id_map(mount, &options, tree.as_ref(), sources, &mut seen)?;
        }
        if let (Some(label), false) = (
            sources.label.filter(|label| !label.is_empty()),
            tree.is_some() || change,
        ) && !UNLABELLED.contains(&mount.typ().as_deref().unwrap_or_default())
        {
            options.data.push(format!("context=\"{label}\""));
        }
        let made = match mount.typ().as_deref() {
            Some(kind) if sources.inside && tree.is_none() && link.is_none() && is_plain(kind, &options) => {
                let made = FileSystem::new(kind, mount, &options).detached(options.attributes.set);
                Some(made.during("mount on", mount.destination().display())?)
            }
            _ => None,
        };
        all.push(Prepared {
            mount,
            // Relative ones begin at the root: OCI runtime specification, "Mounts".
            destination: Path::new("/").join(mount.destination()),
            options,
            tree,
            made,
            link,
        });
    }
    Ok(all)
}

/// Where the source of a mount leads, if it is a link.
fn copied_link(mount: &Mount, base: Option<&Path>) -> Option<PathBuf> {
    let source = mount.source().as_deref()?;
    std::fs::read_link(base.map_or_else(|| source.to_owned(), |base| base.join(source))).ok()
}

/// File systems whose files have labels of the kernel's own.
const UNLABELLED: [&str; 4] = ["proc", "sysfs", "cgroup", "cgroup2"];

/// Lets a mount be seen with other users: mount_setattr(2), `MOUNT_ATTR_IDMAP`.
fn id_map<'a>(
    mount: &'a Mount,
    options: &Options,
    tree: Option<&OwnedFd>,
    sources: Sources<'_>,
    seen: &mut Vec<(Mappings<'a>, OwnedFd)>,
) -> Result<()> {
    let own = Mappings {
        uids: mount.uid_mappings().as_deref().unwrap_or_default(),
        gids: mount.gid_mappings().as_deref().unwrap_or_default(),
    };
    if options.id_map.is_none() && own.is_empty() {
        return Ok(());
    }
    let see = |tree: &OwnedFd, namespace: BorrowedFd<'_>, refuse: &dyn Fn(&str) -> Result<()>| {
        match map_users(tree, namespace, options.id_map == Some(true)) {
            // All that is wrong with what is asked has been seen to: mount_setattr(2), "EINVAL".
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                refuse("this kernel cannot do it for its file system, or it is mapped already")
            }
            other => other.during("map the users of the mount on", mount.destination().display()),
        }
    };
    let destination = mount.destination().display();
    let refuse = |why: &str| {
        Err(Error::Invalid(format!(
            "the mount on {destination} cannot be id-mapped: {why}"
        )))
    };
    let Some(tree) = tree else {
        return refuse("only bind mounts can");
    };
    if let Some(text) = &options.id_mappings {
        let Some((uids, gids)) = users::parse(text, sources.users) else {
            return refuse("its mappings are not of the form uids=0-1000-10;gids=0-1000-10");
        };
        let mappings = Mappings {
            uids: &uids,
            gids: &gids,
        };
        return see(tree, mappings.namespace()?.as_fd(), &refuse);
    }
    if !seen.iter().any(|(mappings, _)| *mappings == own) {
        let mappings = if own.is_empty() { sources.users } else { own };
        let namespace = match sources.namespace.filter(|_| own.is_empty()) {
            Some(joined) => joined.try_clone_to_owned().during("copy", "a namespace")?,
            None if mappings.is_empty() => {
                return refuse("it has no mappings, and the container no user namespace whose it could have");
            }
            None => mappings.namespace()?,
        };
        seen.push((own, namespace));
    }
    let Some((_, namespace)) = seen.iter().find(|(mappings, _)| *mappings == own) else {
        return Ok(());
    };
    see(tree, namespace.as_fd(), &refuse)
}

/// The mount that all containers of a sandbox share, because POSIX shared memory lives in it.
fn is_shared_memory(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("tmpfs")
        && mount.source().as_deref() == Some(Path::new("shm"))
        && mount.destination() == Path::new("/dev/shm")
}

/// Clones the source of a bind mount and gives the clone its attributes.
fn source(mount: &Mount, options: &Options, recursive: bool, base: Option<&Path>) -> Result<OwnedFd> {
    let path = mount
        .source()
        .as_deref()
        .ok_or_else(|| Error::Invalid(format!("the mount on {} has no source", mount.destination().display())))?;
    let whole = base.map(|base| base.join(path));
    let path = whole.as_deref().unwrap_or(path);
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
        None if options.source_link => clone_link(AT_FDCWD, path),
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

/// What the container's own cgroups are shown by.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Its cgroup.
    pub cgroup: &'a Cgroup<'a>,
    /// The process has a cgroup namespace, whose root its cgroup is.
    pub namespace: bool,
}

/// Attaches everything in the document's order. The working directory is wherever the last one was. `limited` is called
/// before the first cgroup mount, which shows the cgroups the process is in by then. What is bound on `/` is the root
/// from then on.
///
/// # Errors
/// A destination is not what it should be, or the kernel refuses.
pub fn attach_all(
    root: &mut Root,
    prepared: &[Prepared<'_>],
    shown: Shown<'_>,
    limited: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    for prepared in prepared {
        let (destination, options) = (&prepared.destination, &prepared.options);
        match prepared.mount.typ().as_deref() {
            kind if options.is_change(kind) => {
                super::remount::change(root, destination, kind, options)?;
                continue;
            }
            _ if prepared.link.is_some() => {
                copy_link(root, prepared)?;
                continue;
            }
            _ if prepared.tree.is_some() => {
                bind(root, prepared)?;
                continue;
            }
            _ if destination == Path::new("/") => {
                return Err(Error::Invalid("only bind mounts can be mounted on /".to_owned()));
            }
            Some("cgroup" | "cgroup2") => {
                limited()?;
                control_groups(root, prepared, shown)?;
            }
            Some(kind @ ("proc" | "sysfs")) => {
                prepared.mount_at(&in_place(root, destination, kind)?, kind, None)?;
            }
            Some("tmpfs") if options.copy_up => {
                let target = root.make_dir(destination, dir_mode())?;
                refuse_procfs(&target, destination)?;
                let below = open_beneath(
                    target.as_fd(),
                    Path::new("."),
                    libc::O_RDONLY | libc::O_DIRECTORY,
                    0,
                    Scope::NoLinks,
                );
                let below = below.during("open", destination.display())?;
                let mut file_system = FileSystem::new("tmpfs", prepared.mount, options);
                file_system.flags -= MsFlags::MS_RDONLY;
                let mounted = file_system.mount_at(&target, None);
                mounted.during("mount on", destination.display())?;
                let above = root.open(destination, libc::O_RDONLY | libc::O_DIRECTORY);
                super::copyup::copy(&below, &above.during("open", destination.display())?)?;
                if options.flags.contains(MsFlags::MS_RDONLY) {
                    super::remount::set(root, destination, false, READ_ONLY)?;
                }
            }
            Some(kind) => {
                // One that is made already has its mode.
                let covered = (kind == "tmpfs" && prepared.made.is_none())
                    .then(|| root.open(destination, libc::O_PATH | libc::O_DIRECTORY).ok());
                let target = root.make_dir(destination, dir_mode())?;
                refuse_procfs(&target, destination)?;
                prepared.mount_at(&target, kind, covered.flatten().as_ref().and_then(mode_of))?;
            }
            None => {
                return Err(Error::Invalid(format!(
                    "the mount on {} has no type",
                    destination.display()
                )));
            }
        }
        super::remount::finish(root, destination, options)?;
    }
    Ok(())
}

const READ_ONLY: Attributes = Attributes {
    set: libc::MOUNT_ATTR_RDONLY,
    clear: 0,
    propagation: 0,
};

fn dir_mode() -> Mode {
    Mode::from_bits_truncate(0o755)
}

/// Makes a link again that is a mount's source; the same one may be there.
fn copy_link(root: &Root, prepared: &Prepared<'_>) -> Result<()> {
    let (Some(link), destination) = (&prepared.link, prepared.destination.as_path()) else {
        return Ok(());
    };
    let (Some(parent), Some(name)) = (destination.parent(), destination.file_name()) else {
        return Err(Error::Invalid(format!("{} cannot be a link", destination.display())));
    };
    let parent = root.make_dir(parent, dir_mode())?;
    refuse_procfs(&parent, destination)?;
    match symlinkat(link, &parent, name) {
        Err(Errno::EEXIST) if readlinkat(&parent, name).is_ok_and(|there| there == *link) => Ok(()),
        other => other.during("make link", destination.display()),
    }
}

fn bind(root: &mut Root, prepared: &Prepared<'_>) -> Result<()> {
    let (Some(tree), destination) = (&prepared.tree, prepared.destination.as_path()) else {
        return Ok(());
    };
    let target = if is_dir(tree) {
        root.make_dir(destination, dir_mode())?
    } else {
        root.make_file(destination)?
    };
    if !FAKEABLE.iter().any(|name| destination == Path::new("/proc").join(name)) {
        refuse_procfs(&target, destination)?;
    }
    attach(tree, &target).during("mount on", destination.display())?;
    if destination == Path::new("/") {
        *root = Root::new(tree.try_clone().during("copy", "a mount")?);
    }
    Ok(())
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
pub fn refuse_procfs(target: &OwnedFd, destination: &Path) -> Result<()> {
    if destination != Path::new("/proc") && is_procfs(target.as_fd()) && !broken::lacks("untouched-procfs") {
        return Err(Error::Invalid(format!(
            "{} is inside procfs, nothing may be mounted there",
            destination.display()
        )));
    }
    Ok(())
}

/// Opens, or makes, the directory for a file system of the kernel's own. With a link on the way the container's files
/// would look like the kernel's (CVE-2019-19921).
fn in_place(root: &Root, destination: &Path, kind: &str) -> Result<OwnedFd> {
    let open = || root.open_plain(destination, libc::O_PATH | libc::O_DIRECTORY);
    let opened = match open() {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
            root.make_dir(destination, dir_mode())?;
            open()
        }
        opened => opened,
    };
    match opened {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Err(Error::Invalid(format!(
            "{kind} must be mounted on ordinary directory {}: there is a link",
            destination.display()
        ))),
        opened => opened.during("open as an ordinary directory", destination.display()),
    }
}

/// The permissions of an open file.
fn mode_of(file: &OwnedFd) -> Option<u32> {
    fstat(file).ok().map(|stat| stat.st_mode & 0o7777)
}

/// Whether a file system can be made before there is anything to mount it on, and is the same then.
fn is_plain(kind: &str, options: &Options) -> bool {
    let has = |key: &str| options.data.iter().any(|word| word.starts_with(key));
    let known = match kind {
        // Without a mode it gets that of the directory that it covers.
        "tmpfs" => has("mode=") && !options.copy_up,
        _ => matches!(kind, "proc" | "sysfs" | "devpts" | "mqueue"),
    };
    // Quotes and words for the file system as a whole are for mount(2) to understand.
    known && !options.is_change(Some(kind)) && !has("context=") && !options.of_superblock()
}

/// A file system to be made.
struct FileSystem<'a> {
    kind: &'a str,
    source: &'a Path,
    flags: MsFlags,
    words: &'a [String],
}

impl<'a> FileSystem<'a> {
    fn new(kind: &'a str, mount: &'a Mount, options: &'a Options) -> Self {
        let late = if holds_devices(mount) {
            MsFlags::MS_RDONLY
        } else {
            MsFlags::empty()
        };
        Self {
            kind,
            source: mount.source().as_deref().unwrap_or(Path::new(kind)),
            flags: options.flags - late,
            words: if broken::lacks("tmpfs-size") {
                &[]
            } else {
                &options.data
            },
        }
    }

    /// Makes it attached nowhere yet; the mount of it has `MOUNT_ATTR_*`.
    fn detached(&self, mut attributes: u64) -> std::io::Result<OwnedFd> {
        let context = Context::open(self.kind)?;
        context.set("source", self.source)?;
        if self.flags.contains(MsFlags::MS_RDONLY) {
            context.flag("ro")?;
        } else {
            attributes &= !libc::MOUNT_ATTR_RDONLY;
        }
        for word in self.words {
            match word.split_once('=') {
                Some((key, value)) => context.set(key, Path::new(value))?,
                None => context.flag(word)?,
            }
        }
        context.mount(attributes)
    }

    /// Makes it on a directory; its root has a mode if the words do not give it another.
    fn mount_at(&self, target: &OwnedFd, mode: Option<u32>) -> nix::Result<()> {
        let mut data = self.words.join(",");
        if let Some(mode) = mode.filter(|_| !self.words.iter().any(|word| word.starts_with("mode="))) {
            let comma = if data.is_empty() { "" } else { "," };
            data = format!("{data}{comma}mode={mode:o}");
        }
        mount_at(target.as_fd(), self.source, self.kind, self.flags, &data)
    }
}

/// Whether a mount is where devices and other mounts are put, so that it becomes read-only when all of them are there.
fn holds_devices(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("tmpfs") && Path::new("/").join(mount.destination()) == Path::new("/dev")
}

/// Makes a `/dev` read-only that is to be: everything is in it.
///
/// # Errors
/// The kernel refuses.
pub fn close_devices(root: &Root, mounts: &[Mount]) -> Result<()> {
    let options = |mount: &Mount| Options::parse(mount.options().as_deref().unwrap_or_default());
    match mounts.iter().rfind(|mount| holds_devices(mount)).map(options) {
        Some(options) if !options.remount && options.flags.contains(MsFlags::MS_RDONLY) => {
            super::remount::set(root, Path::new("/dev"), false, READ_ONLY)
        }
        _ => Ok(()),
    }
}

/// `mount(2)` on an open directory: it is entered, and `.` is not resolved again.
fn mount_at(target: BorrowedFd<'_>, source: &Path, kind: &str, flags: MsFlags, data: &str) -> nix::Result<()> {
    fchdir(target)?;
    let data = (!data.is_empty()).then_some(data);
    mount_call(Some(source), ".", Some(kind), flags, data)
}

/// The container's own cgroups: one file system on v2, one for each controller on v1. Without a cgroup namespace a v1
/// file system would show the machine's from its root, and a user namespace may not mount one of v2; there the
/// container's own directories are bound.
fn control_groups(root: &Root, prepared: &Prepared<'_>, shown: Shown<'_>) -> Result<()> {
    let layout = shown.cgroup.layout();
    let destination = &prepared.destination;
    let target = root.make_dir(destination, dir_mode())?;
    refuse_procfs(&target, destination)?;
    let mut flags = prepared.options.flags;
    if broken::lacks("read-only-cgroups") {
        flags.remove(MsFlags::MS_RDONLY);
    }
    let source = prepared.mount.source().as_deref().unwrap_or(Path::new("cgroup"));
    if layout.mode == cgroup::Mode::V2 {
        return match mount_at(target.as_fd(), source, "cgroup2", flags, "") {
            // Its user namespace is not the one that made its cgroup namespace.
            Err(Errno::EPERM) => bind_cgroup(&shown.cgroup.tracker(), &target, prepared.options.attributes),
            other => other.during("mount cgroup2 on", destination.display()),
        };
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
        if shown.namespace {
            match mount_at(dir.as_fd(), source, "cgroup", flags, &names) {
                // EBUSY: this kernel has the controllers in other groups than the machine's mounts say.
                Ok(()) | Err(Errno::EBUSY) => {}
                Err(error) => return Err(error).during("mount cgroup on", destination.join(&names).display()),
            }
            if !shown.cgroup.dir(hierarchy).exists() && !broken::lacks("own-cgroups-only") {
                // It is in the hierarchy's root there, from where everybody's cgroups are seen.
                let cover = paths::empty_directory().during("make a cover for", destination.join(&names).display())?;
                let mounted = open_beneath(top.as_fd(), Path::new(&names), libc::O_PATH, 0, Scope::NoLinks);
                let mounted = mounted.during("open", destination.join(&names).display())?;
                attach(&cover, &mounted).during("cover", destination.join(&names).display())?;
            }
        } else {
            bind_cgroup(&shown.cgroup.dir(hierarchy), &dir, prepared.options.attributes)?;
        }
        if hierarchy.controllers.len() > 1 {
            for controller in &hierarchy.controllers {
                symlinkat(names.as_str(), &top, *controller).during("make", destination.join(controller).display())?;
            }
        }
    }
    if flags.contains(MsFlags::MS_RDONLY) {
        set_attributes(&top, false, READ_ONLY).during("make read-only", destination.display())?;
    }
    Ok(())
}

/// Shows one cgroup. A hierarchy in which the container has none of its own stays empty.
fn bind_cgroup(own: &Path, target: &OwnedFd, attributes: Attributes) -> Result<()> {
    let tree = match clone_tree(AT_FDCWD, own, false) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
        other => other.during("bind", own.display())?,
    };
    let private = Attributes {
        propagation: libc::MS_PRIVATE,
        ..attributes
    };
    set_attributes(&tree, false, private).during("set the options of", own.display())?;
    attach(&tree, target).during("mount", own.display())
}

/// The v1 controllers a container is shown: those whose limits programs look at. `cpuset` is among them although not
/// every container is in one of its own, because a JVM that does not find it mounted ignores the memory limit as well.
const SHOWN: [&str; 5] = ["cpu", "cpuacct", "cpuset", "memory", "pids"];
