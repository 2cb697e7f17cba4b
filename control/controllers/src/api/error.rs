//! A failed request, with what was asked and of which object.

use barepod_client::Status;
use std::error::Error as _;

/// Why a controller could not do its work; it is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server refused or could not be reached.
    #[error("{operation} {object}")]
    Request {
        operation: &'static str,
        object: String,
        #[source]
        source: Box<barepod_client::Error>,
    },
    /// An object lacks what the controller needs.
    #[error("{object}: {problem}")]
    Invalid { object: String, problem: String },
}

impl Error {
    pub(crate) fn request(operation: &'static str, object: impl Into<String>, source: barepod_client::Error) -> Self {
        Self::Request {
            operation,
            object: object.into(),
            source: Box::new(source),
        }
    }

    pub(crate) fn invalid(object: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid {
            object: object.into(),
            problem: problem.into(),
        }
    }

    fn status(&self) -> Option<&Status> {
        match self {
            Self::Request { source, .. } => source.status(),
            Self::Invalid { .. } => None,
        }
    }

    /// The object does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status().is_some_and(|s| s.code == 404)
    }

    /// The name is taken.
    pub(crate) fn is_already_exists(&self) -> bool {
        self.status().is_some_and(|s| s.reason == "AlreadyExists")
    }

    /// The object changed meanwhile, or a precondition does not hold.
    pub(crate) fn is_conflict(&self) -> bool {
        self.status()
            .is_some_and(|s| s.code == 409 && s.reason != "AlreadyExists")
    }

    /// The request itself is not allowed or not valid: asking again at once cannot help.
    pub(crate) fn is_refused(&self) -> bool {
        self.status().is_some_and(|s| matches!(s.code, 400 | 403 | 405 | 422))
    }

    /// The namespace is going away, so that nothing can be created in it.
    pub(crate) fn is_namespace_terminating(&self) -> bool {
        let Some(status) = self.status() else { return false };
        let cause = status
            .details
            .as_ref()
            .is_some_and(|d| d.causes.iter().any(|c| c.reason == "NamespaceTerminating"));
        status.code == 403 && (cause || status.message.contains("is being terminated"))
    }

    /// The server's own words, for conditions and events.
    pub(crate) fn message(&self) -> String {
        match self.status() {
            Some(status) => status.message.clone(),
            None => self.chain(),
        }
    }

    /// The whole chain of causes in one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16, reason: &str) -> Error {
        let status = Status {
            code,
            reason: reason.to_owned(),
            message: "pods \"a\" is bad".to_owned(),
            details: None,
        };
        Error::request("create pod", "default/a", barepod_client::Error::Api(Box::new(status)))
    }

    #[test]
    fn tells_conflicts_from_taken_names() {
        assert!(api(409, "Conflict").is_conflict());
        assert!(!api(409, "AlreadyExists").is_conflict());
        assert!(api(409, "AlreadyExists").is_already_exists());
        assert!(api(404, "NotFound").is_not_found());
        assert!(api(422, "Invalid").is_refused());
    }

    #[test]
    fn keeps_the_servers_words() {
        assert_eq!(api(403, "Forbidden").message(), "pods \"a\" is bad");
        assert!(api(403, "Forbidden").chain().starts_with("create pod default/a: "));
    }
}
