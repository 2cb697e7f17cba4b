//! Streams: logs, exec, attach, port-forward and the proxies of nodes, pods and services. They are passed on as they
//! are; only the node at the other end speaks their protocols.

use std::sync::Arc;

use barepod_auth::impersonation;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::links;
use super::service::Service;
use super::tunnel;
use super::upstream::{Peer, UpstreamError};
use crate::engine::body::Body;
use crate::engine::identity::User;
use crate::engine::locate::{Destination, locate};
use crate::engine::request::{Query, ResourcePath};
use crate::engine::status::{ApiError, ApiResult};
use crate::engine::text_response;
use crate::metrics::Running;

/// How much of a node's error text is read.
const ERROR_BYTES: usize = 16 << 10;

/// Headers that concern one connection only, RFC 9110 section 7.6.1.
const HOP_BY_HOP: [header::HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

pub async fn answer(
    service: &Service,
    user: &Arc<User>,
    path: ResourcePath,
    mut request: Request<Incoming>,
    running: Running,
) -> ApiResult<Response<Body>> {
    let verb = match *request.method() {
        http::Method::POST => "create",
        http::Method::PUT => "update",
        http::Method::PATCH => "patch",
        http::Method::DELETE => "delete",
        _ => "get",
    };
    let raw_query = request.uri().query().unwrap_or("").to_owned();
    let query = Query::parse(&raw_query);
    let authorize = |verb| {
        service
            .engine
            .authorize(user, verb, request.uri().path(), Some(&path), &query)
    };
    authorize(verb)?;
    // Commands are begun with GET by clients that speak WebSocket, which must not make them a matter of reading.
    if verb == "get" && matches!(path.subresource.as_deref(), Some("exec" | "attach" | "portforward")) {
        authorize("create")?;
    }
    if path.subresource.as_deref() != Some("log") {
        service.engine.admit_connect(user, &path, &query).await?;
    }
    let destination = locate(&service.engine, &path, &query, &raw_query)?;
    let Some(Destination {
        peer,
        path: target,
        describes_errors,
    }) = destination
    else {
        // A pod without a node has no log yet.
        return Ok(text_response(204, ""));
    };
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let asked = request.uri().path().to_owned();
    let proxied = path.subresource.as_deref() == Some("proxy") && !upgrade;
    if proxied {
        // Links within a page are relative to the directory it is in.
        if path.rest.is_none() && matches!(*request.method(), http::Method::GET | http::Method::HEAD) {
            return moved(&asked, &raw_query);
        }
        // What is packed cannot be looked through for links.
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    let client = upgrade.then(|| tunnel::client_side(&mut request));
    prepare(&mut request, &peer.address.to_string(), &target, upgrade)?;
    let method = request.method().clone();
    let response = service
        .upstream
        .call(peer, request)
        .await
        .map_err(|error| failed(&method, peer, &target, &error))?;
    let status = response.status();
    if describes_errors && !status.is_success() && status != StatusCode::SWITCHING_PROTOCOLS {
        let code = status.as_u16();
        let text = Limited::new(response.into_body(), ERROR_BYTES)
            .collect()
            .await
            .map(|body| body.to_bytes());
        let text = String::from_utf8_lossy(&text.unwrap_or_default()).trim_end().to_owned();
        return Err(ApiError::from_upstream(code, text));
    }
    let answer = passed_on(service, client, "node", response, running)?;
    if !proxied {
        return Ok(answer);
    }
    let rest = path.rest.map_or(0, |rest| 1 + rest.len());
    let prefix = &asked[..asked.len().saturating_sub(rest)];
    Ok(links::through(prefix, &peer.address.to_string(), answer))
}

/// Sends the client to the same place with a slash behind it.
fn moved(path: &str, raw_query: &str) -> ApiResult<Response<Body>> {
    let query = if raw_query.is_empty() { "" } else { "?" };
    let location = format!("{path}/{query}{raw_query}");
    let mut response = text_response(301, "");
    let location = HeaderValue::from_str(&location).map_err(ApiError::internal)?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// The answer of the other end, as the client gets it; `client` is its side of an upgrade, if it asked for one.
pub(super) fn passed_on(
    service: &Service,
    client: Option<OnUpgrade>,
    peer: &str,
    mut response: Response<Incoming>,
    running: Running,
) -> ApiResult<Response<Body>> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = client else {
            return Err(ApiError::plain(format!(
                "the {peer} switched protocols without being asked to"
            )));
        };
        tunnel::join(client, &mut response, service.stopped(), running);
        let (parts, _) = response.into_parts();
        return Ok(Response::from_parts(parts, Body::Full(None)));
    }
    Ok(streamed(response))
}

/// An answer as it comes, without what concerns only the connection that it comes on.
pub(super) fn streamed(response: Response<Incoming>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    for name in HOP_BY_HOP {
        parts.headers.remove(name);
    }
    parts.version = http::Version::HTTP_11;
    Response::from_parts(parts, Body::Stream(Box::pin(body.map_err(Into::into))))
}

/// Makes a client's request one to `host`, without what concerns only the client and this server.
pub(super) fn prepare<B>(request: &mut Request<B>, host: &str, target: &str, upgrade: bool) -> ApiResult<()> {
    *request.uri_mut() = target
        .parse::<Uri>()
        .map_err(|error| ApiError::bad_request(format!("bad path: {error}")))?;
    *request.version_mut() = http::Version::HTTP_11;
    let headers = request.headers_mut();
    headers.remove(header::AUTHORIZATION);
    let about: Vec<_> = headers
        .keys()
        .filter(|name| impersonation::is_about(name.as_str()))
        .cloned()
        .collect();
    for name in about {
        headers.remove(name);
    }
    if !upgrade {
        for name in HOP_BY_HOP {
            headers.remove(name);
        }
    }
    headers.insert(header::HOST, HeaderValue::from_str(host).map_err(ApiError::internal)?);
    Ok(())
}

/// What the client reads when the other end cannot be reached, with the call that was tried.
fn failed(method: &http::Method, peer: Peer, target: &str, error: &UpstreamError) -> ApiError {
    let method = method.as_str();
    let method = format!("{}{}", &method[..1], method[1..].to_ascii_lowercase());
    let scheme = if peer.security == super::upstream::Security::None {
        "http"
    } else {
        "https"
    };
    ApiError::plain(format!("{method} \"{scheme}://{}{target}\": {error}", peer.address))
}
