//! Errors as the CNI specification wants them told.

use crate::Error;
use serde_json::{Value, json};

/// An error with its well-known code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    code: u32,
    message: String,
    details: String,
}

impl Failure {
    fn new(code: u32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: String::new(),
        }
    }

    pub(super) fn version(version: &str) -> Self {
        Self::new(1, format!("CNI version {version:?} is not supported"))
    }

    pub(super) fn unknown_container(message: impl Into<String>) -> Self {
        Self::new(3, message)
    }

    pub(super) fn environment(message: impl Into<String>) -> Self {
        Self::new(4, message)
    }

    pub(super) fn io(message: impl Into<String>) -> Self {
        Self::new(5, message)
    }

    pub(super) fn decode(message: impl Into<String>) -> Self {
        Self::new(6, message)
    }

    pub(super) fn config(message: impl Into<String>) -> Self {
        Self::new(7, message)
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(50, message)
    }

    /// Something is not as ADD left it; codes from 100 are the plugin's own.
    pub(super) fn differs(message: impl Into<String>) -> Self {
        Self::new(100, message)
    }

    pub(super) fn to_json(&self, version: &str) -> Value {
        let mut answer = json!({"cniVersion": version, "code": self.code, "msg": self.message});
        if !self.details.is_empty() {
            answer["details"] = json!(self.details);
        }
        answer
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Setting { .. } => 7,
            Error::Locked(_) => 11,
            Error::File { .. } | Error::Socket { .. } | Error::Damaged { .. } => 5,
            Error::Netlink { .. } => 101,
            Error::Exhausted(_) => 102,
            Error::HostPortTaken { .. } | Error::InterfaceTaken { .. } => 103,
        };
        let details = std::error::Error::source(&error)
            .map(ToString::to_string)
            .unwrap_or_default();
        Self {
            code,
            message: error.to_string(),
            details,
        }
    }
}
