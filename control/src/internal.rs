//! Requests of this process to itself, in JSON.

use anyhow::Context;
use serde_json::Value;

use crate::engine::Engine;
use crate::engine::identity::User;
use crate::engine::request::Request;

/// Makes a request as the API server; returns the code and the body of the answer.
pub async fn call(
    engine: &Engine,
    method: &str,
    path: &str,
    content_type: &str,
    body: Option<&Value>,
) -> anyhow::Result<(u16, Value)> {
    call_as(engine, "kube-apiserver", method, path, content_type, body).await
}

/// As [`call`], with another name for the managed fields.
pub async fn call_as(
    engine: &Engine,
    manager: &str,
    method: &str,
    path: &str,
    content_type: &str,
    body: Option<&Value>,
) -> anyhow::Result<(u16, Value)> {
    let builder = ::http::Request::builder().method(method).uri(path);
    let builder = builder
        .header("content-type", content_type)
        .header("user-agent", manager);
    let (parts, ()) = builder.body(()).context("build a request")?.into_parts();
    let body = body.map(|body| body.to_string().into()).unwrap_or_default();
    let request = Request::new(&parts, User::internal("system:apiserver").into(), body);
    let response = engine.handle(request).await;
    let code = response.status().as_u16();
    let body = http_body_util::BodyExt::collect(response.into_body()).await;
    let body = body
        .map_err(|error| anyhow::anyhow!("read the answer of {path}: {error}"))?
        .to_bytes();
    Ok((code, serde_json::from_slice(&body).unwrap_or_default()))
}
