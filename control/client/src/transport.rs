//! What carries requests: a connection, or a call within the process.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::combinators::UnsyncBoxBody;

use crate::error::Error;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Carries requests to an API server. Paths are absolute and without an authority.
pub trait Transport: Send + Sync + 'static {
    /// Sends a request; the answer's body may still be under way when this returns.
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>, Error>>;

    /// How long an answer may take to be there as a whole; without a limit when it cannot get lost.
    fn patience(&self) -> Option<std::time::Duration> {
        None
    }
}
