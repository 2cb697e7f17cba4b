//! One HTTP request: its body, then the engine, or a stream to a node.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{Semaphore, watch};

use super::measure::{measured_of, until_answered};
use super::server::Limits;
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
/// Bodies up to this size are read at once.
const SMALL_BODY: usize = 64 << 10;
/// What larger ones may take together, in units of that size.
const ROOM: usize = (128 << 20) / SMALL_BODY;

/// What all requests share.
pub struct Service {
    pub(super) engine: Arc<Engine>,
    pub(super) upstream: Upstream,
    stopped: watch::Receiver<bool>,
    limits: Limits,
    /// Room for large bodies.
    room: Semaphore,
}

impl Service {
    pub(super) fn new(engine: Arc<Engine>, upstream: Upstream, stopped: watch::Receiver<bool>, limits: Limits) -> Self {
        Service {
            engine,
            upstream,
            stopped,
            limits,
            room: Semaphore::new(ROOM),
        }
    }

    /// How long clients may take.
    pub(super) fn limits(&self) -> Limits {
        self.limits
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
    let running = measured_of(&service.engine, request.method(), request.uri(), request.headers());
    let identified = service.engine.identify(&user, request.headers());
    let mut entry = None;
    if service.engine.audit().is_some() {
        let known = identified.is_ok();
        let acting = identified.as_ref().unwrap_or(&user).clone();
        // Who has a token is known by it, unless it acts as somebody else.
        let by = if user.is_anonymous() { &acting } else { &user };
        entry = audit::begin(&service.engine, by, &acting, source, &request, known).await;
    }
    let mut gzip = false;
    let response = match identified {
        Err(error) => Err(error),
        Ok(user) => match route::stream(&request) {
            Some(path) => proxy::answer(&service, &user, path, request, running.clone()).await,
            None => match service.engine.forwarded(request.uri().path()) {
                Some(aggregated) => {
                    let entry = entry.as_mut();
                    aggregate::answer(&service, &user, &aggregated, request, entry, running.clone()).await
                }
                None => plain(&service, user, request, entry.as_mut(), &mut gzip).await,
            },
        },
    };
    let mut response = response.unwrap_or_else(|error| crate::engine::error_response(&error));
    if let Some(entry) = entry {
        response = audit::end(entry, response, running.is_long()).await;
    }
    if gzip {
        response = compress::compress(response);
    }
    Ok(until_answered(running, response))
}

async fn plain(
    service: &Service,
    user: Arc<User>,
    request: Request<Incoming>,
    entry: Option<&mut Entry>,
    gzip: &mut bool,
) -> ApiResult<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = read(service, &user, body).await?;
    if let Some(entry) = entry.filter(|entry| entry.wants_request()) {
        entry.request(&body);
    }
    let request = ApiRequest::new(&parts, user, body);
    *gzip = request.accept.gzip;
    Ok(service.engine.handle_fairly(request).await)
}

/// The whole body. What it takes beyond a little must have room, so that those who send much do not take all memory, or
/// is to be sent again later; nobody without credentials has anything to send.
pub(super) async fn read(service: &Service, user: &User, body: Incoming) -> ApiResult<Bytes> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let most = if user.is_anonymous() { SMALL_BODY } else { BODY_BYTES };
    match tokio::time::timeout(service.limits.body, collect(&service.room, body, most)).await {
        Ok(read) => read,
        Err(_) => Err(ApiError::slow_body()),
    }
}

async fn collect(room: &Semaphore, mut body: Incoming, most: usize) -> ApiResult<Bytes> {
    let too_large = || ApiError::too_large(format_args!("limit is {most}"));
    let length = body.size_hint().exact();
    if length.is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let (mut first, mut all) = (Bytes::new(), Vec::new());
    let mut taken = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::bad_request(format!("the body could not be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let now = first.len() + all.len() + data.len();
        if now > most {
            return Err(too_large());
        }
        while now > SMALL_BODY * (1 + taken.len()) {
            // Whoever waited here would keep what it has from others who wait.
            taken.push(room.try_acquire().map_err(|_| ApiError::too_many_requests())?);
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if !first.is_empty() {
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.into() })
}
