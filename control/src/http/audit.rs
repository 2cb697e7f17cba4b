//! Requests of clients, written down.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use barepod_auth::attributes::{Attributes, Object};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body::Frame;
use hyper::body::Incoming;

use crate::access::{Audited, Entry};
use crate::engine::Engine;
use crate::engine::body::{Body, BodyError};
use crate::engine::fresh::Annotations;
use crate::engine::identity::{User, resource_of};
use crate::engine::request::{Query, ResourcePath};
use crate::engine::verb_of;

/// Begins to write down a request, if there is a log and its policy wants it.
pub async fn begin(
    engine: &Engine,
    by: &User,
    user: &Arc<User>,
    source: Option<IpAddr>,
    request: &Request<Incoming>,
) -> Option<Entry> {
    let audit = engine.audit()?;
    let uri = request.uri();
    let path = ResourcePath::parse(uri.path());
    let method = request.method().as_str().to_ascii_lowercase();
    let query = Query::parse(uri.query().unwrap_or(""));
    let (verb, object) = match &path {
        Some(path) => (
            verb_of(request.method(), &query, path),
            Object::Resource(resource_of(path, "")),
        ),
        None => (method.as_str(), Object::Path(uri.path())),
    };
    let user_agent = request.headers().get(header::USER_AGENT);
    let asked = Attributes { user, verb, object };
    let about = Audited {
        asked,
        by,
        uri: uri.path_and_query().map_or_else(String::new, ToString::to_string),
        user_agent: user_agent.and_then(|agent| agent.to_str().ok()).unwrap_or(""),
        source,
    };
    audit.begin(about).await
}

/// Writes down the answer; of a long one its beginning, and its end when that comes.
pub async fn end(mut entry: Entry, mut response: Response<Body>) -> Response<Body> {
    let annotations = response.extensions_mut().remove::<Annotations>();
    entry.outcome(
        response.status().as_u16(),
        annotations.as_ref().map_or(&[], |notes| &notes.0),
    );
    if entry.wants_response()
        && let Body::Full(Some(bytes)) = response.body()
        && !response.headers().contains_key(header::CONTENT_ENCODING)
    {
        entry.response(&bytes.clone());
    }
    match response.body() {
        Body::Full(_) | Body::List(_) => {
            entry.completed().await;
            response
        }
        Body::Watch(_) | Body::Stream(_) => {
            entry.started().await;
            response.map(|inner| Body::Stream(Box::pin(Long { inner, _entry: entry })))
        }
    }
}

/// A body whose end is written down.
struct Long {
    inner: Body,
    _entry: Entry,
}

impl http_body::Body for Long {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }
}
