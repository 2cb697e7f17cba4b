//! The namespaces a configuration asks for.

use std::fs::File;
use std::os::fd::OwnedFd;

use nix::sched::CloneFlags;
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType};

use crate::document::Document;
use crate::error::{During, Error, Result};
use crate::init::sysctl::Own;

/// What is to be made, and what is to be joined.
#[derive(Debug)]
pub struct Namespaces {
    /// `CLONE_NEW*` of the new ones.
    pub new: i32,
    /// Those to be joined after the clone.
    pub joined: Vec<(OwnedFd, CloneFlags)>,
    /// The one to be joined before it.
    pub pid: Option<OwnedFd>,
    /// A new cgroup namespace.
    pub cgroup: bool,
    /// Which are not the machine's.
    pub own: Own,
}

impl Namespaces {
    /// Opens those to be joined.
    ///
    /// # Errors
    /// A kind that is not supported, or a path that leads nowhere.
    pub fn open(document: &Document) -> Result<Self> {
        let none = Own {
            network: false,
            ipc: false,
            uts: false,
        };
        let mut all = Self {
            new: libc::CLONE_NEWNS,
            joined: Vec::new(),
            pid: None,
            cgroup: false,
            own: none,
        };
        for namespace in &document.linux.namespaces {
            all.add(namespace)?;
        }
        Ok(all)
    }

    /// Whether there is a PID namespace whose first process is the container's.
    pub fn leads(&self) -> bool {
        self.new & libc::CLONE_NEWPID != 0
    }

    fn add(&mut self, namespace: &LinuxNamespace) -> Result<()> {
        let path = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty());
        let flag = match namespace.typ() {
            LinuxNamespaceType::Mount if path.is_some() => {
                return Err(Error::Invalid("joining a mount namespace is not supported".to_owned()));
            }
            LinuxNamespaceType::User | LinuxNamespaceType::Time => {
                return Err(Error::Invalid(format!(
                    "{} namespaces are not supported",
                    namespace.typ()
                )));
            }
            LinuxNamespaceType::Mount => return Ok(()),
            LinuxNamespaceType::Cgroup => CloneFlags::CLONE_NEWCGROUP,
            LinuxNamespaceType::Uts => CloneFlags::CLONE_NEWUTS,
            LinuxNamespaceType::Ipc => CloneFlags::CLONE_NEWIPC,
            LinuxNamespaceType::Pid => CloneFlags::CLONE_NEWPID,
            LinuxNamespaceType::Network => CloneFlags::CLONE_NEWNET,
        };
        // A namespace that is joined is the pod's, whose parameters may be set as well.
        self.own.network |= flag == CloneFlags::CLONE_NEWNET;
        self.own.ipc |= flag == CloneFlags::CLONE_NEWIPC;
        self.own.uts |= flag == CloneFlags::CLONE_NEWUTS;
        match path {
            Some(path) => {
                let opened: OwnedFd = File::open(path).during("open the namespace", path.display())?.into();
                if flag == CloneFlags::CLONE_NEWPID {
                    self.pid = Some(opened);
                } else {
                    self.joined.push((opened, flag));
                }
            }
            // Its root is where the process is only after it was limited.
            None if flag == CloneFlags::CLONE_NEWCGROUP => self.cgroup = true,
            None => self.new |= flag.bits(),
        }
        Ok(())
    }
}
