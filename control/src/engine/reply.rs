//! Answers: objects in the form that the client asked for, and errors.

use std::sync::Arc;

use barepod_store::Object;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde_json::Value;

use super::accept::Form;
use super::body::Body;
use super::encode::to_bytes;
use super::registry::Kind;
use super::request::Request;
use super::status::{ApiError, ApiResult};
use super::table::{self, Include, ListMeta, Source};

/// An object to answer with.
#[derive(Debug)]
pub enum Answer {
    /// As stored.
    Stored(Arc<Object>),
    /// Not stored: a dry run, a scale, a status.
    Loose(Value),
}

/// A JSON response of some bytes.
pub fn json(code: u16, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A plain text response.
pub fn text(code: u16, text: impl Into<String>) -> Response<Body> {
    let mut response = json(code, Bytes::from(text.into()));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// A JSON response of a value.
pub fn value(request: &Request, code: u16, value: &impl serde::Serialize) -> Response<Body> {
    json(code, to_bytes(value, request.pretty()))
}

/// The response with its entity tag, or an empty one when the client has this content already, see RFC 9110 section
/// 13.1.2.
pub fn tagged(request: &Request, etag: &str, content: impl FnOnce() -> Response<Body>) -> Response<Body> {
    let etag = format!("\"{etag}\"");
    let mut tags = request.if_none_match.split(',');
    let mut response = if tags.any(|tag| tag.trim().trim_start_matches("W/") == etag) {
        json(304, Bytes::new())
    } else {
        content()
    };
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// The response of a failed request.
pub fn error(error: &ApiError, pretty: bool) -> Response<Body> {
    if error.is_page() {
        let mut page = text(error.code, format!("{}\n", error.message));
        let nosniff = HeaderValue::from_static("nosniff");
        page.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        return page;
    }
    let mut response = json(error.code, to_bytes(&error.to_value(), pretty));
    let seconds = error.retry_after_seconds();
    if seconds > 0 {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// The response of a request for one object.
pub async fn object(request: &Request, kind: &Kind, code: u16, answer: &Answer) -> ApiResult<Response<Body>> {
    let form = request.accept.form().ok_or_else(ApiError::not_acceptable)?;
    let own = match answer {
        Answer::Stored(_) => true,
        Answer::Loose(value) => value.get("kind").is_some_and(|name| *name == *kind.resource.kind),
    };
    let text = match answer {
        Answer::Stored(object) => kind.text(object).await?,
        Answer::Loose(value) if own => Bytes::from(to_bytes(&*kind.shown(value).await?, false)),
        Answer::Loose(value) => Bytes::from(to_bytes(value, false)),
    };
    let bytes = match form {
        Form::Object => text,
        _ if !own => text,
        Form::MetadataList(_) => return Err(ApiError::not_the_form(kind, "PartialObjectMetadataList", false)),
        Form::Metadata(version) => {
            let mut out = Vec::new();
            table::partial(version, &text, &mut out);
            out.into()
        }
        Form::Table(version) => {
            let include = Include::parse(&request.query)?;
            let reshaped = match answer {
                Answer::Stored(_) if kind.reshapes() => serde_json::from_slice::<Value>(&text).ok(),
                _ => None,
            };
            let source = match answer {
                Answer::Stored(_) if let Some(value) = &reshaped => Source::Loose(value, &text),
                Answer::Stored(object) => Source::Stored(object),
                Answer::Loose(value) => Source::Loose(value, &text),
            };
            let revision = match answer {
                Answer::Stored(object) => object.revision().to_string(),
                Answer::Loose(value) => value
                    .pointer("/metadata/resourceVersion")
                    .and_then(Value::as_str)
                    .unwrap_or("")
                    .to_owned(),
            };
            let meta = ListMeta {
                revision,
                ..ListMeta::default()
            };
            table::table(version, kind, std::iter::once(source), &meta, include, true).into()
        }
    };
    Ok(json(code, if request.pretty() { indent(&bytes) } else { bytes }))
}

/// The same JSON, indented.
pub fn indent(bytes: &Bytes) -> Bytes {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) => to_bytes(&value, true).into(),
        Err(_) => bytes.clone(),
    }
}

/// The same response with its JSON as YAML.
pub fn as_yaml(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|media| media == "application/json");
    if !is_json || headers.contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = match body {
        Body::Full(Some(bytes)) => bytes,
        Body::List(list) => list.collect(),
        other => return Response::from_parts(parts, other),
    };
    let value = serde_json::from_slice::<Value>(&text).ok();
    let Some(yaml) = value.as_ref().and_then(barepod_schema::body::to_yaml) else {
        return Response::from_parts(parts, text.into());
    };
    let media = HeaderValue::from_static("application/yaml");
    parts.headers.insert(header::CONTENT_TYPE, media);
    Response::from_parts(parts, yaml.into_bytes().into())
}

/// Adds `Warning` headers, each text once. See RFC 7234 section 5.5 for their form.
pub fn warn(response: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings {
        let text = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
            let headers = response.headers_mut();
            if !headers.get_all(header::WARNING).iter().any(|told| told == value) {
                headers.append(header::WARNING, value);
            }
        }
    }
}
