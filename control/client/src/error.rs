//! Why a request failed.

use std::error::Error as _;
use std::time::Duration;

use serde::Deserialize;

use crate::transport::BoxError;

/// What the server says of a request that failed: a `Status` object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The HTTP status code.
    pub code: u16,
    /// One word, for machines.
    pub reason: String,
    /// One sentence, for people.
    pub message: String,
    /// More, for machines.
    pub details: Option<Details>,
}

/// The details of a [`Status`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Details {
    /// Each thing that is wrong.
    pub causes: Vec<Cause>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// One word, for machines.
    pub reason: String,
    /// The field it is about.
    pub field: String,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused it.
    #[error("{}", said(.0))]
    Api(Box<Status>),
    /// The server could not be reached.
    #[error("connect to {server}")]
    Connect {
        /// Its host and port.
        server: String,
        /// Why.
        source: BoxError,
    },
    /// The connection broke.
    #[error("request to {server} broke off")]
    Broken {
        /// Its host and port.
        server: String,
        /// Why.
        source: BoxError,
    },
    /// The answer broke off.
    #[error("answer broke off")]
    Answer(#[source] BoxError),
    /// The server did not answer in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The answer is not what was asked for.
    #[error("answer cannot be read")]
    Decode(#[source] serde_json::Error),
    /// The request cannot be put into words of HTTP.
    #[error("request cannot be made")]
    Request(#[source] http::Error),
    /// The kubeconfig file cannot be used.
    #[error("kubeconfig {path}: {problem}")]
    Kubeconfig {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Certificates or keys cannot be used.
    #[error("certificates of the kubeconfig")]
    Tls(#[source] rustls::Error),
}

impl Error {
    /// What the server said, if it was the server that refused.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Api(status) => Some(status),
            _ => None,
        }
    }

    /// The HTTP status code, if it was the server that refused.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }

    /// The error with its causes, in one line.
    #[must_use]
    pub fn chain(&self) -> String {
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

fn said(status: &Status) -> String {
    if status.message.is_empty() {
        format!("the server answered {}", status.code)
    } else {
        status.message.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_the_server_said_and_the_whole_chain() {
        let refused = Error::Api(Box::new(Status {
            code: 403,
            message: "no".into(),
            ..Status::default()
        }));
        assert_eq!((refused.chain().as_str(), refused.code()), ("no", Some(403)));
        let broken = Error::Connect {
            server: "a:1".into(),
            source: "refused".into(),
        };
        assert_eq!(
            (broken.chain().as_str(), broken.code()),
            ("connect to a:1: refused", None)
        );
    }
}
