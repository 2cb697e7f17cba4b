//! `/openapi/v3` and `/openapi/v2`: the documents of what is served.

use barepod_schema::openapi::Document;
use bytes::Bytes;
use http::{HeaderValue, Response, header};

use super::accept::OPENAPI_PROTOBUF;
use super::body::Body;
use super::request::Request;
use super::status::{ApiError, ApiResult};
use super::{Engine, reply};

impl Engine {
    /// `path` is what follows `/openapi/`.
    pub(super) fn openapi(&self, request: &Request, path: &str) -> ApiResult<Response<Body>> {
        let current = self.documents();
        let documents = current.openapi();
        match path.trim_end_matches('/') {
            "v3" => Ok(reply::json(200, current.openapi_index())),
            "v2" => {
                let protobuf = request.accept.openapi_protobuf().ok_or_else(ApiError::not_acceptable)?;
                if !protobuf {
                    return Ok(document(request, &documents.v2(), false));
                }
                let mut response = document(request, &documents.v2_protobuf(), false);
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, HeaderValue::from_static(OPENAPI_PROTOBUF));
                Ok(response)
            }
            path => {
                let group = path.strip_prefix("v3/").ok_or_else(ApiError::page_not_found)?;
                let found = documents.v3(group).ok_or_else(ApiError::page_not_found)?;
                let wanted = request.query.text("hash");
                if !wanted.is_empty() && wanted != found.etag {
                    let mut response = reply::json(301, Bytes::new());
                    let location = format!("/openapi/{path}?hash={}", found.etag);
                    if let Ok(location) = HeaderValue::from_str(&location) {
                        response.headers_mut().insert(header::LOCATION, location);
                    }
                    return Ok(response);
                }
                Ok(document(request, &found, !wanted.is_empty()))
            }
        }
    }
}

fn document(request: &Request, document: &Document, immutable: bool) -> Response<Body> {
    let mut response = reply::tagged(request, &document.etag, || {
        if !request.accept.gzip {
            return reply::json(200, document.plain());
        }
        let mut response = reply::json(200, document.gzip.clone());
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    });
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
    if immutable {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    response
}
