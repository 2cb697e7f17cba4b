//! What the maker does for a process that is becoming a container: what takes rights over the machine that a process in
//! a user namespace of its own has not, and what has to be done in the machine's namespaces.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use nix::sys::resource::getrlimit;
use oci_spec::runtime::{LinuxNamespaceType, LinuxSeccomp, Mount};

use super::channel::{Maker, Message};
use super::hooks::{self, Place, Told};
use super::mounts::{self, Sources};
use super::users::Mappings;
use super::{devices, identity, interfaces, rootfs, scheduling};
use crate::cgroup::Cgroup;
use crate::document::{Document, OOM_GROUP, is_yes};
use crate::error::{During, Error, Result};
use crate::netlink::Netlink;
use crate::seccomp::notify;
use crate::sys::process::raise_limit;

/// What a process in a user namespace of its own may not open or make.
#[derive(Debug)]
pub struct Prepared<'a> {
    pub(super) mounts: Vec<mounts::Prepared<'a>>,
    pub(super) root: OwnedFd,
    pub(super) devices: OwnedFd,
}

impl<'a> Prepared<'a> {
    /// Opens and makes all of it, if the container is to have a user namespace: one of its own, or `namespace`.
    ///
    /// # Errors
    /// Something is not there, or the kernel refuses.
    pub fn new(document: &'a Document, bundle: &Path, namespace: Option<BorrowedFd<'_>>) -> Result<Option<Self>> {
        let linux = &document.linux;
        if linux.namespace(LinuxNamespaceType::User).is_none() {
            return Ok(None);
        }
        let root = document
            .root
            .as_ref()
            .ok_or_else(|| Error::Invalid("there is no root file system".to_owned()))?;
        let users = Mappings::of(document);
        let sources = Sources {
            base: Some(bundle),
            users,
            namespace,
            label: linux.mount_label.as_deref(),
            inside: false,
        };
        Ok(Some(Self {
            mounts: mounts::prepare(&document.mounts, sources, None)?,
            root: rootfs::prepare(&root.path, linux.rootfs_propagation.as_deref())?,
            devices: devices::prepare(&linux.devices, users)?,
        }))
    }

    /// What the process has to keep open.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let trees = self.mounts.iter().filter_map(mounts::Prepared::tree);
        trees.chain([self.root.as_fd(), self.devices.as_fd()])
    }
}

/// A process that is becoming a container, or is executed in one, seen from outside.
#[derive(Debug)]
pub struct Outside<'a> {
    /// The configuration of a container that is made or started.
    pub document: Option<&'a Document>,
    /// Its filter.
    pub seccomp: Option<&'a LinuxSeccomp>,
    /// What hooks and others are told.
    pub told: Told<'a>,
    /// What it is when its filter begins to notify.
    pub status: &'static str,
    /// The process.
    pub pid: i32,
}

impl<'a> Outside<'a> {
    /// The first process of a container that has a status.
    #[must_use]
    pub fn new(document: &'a Document, told: Told<'a>, status: &'static str, pid: i32) -> Self {
        Self {
            document: Some(document),
            seccomp: document.linux.seccomp.as_ref(),
            told,
            status,
            pid,
        }
    }

    /// Moves network interfaces into a network namespace, or into the one that was made for the process.
    ///
    /// # Errors
    /// One is not there, or cannot be moved.
    pub fn move_interfaces(&self, to: Option<BorrowedFd<'_>>) -> Result<()> {
        let devices = self.document.map(|document| &document.linux.net_devices);
        let Some(devices) = devices.filter(|devices| !devices.is_empty()) else {
            return Ok(());
        };
        let namespace = match to {
            Some(namespace) => namespace.try_clone_to_owned().during("copy", "a namespace")?,
            None => {
                let path = format!("/proc/{}/ns/net", self.pid);
                OwnedFd::from(File::open(&path).during("open", &path)?)
            }
        };
        let own = rootfs::own_namespace("net")?;
        let socket = || Netlink::open().during("open", "a netlink socket");
        let mut outside = socket()?;
        // A socket stays in the namespace in which it was opened.
        setns(&namespace, CloneFlags::CLONE_NEWNET).during("join", "the network namespace")?;
        let inside = socket();
        setns(&own, CloneFlags::CLONE_NEWNET).during("return to", "the own network namespace")?;
        interfaces::move_all(devices, &mut outside, &mut inside?, &namespace)
    }

    /// Gives the process' new user namespace its users, and the process what only the machine's root may give.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn map(&self, channel: &Maker) -> Result<()> {
        let Some(document) = self.document else { return Ok(()) };
        let Some(namespace) = document.linux.namespace(LinuxNamespaceType::User) else {
            return Ok(());
        };
        if namespace.path().as_ref().is_none_or(|path| path.as_os_str().is_empty()) {
            Mappings::of(document).write(&self.pid.to_string())?;
        }
        if let Some(process) = &document.process {
            for limit in &process.rlimits {
                let resource = identity::resource(limit.typ());
                let (_, hard) = getrlimit(resource).during("look at", limit.typ())?;
                // The process sets the limits itself, but can only lower the hard ones.
                if limit.hard() > hard {
                    raise_limit(self.pid, resource, limit.hard()).during("raise", limit.typ())?;
                }
            }
            scheduling::schedule(self.pid, process)?;
        }
        // A child that is gone has said why, or its end will be noticed.
        let _ = channel.mapped();
        Ok(())
    }

    /// Makes the cgroup what the container's configuration wants it to be beside its limits; `namespace` tells that it has
    /// a new cgroup namespace.
    ///
    /// # Errors
    /// The kernel refuses, or cannot.
    pub fn own(&self, cgroup: &Cgroup<'_>, namespace: bool) -> Result<()> {
        let Some(document) = self.document else { return Ok(()) };
        if document.annotations.get(OOM_GROUP).is_some_and(|value| is_yes(value)) {
            cgroup.kill_as_a_group()?;
        }
        let owner = document.process.as_ref().map_or(0, |process| process.user.uid());
        let owner = match Mappings::of(document) {
            users if users.is_empty() => Some(owner),
            users => Mappings::outside(users.uids, owner),
        };
        match owner.filter(|owner| *owner != 0 && namespace && document.mounts.iter().any(is_writable_cgroup)) {
            Some(owner) => cgroup.give_to(owner),
            None => Ok(()),
        }
    }

    /// Does what the process asks for with a message; `false` if it asks for nothing.
    ///
    /// # Errors
    /// A hook failed, or nobody takes the notifications; the process is to be ended then.
    pub fn answer(&self, channel: &Maker, message: &Message) -> Result<bool> {
        match message {
            Message::Hooks => {
                let hooks = self.document.map(|document| &document.hooks);
                // Those of old versions of the specification came after the creation.
                for (kind, status, hooks) in [
                    ("prestart", "created", hooks.map(|hooks| &hooks.prestart)),
                    ("createRuntime", "creating", hooks.map(|hooks| &hooks.create_runtime)),
                ] {
                    let told = self.told.at(status, Some(self.pid));
                    hooks::run(kind, hooks.map_or(&[], Vec::as_slice), &told, self.place())?;
                }
            }
            Message::Notifications(listener) => return self.notify(channel, listener).map(|()| true),
            _ => return Ok(false),
        }
        // A child that is gone has said why, or its end will be noticed.
        let _ = channel.go_on();
        Ok(true)
    }

    /// Gives the descriptor of its filter's notifications to whoever answers them.
    ///
    /// # Errors
    /// Nobody does; the process is to be ended then.
    pub fn notify(&self, channel: &Maker, listener: &OwnedFd) -> Result<()> {
        let told = self.told.at(self.status, Some(self.pid));
        notify::deliver(self.seccomp, listener, &told, self.pid)?;
        // A child that is gone has said why, or its end will be noticed.
        let _ = channel.go_on();
        Ok(())
    }

    /// Does what is due when the program was executed.
    ///
    /// # Errors
    /// A hook failed; the container is to be ended then.
    pub fn started(&self) -> Result<()> {
        let Some(document) = self.document else { return Ok(()) };
        let told = self.told.at("running", Some(self.pid));
        hooks::run("poststart", &document.hooks.poststart, &told, self.place())
    }

    /// Where hooks are executed in the machine's namespaces.
    fn place(&self) -> Place<'a> {
        Place {
            directory: self.told.bundle(),
            environment: None,
        }
    }
}

/// Whether a mount shows the container's cgroups and lets them be written: OCI runtime specification, "Cgroup ownership".
fn is_writable_cgroup(mount: &Mount) -> bool {
    mount.source().as_deref() == Some(Path::new("cgroup"))
        && mount.destination() == Path::new("/sys/fs/cgroup")
        && !mount.options().iter().flatten().any(|option| option == "ro")
}
