//! What can go wrong in pod networking.

use crate::{Ipv4Net, Protocol};
use nix::errno::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// An error of this crate; every variant names the operation and the object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the state directory or of /proc could not be handled.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A record of the state directory does not have the expected form.
    #[error("{} is damaged at line {line}: {reason}; run the node's reset, or remove the line", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process owns the state directory.
    #[error("{} is in use by another process; stop it first", .0.display())]
    Locked(PathBuf),
    /// The kernel refused a netlink request.
    #[error("cannot {operation}{}", detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Netlink {
        /// What was tried, with the object's name.
        operation: String,
        /// The kernel's own explanation, where it gives one.
        detail: Option<String>,
        /// The error number.
        source: Errno,
    },
    /// A netlink socket failed, or an answer could not be read.
    #[error("cannot {operation}")]
    Socket {
        /// What was tried.
        operation: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// No address is left.
    #[error("no free address in {0}; delete pods or give the node a larger pod CIDR")]
    Exhausted(Ipv4Net),
    /// Another pod of this node has the host port.
    #[error("host port {port}/{protocol} is taken by pod {uid}")]
    HostPortTaken {
        /// The port.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// The pod that has it.
        uid: String,
    },
    /// Two pods would get the same interface name.
    #[error("interface {name} belongs to pod {uid}")]
    InterfaceTaken {
        /// The interface.
        name: String,
        /// The pod it belongs to.
        uid: String,
    },
    /// A setting cannot work.
    #[error("{what} {value:?} cannot be used: {reason}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            operation,
            path,
            source,
        }
    }

    pub(crate) fn socket(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Socket { operation, source }
    }

    /// The kernel's error number, when the kernel refused a netlink request.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Netlink { source, .. } => Some(*source),
            _ => None,
        }
    }
}
