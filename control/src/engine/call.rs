//! Calls to webhooks, of admission and of conversion.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use serde_json::Value;

use super::locate::{Lookup, reach};
use super::status::{ApiError, ApiResult};
use crate::http::{Extension, Extensions, Trust};

/// The most that is read of an answer.
const ANSWER_BYTES: usize = 16 << 20;

/// Where a webhook is.
pub(super) struct Place {
    /// As the `Host` header has it.
    host: String,
    path: String,
    extension: Extension,
}

impl Place {
    /// Where a `clientConfig` points to.
    pub(super) fn of(known: &dyn Lookup, client: &Value) -> ApiResult<Self> {
        let bundle = STANDARD.decode(client["caBundle"].as_str().unwrap_or(""));
        let trust = match bundle {
            Ok(pem) if !pem.is_empty() => Trust::Bundle(pem),
            _ => Trust::System,
        };
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let or_root = |path: String| if path.is_empty() { "/".to_owned() } else { path };
        if let Some(url) = client["url"].as_str() {
            let uri: http::Uri = url
                .parse()
                .map_err(|error| ApiError::plain(format!("bad URL {url:?}: {error}")))?;
            let name = uri.host().unwrap_or("").trim_matches(['[', ']']).to_owned();
            return Ok(Place {
                host: uri.authority().map(ToString::to_string).unwrap_or_default(),
                path: or_root(uri.path().to_owned()),
                extension: Extension {
                    host: name.clone(),
                    port: uri.port_u16().unwrap_or(443),
                    name,
                    trust,
                },
            });
        }
        let service = &client["service"];
        let (namespace, name) = (text(&service["namespace"]), text(&service["name"]));
        let port = service["port"].as_u64().unwrap_or(443);
        let (host, own_port) = reach(known, &namespace, &name, &port.to_string())?;
        let name = format!("{name}.{namespace}.svc");
        Ok(Place {
            host: format!("{name}:{port}"),
            path: or_root(text(&service["path"])),
            extension: Extension {
                host,
                port: own_port,
                name,
                trust,
            },
        })
    }

    /// Sends a review and reads the answer, for which the webhook has so many seconds, and is told so.
    pub(super) async fn post(
        &self,
        extensions: &Extensions,
        purpose: &str,
        seconds: u64,
        review: &Value,
    ) -> Result<Value, String> {
        let uri = format!("{}?timeout={seconds}s", self.path);
        let answer = self.exchange(extensions, purpose, &uri, review);
        // The words are those of Go's client, which people and tests look for.
        let answer = tokio::time::timeout(Duration::from_secs(seconds), answer)
            .await
            .unwrap_or_else(|_| Err("context deadline exceeded".to_owned()));
        answer.map_err(|why| format!("Post \"https://{}{uri}\": {why}", self.host))
    }

    async fn exchange(
        &self,
        extensions: &Extensions,
        purpose: &str,
        uri: &str,
        review: &Value,
    ) -> Result<Value, String> {
        let request = http::Request::post(uri)
            .header("host", &self.host)
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .header("user-agent", format!("kube-apiserver-{purpose}"))
            .body(Full::new(Bytes::from(review.to_string())))
            .map_err(|error| error.to_string())?;
        let answer = extensions.call(&self.extension, request).await;
        let answer = answer.map_err(|error| chain(&error))?;
        let code = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        if !code.is_success() {
            let text = String::from_utf8_lossy(&body).trim().to_owned();
            return Err(format!("the webhook answered {}: {text}", code.as_u16()));
        }
        serde_json::from_slice(&body).map_err(|error| format!("the answer is not JSON: {error}"))
    }
}

/// An error with its causes, which say what a client can do about it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}
