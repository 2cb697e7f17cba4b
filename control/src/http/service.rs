//! One HTTP request: its body, then the engine, or a stream to a node.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::sync::watch;

use super::upstream::Upstream;
use super::{aggregate, audit, compress, proxy, route};
use crate::access::Entry;
use crate::engine::Engine;
use crate::engine::body::Body;
use crate::engine::identity::User;
use crate::engine::request::Request as ApiRequest;
use crate::engine::status::{ApiError, ApiResult};

/// The largest body, as kube-apiserver has it.
const BODY_BYTES: usize = 3 << 20;
/// How long a client may take to send its body.
const BODY_TIME: Duration = Duration::from_secs(60);

/// What all requests share.
pub struct Service {
    pub(super) engine: Arc<Engine>,
    pub(super) upstream: Upstream,
    stopped: watch::Receiver<bool>,
}

impl Service {
    pub(super) fn new(engine: Arc<Engine>, upstream: Upstream, stopped: watch::Receiver<bool>) -> Self {
        Service {
            engine,
            upstream,
            stopped,
        }
    }

    /// Becomes true when the server stops.
    pub(super) fn stopped(&self) -> watch::Receiver<bool> {
        self.stopped.clone()
    }
}

/// Answers one request.
pub async fn answer(
    service: Arc<Service>,
    user: Arc<User>,
    source: Option<IpAddr>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let identified = service.engine.identify(&user, request.headers());
    let mut entry = None;
    if service.engine.audit().is_some() {
        let acting = identified.as_ref().unwrap_or(&user).clone();
        // Who has a token is known by it, unless it acts as somebody else.
        let by = if user.is_anonymous() { &acting } else { &user };
        entry = audit::begin(&service.engine, by, &acting, source, &request).await;
    }
    let response = match identified {
        Err(error) => Err(error),
        Ok(user) => match route::stream(&request) {
            Some(path) => proxy::answer(&service, &user, path, request).await,
            None => match service.engine.forwarded(request.uri().path()) {
                Some(aggregated) => aggregate::answer(&service, &user, &aggregated, request).await,
                None => plain(&service, user, request, entry.as_mut()).await,
            },
        },
    };
    let response = response.unwrap_or_else(|error| crate::engine::error_response(&error));
    Ok(match entry {
        Some(entry) => audit::end(entry, response).await,
        None => response,
    })
}

async fn plain(
    service: &Service,
    user: Arc<User>,
    request: Request<Incoming>,
    entry: Option<&mut Entry>,
) -> ApiResult<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = read(body).await?;
    if let Some(entry) = entry.filter(|entry| entry.wants_request()) {
        entry.request(&body);
    }
    let request = ApiRequest::new(&parts, user, body);
    let gzip = request.accept.gzip;
    let response = service.engine.handle_fairly(request).await;
    Ok(if gzip { compress::compress(response) } else { response })
}

async fn read(body: Incoming) -> ApiResult<Bytes> {
    use http_body::Body as _;
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    match tokio::time::timeout(BODY_TIME, Limited::new(body, BODY_BYTES).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::too_large(BODY_BYTES)),
        Ok(Err(error)) => Err(ApiError::bad_request(format!("the body could not be read: {error}"))),
        Err(_) => Err(ApiError::slow_body()),
    }
}
