//! What is kept of a container, and what the kernel says of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::arguments::{Arguments, Order};
use super::global::Global;
use crate::broken;
use crate::cgroup;
use crate::document::{Document, OCI_VERSION};
use crate::error::{During, Error, Result};
use crate::init::hooks::Told;
use crate::init::{Keyring, check_id};
use crate::procfs::Stat;
use crate::records;
use crate::resctrl::Group;
use crate::sys::process::{pidfd_open, unique_number};
use crate::systemd::Scope;

/// The state file.
const STATE: &str = "state.json";
/// The configuration as it was when the container was made, with later changes of its limits.
const CONFIG: &str = "config.json";
/// Where a container that was made waits for its start.
const SOCKET: &str = "start.sock";

/// A container's own file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored {
    /// Its id.
    pub id: String,
    /// Its first process.
    pub pid: i32,
    /// When that started, which with the pid names it, unless all pids come round in a hundredth of a second; 0 before
    /// it was cloned.
    pub start_ticks: u64,
    /// The kernel's number for that process alone, 0 where the kernel has none.
    #[serde(default)]
    pub unique: u64,
    /// It has a PID namespace of its own, so that all of it ends with its first process.
    pub pid_namespace: bool,
    /// Its session keyring, if it has one of its own. The name is not only the id: another may have that later.
    pub keyring: Option<String>,
    /// The bundle it was made from.
    pub bundle: PathBuf,
    /// Its root file system.
    pub rootfs: PathBuf,
    /// Its cgroup below every hierarchy.
    pub cgroup: PathBuf,
    /// The directory of that in the tracker.
    pub tracker: PathBuf,
    /// systemd has made its cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Something is to be done at its start or at its end: its configuration has to be read again then.
    #[serde(default)]
    pub attended: bool,
    /// The mount its root file system was on, if it is mounted in the runtime's own mount namespace.
    #[serde(default)]
    pub mounted_on: Option<u64>,
    /// Its class of cache and memory bandwidth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<Group>,
    /// When it was made.
    pub created: String,
    /// As in the configuration.
    pub annotations: BTreeMap<String, String>,
}

/// The status of the OCI runtime specification, and `paused`, which engines know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being made.
    Creating,
    /// Waits for the start.
    Created,
    /// Executed.
    Running,
    /// Executed, and frozen.
    Paused,
    /// Ended.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// The state of the OCI runtime specification.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State<'a> {
    oci_version: &'static str,
    id: &'a str,
    /// 0 when it has stopped.
    pub pid: i32,
    /// What the kernel said.
    pub status: Status,
    bundle: &'a Path,
    rootfs: &'a Path,
    created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// A container's directory.
#[derive(Debug)]
pub struct Directory(PathBuf);

/// Held by whoever changes a container; the kernel lets go of it when its holder dies.
pub type Lock = Flock<File>;

impl Directory {
    /// Names it.
    pub fn new(global: &Global, id: &str) -> Result<Self> {
        check_id(id)?;
        Ok(Self(global.root.join(id)))
    }

    /// Makes and locks it; there already means that the id is taken.
    pub fn make(&self) -> Result<Lock> {
        let parent = self.0.parent().unwrap_or(Path::new("/"));
        let make = || fs::DirBuilder::new().mode(0o700).create(&self.0);
        let made = match make() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let parents = fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
                parents.during("make", parent.display())?;
                make()
            }
            made => made,
        };
        match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Error::Exists(format!("container {}", self.name())))
            }
            Err(error) => Err(error).during("make", self.0.display()),
            Ok(()) => self.lock(),
        }
    }

    /// Locks it, when whoever changes it is done.
    pub fn lock(&self) -> Result<Lock> {
        let opened = match File::open(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(self.missing()),
            opened => opened.during("open", self.0.display())?,
        };
        let mut opened = opened;
        let lock = loop {
            match Flock::lock(opened, FlockArg::LockExclusive) {
                Ok(lock) => break lock,
                Err((again, Errno::EINTR)) => opened = again,
                Err((_, error)) => return Err(error).during("lock", self.0.display()),
            }
        };
        // Deleted meanwhile, by whoever held it.
        match lock.metadata() {
            Ok(metadata) if metadata.nlink() > 0 => Ok(lock),
            _ => Err(self.missing()),
        }
    }

    /// Whether somebody is changing the container now.
    fn is_locked(&self) -> bool {
        let locked = File::open(&self.0).map(|opened| Flock::lock(opened, FlockArg::LockSharedNonblock).is_err());
        locked.unwrap_or(false)
    }

    fn missing(&self) -> Error {
        Error::NotFound(format!("container {}", self.name()))
    }

    fn name(&self) -> String {
        self.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Where a container waits for its start.
    pub fn socket(&self) -> PathBuf {
        self.0.join(SOCKET)
    }

    /// Writes the state.
    pub fn write(&self, state: &Stored) -> Result<()> {
        records::replace(&self.0.join(STATE), &records::to_json(state))
    }

    /// Keeps the configuration of a container that is being made. Nobody reads it before there is a state.
    pub fn keep_config(&self, text: &[u8]) -> Result<()> {
        records::write_new(&self.0.join(CONFIG), text)
    }

    /// Replaces the configuration.
    pub fn write_config(&self, text: &[u8]) -> Result<()> {
        records::replace(&self.0.join(CONFIG), text)
    }

    /// Reads the state.
    pub fn read(&self) -> Result<Stored> {
        let path = self.0.join(STATE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(self.missing()),
            other => other.during("read", path.display())?,
        };
        serde_json::from_slice(&text).map_err(|source| Error::Document {
            object: path.display().to_string(),
            source,
        })
    }

    /// The configuration that was kept, as text.
    pub fn config_text(&self) -> Result<String> {
        let path = self.0.join(CONFIG);
        fs::read_to_string(&path).during("read", path.display())
    }

    /// The configuration that was kept, if something in it is to be done still.
    pub fn attended(&self, stored: &Stored) -> Result<Option<Document>> {
        if !stored.attended {
            return Ok(None);
        }
        read_document(&self.0.join(CONFIG)).map(|(_, document)| Some(document))
    }

    /// Removes it with all that is in it; gone already is fine.
    pub fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).during("remove", self.0.display()),
            _ => Ok(()),
        }
    }

    /// What the kernel says of a container.
    pub fn status(&self, stored: &Stored) -> Status {
        if stored.start_ticks != 0 {
            return stored.status();
        }
        // Nobody is making it: whoever began has died.
        if self.is_locked() {
            Status::Creating
        } else {
            Status::Stopped
        }
    }

    /// The state as the specification has it.
    pub fn describe<'a>(&self, stored: &'a Stored) -> State<'a> {
        stored.describe(self.status(stored))
    }
}

/// Reads a configuration, as text and taken apart.
pub fn read_document(path: &Path) -> Result<(String, Document)> {
    let text = fs::read_to_string(path).during("read", path.display())?;
    let document = serde_json::from_str(&text).map_err(|source| Error::Document {
        object: path.display().to_string(),
        source,
    })?;
    Ok((text, document))
}

impl Stored {
    /// The session keyring of its first process.
    pub fn new_keyring(&self) -> Keyring<'_> {
        self.keyring.as_deref().map_or(Keyring::Inherited, Keyring::New)
    }

    /// The session keyring of what is executed in it.
    pub fn keyring(&self) -> Keyring<'_> {
        self.keyring.as_deref().map_or(Keyring::Inherited, Keyring::Of)
    }

    /// A descriptor of the first process if it still lives, and what procfs says of it. The pid alone may mean another
    /// process by now.
    pub fn process(&self) -> Option<(OwnedFd, Stat)> {
        let pidfd = (self.pid > 0).then(|| pidfd_open(self.pid).ok())??;
        // Looked at after the descriptor was taken: it cannot have become another process in between.
        let number = unique_number(pidfd.as_fd());
        let same = |stat: &Stat| {
            stat.start_ticks == self.start_ticks && (self.unique == 0 || self.unique == number)
                || broken::lacks("start-time")
        };
        let stat = Stat::of(self.pid).filter(|stat| same(stat) && !stat.is_ending())?;
        Some((pidfd, stat))
    }

    fn status(&self) -> Status {
        match self.process() {
            None => Status::Stopped,
            Some((_, stat)) if !stat.has_executed() => Status::Created,
            Some(_) if cgroup::is_frozen(&self.tracker) => Status::Paused,
            Some(_) => Status::Running,
        }
    }

    /// What hooks are told of it.
    pub fn told(&self) -> Told<'_> {
        Told::new(&self.id, &self.bundle, &self.annotations)
    }

    /// The state as the specification has it, with a status of which the caller knows better than the kernel.
    pub fn describe(&self, status: Status) -> State<'_> {
        State {
            oci_version: OCI_VERSION,
            id: &self.id,
            pid: if status == Status::Stopped { 0 } else { self.pid },
            status,
            bundle: &self.bundle,
            rootfs: &self.rootfs,
            created: &self.created,
            annotations: &self.annotations,
        }
    }
}

/// `state`.
pub fn print(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let id = Arguments::parse(arguments, &[], Order::Anywhere)?.only("a container's id")?;
    let directory = Directory::new(global, &id)?;
    let stored = directory.read()?;
    let text = serde_json::to_string_pretty(&directory.describe(&stored));
    println!(
        "{}",
        text.map_err(|source| Error::Document {
            object: "the state".to_owned(),
            source
        })?
    );
    Ok(0)
}
