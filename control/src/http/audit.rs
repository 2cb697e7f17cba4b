//! Requests of clients, written down.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use barepod_auth::attributes::{Attributes, Object};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use crate::access::{Audited, Entry};
use crate::engine::Engine;
use crate::engine::body::{Body, BodyError};
use crate::engine::fresh::Annotations;
use crate::engine::identity::{User, resource_of};
use crate::engine::request::{Query, ResourcePath};
use crate::engine::verb_of;

/// The most that is kept of an answer of another server, as much as a client may send.
const MOST_BYTES: usize = 3 << 20;

/// Begins to write down a request, if there is a log and its policy wants it. `known` says whether it is known who asks:
/// nothing is decided about others.
pub async fn begin(
    engine: &Engine,
    by: &User,
    user: &Arc<User>,
    source: Option<IpAddr>,
    request: &Request<Incoming>,
    known: bool,
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
    let mut entry = audit.begin(about).await?;
    if known {
        entry.decided(engine.decision(user, verb, uri.path(), path.as_ref(), &query));
    }
    Some(entry)
}

/// Writes down the answer; of a long one its beginning, and its end when that comes.
pub async fn end(mut entry: Entry, mut response: Response<Body>, long: bool) -> Response<Body> {
    let annotations = response.extensions_mut().remove::<Annotations>();
    entry.outcome(
        response.status().as_u16(),
        annotations.as_ref().map_or(&[], |notes| &notes.0),
    );
    let plain = !response.headers().contains_key(header::CONTENT_ENCODING);
    let wanted = entry.wants_response() && plain;
    if wanted && matches!(response.body(), Body::List(_)) {
        response = response.map(Body::whole);
    }
    match response.body() {
        Body::Full(bytes) => {
            if let (true, Some(bytes)) = (wanted, bytes) {
                entry.response(bytes);
            }
            entry.completed().await;
            response
        }
        Body::List(_) => {
            entry.completed().await;
            response
        }
        Body::Stream(_) if !long => response.map(|inner| {
            let seen = wanted.then(Vec::new);
            let written = Written {
                inner,
                entry: Some(entry),
                seen,
            };
            Body::Stream(Box::pin(written))
        }),
        Body::Watch(_) | Body::Stream(_) => {
            entry.started().await;
            response.map(|body| body.with_guard(entry))
        }
    }
}

/// An answer of another server, which is written down as it passes.
struct Written {
    inner: Body,
    entry: Option<Entry>,
    /// What has passed, if that is wanted.
    seen: Option<Vec<u8>>,
}

impl Drop for Written {
    fn drop(&mut self) {
        if let (Some(mut entry), Some(seen)) = (self.entry.take(), &self.seen) {
            entry.response(seen);
        }
    }
}

impl http_body::Body for Written {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let (Some(data), Some(seen)) = (frame.data_ref(), &mut self.seen)
        {
            if seen.len() + data.len() > MOST_BYTES {
                self.seen = None;
            } else {
                seen.extend_from_slice(data);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
