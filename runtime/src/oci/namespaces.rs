//! The namespaces a configuration asks for.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType};

use crate::broken;
use crate::document::Document;
use crate::error::{During, Error, Result};
use crate::init::sysctl::Own;
use crate::sys::namespace::kind_of;

/// What is to be made, and what is to be joined.
#[derive(Debug)]
pub struct Namespaces {
    /// `CLONE_NEW*` of the new ones.
    pub new: i32,
    /// Those to be joined after the clone.
    pub joined: Vec<(OwnedFd, CloneFlags)>,
    /// Those to be joined before it, and left again.
    before: Vec<(OwnedFd, CloneFlags)>,
    /// A user namespace to be joined.
    pub user: Option<OwnedFd>,
    /// A mount namespace to be joined.
    pub mount: Option<OwnedFd>,
    /// What the clocks of a new time namespace are ahead by, as the kernel reads it.
    clocks: Option<String>,
    /// A new cgroup namespace.
    pub cgroup: bool,
    /// The mount namespace is not the container's own.
    pub shared_mounts: bool,
    /// Which are not the machine's.
    pub own: Own,
}

impl Namespaces {
    /// Opens those to be joined.
    ///
    /// # Errors
    /// A path that leads to no such namespace, or kinds that do not go together.
    pub fn open(document: &Document) -> Result<Self> {
        let mut all = Self {
            new: 0,
            joined: Vec::new(),
            before: Vec::new(),
            user: None,
            mount: None,
            clocks: None,
            cgroup: false,
            shared_mounts: true,
            own: Own::default(),
        };
        for namespace in &document.linux.namespaces {
            all.add(namespace, document)?;
        }
        if all.new & libc::CLONE_NEWUSER != 0 {
            if all.shared_mounts {
                return Err(Error::Invalid(
                    "a new user namespace needs a new mount namespace: it has no rights over another".to_owned(),
                ));
            }
            // In its own user namespace the process has no rights over them any more.
            all.before.append(&mut all.joined);
        }
        Ok(all)
    }

    /// Whether there is a PID namespace whose first process is the container's.
    pub fn leads(&self) -> bool {
        self.new & libc::CLONE_NEWPID != 0
    }

    /// A network namespace to be joined.
    pub fn network(&self) -> Option<BorrowedFd<'_>> {
        let mut all = self.joined.iter().chain(&self.before);
        all.find(|(_, kind)| *kind == CloneFlags::CLONE_NEWNET)
            .map(|(namespace, _)| namespace.as_fd())
    }

    fn add(&mut self, namespace: &LinuxNamespace, document: &Document) -> Result<()> {
        let kind = namespace.typ();
        let flag = CloneFlags::from_bits_retain(kind as i32);
        let path = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty());
        let opened = path.map(|path| open(path, kind)).transpose()?;
        // One that is joined is the pod's, whose parameters may be set as well; unless it is the machine's own.
        let again = path.filter(|_| broken::lacks("namespaces-opened-once"));
        let again = again.map(|path| open(path, kind)).transpose()?;
        let own = again
            .as_ref()
            .or(opened.as_ref())
            .is_none_or(|opened| !is_callers(opened, kind));
        match kind {
            LinuxNamespaceType::Network => self.own.network = own,
            LinuxNamespaceType::Ipc => self.own.ipc = own,
            LinuxNamespaceType::Uts => self.own.uts = own,
            LinuxNamespaceType::User => self.own.user = own,
            _ => {}
        }
        match (kind, opened.map(OwnedFd::from)) {
            (LinuxNamespaceType::Pid, Some(opened)) => self.before.push((opened, flag)),
            (LinuxNamespaceType::User, Some(opened)) => self.user = own.then_some(opened),
            (LinuxNamespaceType::Mount, Some(opened)) => self.mount = Some(opened),
            (_, Some(opened)) => self.joined.push((opened, flag)),
            (LinuxNamespaceType::Mount, None) => {
                self.new |= flag.bits();
                self.shared_mounts = false;
            }
            // Its root is where the process is only after it was limited.
            (LinuxNamespaceType::Cgroup, None) => self.cgroup = true,
            (LinuxNamespaceType::Time, None) => self.clocks = Some(clocks(document)),
            (_, None) => self.new |= flag.bits(),
        }
        Ok(())
    }

    /// Joins and makes what the clone inherits.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn enter(&self) -> Result<Entered> {
        let mut entered = Entered(Vec::new());
        for (namespace, kind) in &self.before {
            entered.remember(*kind)?;
            setns(namespace, *kind).during("join", "a namespace")?;
        }
        if let Some(clocks) = &self.clocks {
            const OFFSETS: &str = "/proc/self/timens_offsets";
            // It is made for the children, before the first of whom its clocks can be set: time_namespaces(7).
            let kind = CloneFlags::from_bits_retain(LinuxNamespaceType::Time as i32);
            entered.remember(kind)?;
            match unshare(kind) {
                Err(nix::errno::Errno::EINVAL) => {
                    return Err(Error::Invalid("this kernel has no time namespaces".to_owned()));
                }
                other => other.during("make", "a time namespace")?,
            }
            if !clocks.is_empty() {
                fs::write(OFFSETS, clocks).during("write", OFFSETS)?;
            }
        }
        Ok(entered)
    }
}

/// Namespaces that the caller has left for a moment.
#[derive(Debug)]
pub struct Entered(Vec<(OwnedFd, CloneFlags)>);

impl Entered {
    fn remember(&mut self, kind: CloneFlags) -> Result<()> {
        let path = Path::new("/proc/self/ns").join(file_name(kind.bits()));
        let opened = File::open(&path).during("open", path.display())?;
        self.0.push((opened.into(), kind));
        Ok(())
    }

    /// Goes back.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn leave(self) -> Result<()> {
        let back = |(namespace, kind): &(OwnedFd, CloneFlags)| setns(namespace, *kind);
        self.0
            .iter()
            .try_for_each(back)
            .during("return to", "the own namespaces")
    }
}

/// Opens a namespace; what is there in its place is not waited for.
fn open(path: &Path, kind: LinuxNamespaceType) -> Result<File> {
    let opened = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    let opened = opened.during("open the namespace", path.display())?;
    if kind_of(opened.as_fd()).ok() != Some(kind as i32) && !broken::lacks("namespace-kinds") {
        return Err(Error::Invalid(format!("{} is no {kind} namespace", path.display())));
    }
    Ok(opened)
}

/// Whether it is the caller's own namespace. Looked at in the one that was opened: the path may lead elsewhere by now.
fn is_callers(opened: &File, kind: LinuxNamespaceType) -> bool {
    if broken::lacks("own-namespaces") {
        return false;
    }
    let own = fs::metadata(Path::new("/proc/self/ns").join(file_name(kind as i32)));
    match (opened.metadata(), own) {
        (Ok(given), Ok(own)) => (given.dev(), given.ino()) == (own.dev(), own.ino()),
        _ => false,
    }
}

fn file_name(kind: i32) -> &'static str {
    match kind {
        libc::CLONE_NEWNS => "mnt",
        libc::CLONE_NEWCGROUP => "cgroup",
        libc::CLONE_NEWUTS => "uts",
        libc::CLONE_NEWIPC => "ipc",
        libc::CLONE_NEWUSER => "user",
        libc::CLONE_NEWPID => "pid_for_children",
        libc::CLONE_NEWNET => "net",
        _ => "time_for_children",
    }
}

/// Offsets as `timens_offsets` takes them: clock, seconds, nanoseconds.
fn clocks(document: &Document) -> String {
    let offsets = document.linux.time_offsets.iter();
    offsets
        .map(|(clock, offset)| {
            let (seconds, nanoseconds) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
            format!("{clock} {seconds} {nanoseconds}\n")
        })
        .collect()
}
