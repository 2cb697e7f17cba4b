//! Requests, counted for the metrics.

use http::{Response, header, request};
use http_body::Body as _;

use crate::engine::Engine;
use crate::engine::body::Body;
use crate::engine::request::header as text;
use crate::metrics::Running;

/// Begins to count a request.
pub fn measured(engine: &Engine, parts: &request::Parts) -> Running {
    measured_of(engine, &parts.method, &parts.uri, &parts.headers)
}

/// As [`measured`], of the parts of a request.
pub(super) fn measured_of(
    engine: &Engine,
    method: &http::Method,
    uri: &http::Uri,
    headers: &http::HeaderMap,
) -> Running {
    let apply = text(headers, header::CONTENT_TYPE).starts_with("application/apply-patch");
    engine.measured(method, uri.path(), uri.query().unwrap_or(""), apply)
}

/// Counts the answer; of a long request when its body ends.
pub fn until_answered(running: Running, response: Response<Body>) -> Response<Body> {
    let bytes = response.body().size_hint().exact();
    running.answered(response.status().as_u16(), bytes);
    match response.body() {
        Body::Watch(_) | Body::Stream(_) if running.is_long() => response.map(|body| body.with_guard(running)),
        _ => response,
    }
}
