//! What can go wrong, for clients and for the server itself.

use http::StatusCode;

/// Why a request cannot be served. The text goes to the client as it is.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No such pod, container or log.
    #[error("{0}")]
    NotFound(String),
    /// The request makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// It failed on the node.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// The HTTP status that goes with it.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Why the server itself cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listening socket is broken.
    #[error("cannot accept connections")]
    Accept(#[source] std::io::Error),
}
