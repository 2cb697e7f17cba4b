//! What can go wrong, as operation, object and cause.

use std::fmt::Display;
use std::io;

use crate::protocol::{Failure, Reason};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel or the file system refused.
    #[error("{operation} {object}")]
    System {
        /// What was tried, such as `mount`.
        operation: &'static str,
        /// On what.
        object: String,
        /// Why not.
        source: io::Error,
    },
    /// A document is not what it should be.
    #[error("read {object}")]
    Document {
        /// Which document.
        object: String,
        /// Where it is wrong.
        source: serde_json::Error,
    },
    /// The configuration cannot be carried out.
    #[error("{0}")]
    Invalid(String),
    /// The program cannot be executed.
    #[error("{0}")]
    Exec(String),
    /// A program on the way into the container or out of it failed.
    #[error("{0}")]
    Hook(String),
    /// Said by the process that was to do it.
    #[error(transparent)]
    Remote(Failure),
    /// Not possible in the state that something is in.
    #[error("{0}")]
    State(String),
    /// Something is not there.
    #[error("{0} does not exist")]
    NotFound(String),
    /// Something is there already.
    #[error("{0} exists already")]
    Exists(String),
}

/// Results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The class a client acts by.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::System { .. } => Reason::System,
            Self::Hook(_) => Reason::Hook,
            Self::Document { .. } | Self::Invalid(_) => Reason::Invalid,
            Self::Exec(_) => Reason::Exec,
            Self::State(_) => Reason::State,
            Self::NotFound(_) => Reason::NotFound,
            Self::Exists(_) => Reason::Exists,
            Self::Remote(failure) => failure.reason,
        }
    }

    /// Whether a hook failed, here or on the other side.
    #[must_use]
    pub fn is_hooks(&self) -> bool {
        match self {
            Self::Hook(_) => true,
            Self::Remote(failure) => failure.reason == Reason::Hook,
            _ => false,
        }
    }

    /// The error number below it, if the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::System { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            reason: error.reason(),
            message: chain(error),
        }
    }
}

/// An error and all its causes in one line.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = match error.downcast_ref::<io::Error>() {
        Some(error) => plain(error),
        None => error.to_string(),
    };
    if let Some(source) = error.source() {
        line.push_str(": ");
        line.push_str(&chain(source));
    }
    line
}

/// An I/O error as `strerror` words it in lower case, without the number the standard library adds.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        // "No such file" becomes "no such file", "I/O error" stays.
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

/// Says what was being done when a result went wrong.
pub trait During<T> {
    /// Names the operation and its object.
    ///
    /// # Errors
    /// The result's own, with the words around it.
    fn during(self, operation: &'static str, object: impl Display) -> Result<T>;
}

impl<T, E: Into<io::Error>> During<T> for std::result::Result<T, E> {
    fn during(self, operation: &'static str, object: impl Display) -> Result<T> {
        self.map_err(|source| Error::System {
            operation,
            object: object.to_string(),
            source: source.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_operation_object_and_cause() {
        let error = std::fs::File::open("/nonexistent")
            .during("open", "/nonexistent")
            .unwrap_err();
        let failure = Failure::from(&error);
        assert_eq!(failure.message, "open /nonexistent: no such file or directory");
        assert_eq!(failure.reason, Reason::System);
        assert_eq!(error.errno(), Some(libc::ENOENT));
    }
}
