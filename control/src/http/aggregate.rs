//! Requests that another server answers, named by an APIService. They are authorized here and passed on with the name
//! of who asks, which that server believes because of the certificate that is shown to it.

use std::fmt::Write as _;
use std::sync::Arc;

use barepod_auth::user::MASTERS;
use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;

use super::extension::Extension;
use super::proxy;
use super::service::{Service, read};
use super::tunnel;
use crate::access::Entry;
use crate::engine::aggregate::{Aggregated, unavailable};
use crate::engine::body::Body;
use crate::engine::identity::User;
use crate::engine::request::{Query, ResourcePath};
use crate::engine::status::{ApiError, ApiResult};
use crate::engine::{Engine, chain, error_response, verb_of};
use crate::metrics::Running;

/// Headers with these beginnings say who asks; those of clients are never believed.
pub const USER: &str = "x-remote-user";
/// The user's UID.
pub const UID: &str = "x-remote-uid";
/// One for each group.
pub const GROUP: &str = "x-remote-group";
/// With the key of something else that is known of the user.
pub const EXTRA: &str = "x-remote-extra-";

/// Passes the request on when it is its turn.
pub async fn answer(
    service: &Service,
    user: &Arc<User>,
    aggregated: &Aggregated,
    request: Request<Incoming>,
    entry: Option<&mut Entry>,
    running: Running,
) -> ApiResult<Response<Body>> {
    let uri = request.uri();
    let query = Query::parse(uri.query().unwrap_or(""));
    let turn = service.engine.turn(user, request.method(), uri.path(), &query);
    let turn = match turn.await {
        Ok(turn) => turn,
        Err(refused) => return Ok(refused),
    };
    let passed = pass_on(service, user, aggregated, request, entry, running).await;
    let mut response = passed.unwrap_or_else(|error| error_response(&error));
    turn.end(&mut response);
    Ok(response)
}

async fn pass_on(
    service: &Service,
    user: &Arc<User>,
    aggregated: &Aggregated,
    mut request: Request<Incoming>,
    entry: Option<&mut Entry>,
    running: Running,
) -> ApiResult<Response<Body>> {
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let client = upgrade.then(|| tunnel::client_side(&mut request));
    let extension = address(&service.engine, user, aggregated, &mut request, upgrade)?;
    let extensions = service.engine.extensions();
    let response = match entry.filter(|entry| entry.wants_request() && !upgrade) {
        None => extensions.call(&extension, request).await,
        Some(entry) => {
            let (parts, body) = request.into_parts();
            let body = read(service, user, body).await?;
            entry.request(&body);
            extensions
                .call(&extension, Request::from_parts(parts, Full::new(body)))
                .await
        }
    };
    let response = response.map_err(|error| unavailable(aggregated, &chain(&error)))?;
    proxy::passed_on(service, client, "server", response, running)
}

/// Passes on the request of a part of this process, which has no turn to wait for and may do there what it may do here.
pub async fn answer_here(
    engine: &Engine,
    user: &User,
    aggregated: &Aggregated,
    mut request: Request<Bytes>,
) -> ApiResult<Response<Body>> {
    let mut user = user.clone();
    user.groups.push(MASTERS.into());
    let extension = address(engine, &user, aggregated, &mut request, false)?;
    let response = engine.extensions().call(&extension, request.map(Full::new)).await;
    let response = response.map_err(|error| unavailable(aggregated, &chain(&error)))?;
    Ok(proxy::streamed(response))
}

/// Makes a request, if it may be made, one to the server that answers it.
fn address<B>(
    engine: &Engine,
    user: &User,
    aggregated: &Aggregated,
    request: &mut Request<B>,
    upgrade: bool,
) -> ApiResult<Extension> {
    authorize(engine, user, request)?;
    if !aggregated.available {
        return Err(unavailable(aggregated, "its APIService is not available"));
    }
    let extension = aggregated.extension(engine)?;
    let target = request.uri().path_and_query().map_or("/", |it| it.as_str()).to_owned();
    proxy::prepare(request, &extension.name, &target, upgrade)?;
    introduce(user, request.headers_mut())?;
    Ok(extension)
}

fn authorize<B>(engine: &Engine, user: &User, request: &Request<B>) -> ApiResult<()> {
    let (method, uri) = (request.method(), request.uri());
    let query = Query::parse(uri.query().unwrap_or(""));
    let path = ResourcePath::parse(uri.path());
    let plain = method.as_str().to_ascii_lowercase();
    let verb = path.as_ref().map_or(&*plain, |path| verb_of(method, &query, path));
    engine.authorize(user, verb, uri.path(), path.as_ref(), &query)
}

/// Says who asks.
fn introduce(user: &User, headers: &mut HeaderMap) -> ApiResult<()> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(ApiError::internal);
    let foreign: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-remote-"))
        .cloned()
        .collect();
    for name in foreign {
        headers.remove(name);
    }
    headers.insert(USER, value(&user.name)?);
    if !user.uid.is_empty() {
        headers.insert(UID, value(&user.uid)?);
    }
    for group in &user.groups {
        headers.append(GROUP, value(group)?);
    }
    for (key, values) in &user.extra {
        let name = format!("{EXTRA}{}", escaped(key));
        let name: HeaderName = name.parse().map_err(ApiError::internal)?;
        for text in values {
            headers.append(name.clone(), value(text)?);
        }
    }
    Ok(())
}

/// A key as a header's name can have it: in lower case, other than token characters (RFC 9110 section 5.6.2) and the
/// percent sign itself percent-encoded.
fn escaped(key: &str) -> String {
    let mut text = String::new();
    for byte in key.to_lowercase().bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_server_says_who_asks() {
        let mut user = User::new("jane", vec!["dev".into(), "ops".into()]);
        user.extra = vec![("example.com/Scope".into(), vec!["a".into(), "b".into()])];
        let mut headers = HeaderMap::new();
        headers.insert("x-remote-user", HeaderValue::from_static("root"));
        headers.insert("x-remote-group", HeaderValue::from_static("system:masters"));
        headers.insert("x-remote-extra-x", HeaderValue::from_static("y"));
        introduce(&user, &mut headers).unwrap();
        let all = |name: &str| {
            let values = headers.get_all(name).into_iter();
            values.map(|it| it.to_str().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(all("x-remote-user"), ["jane"]);
        assert_eq!(all("x-remote-group"), ["dev", "ops", "system:authenticated"]);
        assert_eq!(all("x-remote-extra-example.com%2fscope"), ["a", "b"]);
        assert_eq!(all("x-remote-extra-x"), [""; 0]);
    }
}
