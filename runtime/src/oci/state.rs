//! What is kept of a container, and what the kernel says of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Global;
use super::arguments::Arguments;
use crate::document::Document;
use crate::error::{During, Error, Result};
use crate::init::check_id;
use crate::records;
use crate::sys::process::{has_executed, pidfd_open};

/// The version of the OCI runtime specification that is followed.
pub const OCI_VERSION: &str = "1.2.0";

/// The state file.
const STATE: &str = "state.json";
/// The configuration as it was when the container was made.
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
    /// When that started, which with the pid names it for good; 0 before it was cloned.
    pub start_ticks: u64,
    /// The bundle it was made from.
    pub bundle: PathBuf,
    /// Its root file system.
    pub rootfs: PathBuf,
    /// Its cgroup below every hierarchy.
    pub cgroup: PathBuf,
    /// When it was made.
    pub created: String,
    /// As in the configuration.
    pub annotations: BTreeMap<String, String>,
}

/// The status of the OCI runtime specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being made.
    Creating,
    /// Waits for the start.
    Created,
    /// Executed.
    Running,
    /// Ended.
    Stopped,
}

/// The state of the OCI runtime specification.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State<'a> {
    oci_version: &'static str,
    id: &'a str,
    status: Status,
    #[serde(skip_serializing_if = "is_zero")]
    pid: i32,
    bundle: &'a Path,
    rootfs: &'a Path,
    created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde wants")]
fn is_zero(pid: &i32) -> bool {
    *pid == 0
}

/// A container's directory.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Names it.
    pub fn new(global: &Global, id: &str) -> Result<Self> {
        check_id(id)?;
        Ok(Self(global.root.join(id)))
    }

    /// Makes it; there already means that the id is taken.
    pub fn make(&self) -> Result<()> {
        let parent = self.0.parent().unwrap_or(Path::new("/"));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .during("make", parent.display())?;
        match fs::DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Error::Exists(format!("container {}", self.name())))
            }
            other => other.during("make", self.0.display()),
        }
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

    /// Keeps the configuration.
    pub fn write_config(&self, text: &[u8]) -> Result<()> {
        records::replace(&self.0.join(CONFIG), text)
    }

    /// Reads the state.
    pub fn read(&self) -> Result<Stored> {
        let path = self.0.join(STATE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::NotFound(format!("container {}", self.name())));
            }
            other => other.during("read", path.display())?,
        };
        serde_json::from_slice(&text).map_err(|source| Error::Document {
            object: path.display().to_string(),
            source,
        })
    }

    /// Reads the configuration that was kept.
    pub fn read_config(&self) -> Result<Document> {
        read_document(&self.0.join(CONFIG)).map(|(_, document)| document)
    }

    /// Removes it with all that is in it; gone already is fine.
    pub fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).during("remove", self.0.display()),
            _ => Ok(()),
        }
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
    /// A descriptor of the first process if it still lives.
    pub fn process(&self) -> Option<OwnedFd> {
        let pidfd = (self.pid > 0).then(|| pidfd_open(self.pid).ok())??;
        // Looked at after the descriptor was taken: it cannot have become another process in between.
        (records::start_ticks(self.pid) == Some(self.start_ticks)).then_some(pidfd)
    }

    /// What the kernel says.
    pub fn status(&self) -> Status {
        match self.process() {
            None if self.start_ticks == 0 => Status::Creating,
            None => Status::Stopped,
            Some(_) if has_executed(self.pid) => Status::Running,
            Some(_) => Status::Created,
        }
    }

    /// The state as the specification has it.
    pub fn describe(&self) -> State<'_> {
        let status = self.status();
        State {
            oci_version: OCI_VERSION,
            id: &self.id,
            status,
            pid: if status == Status::Stopped { 0 } else { self.pid },
            bundle: &self.bundle,
            rootfs: &self.rootfs,
            created: &self.created,
            annotations: &self.annotations,
        }
    }
}

/// `state`.
pub fn print(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let id = Arguments::parse(arguments, &[])?.only("a container's id")?;
    let stored = Directory::new(global, &id)?.read()?;
    let text = serde_json::to_string_pretty(&stored.describe());
    println!(
        "{}",
        text.map_err(|source| Error::Document {
            object: "the state".to_owned(),
            source
        })?
    );
    Ok(0)
}
