//! A request, put together from a path and what is asked of it.

use std::fmt::Write as _;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;

const JSON: &str = "application/json";
/// Only the metadata of one object, or of a list.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    target: String,
    accept: &'static str,
    content: &'static str,
    body: Vec<u8>,
}

/// How a patch is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// RFC 7386: lists are replaced as a whole.
    Merge,
    /// Lists with a merge key are merged by it.
    Strategic,
    /// Server-side apply: these fields are the manager's.
    Apply,
}

/// What becomes of the objects that a deleted one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Propagation {
    /// They stay.
    Orphan,
    /// They go afterwards.
    Background,
    /// They go first.
    Foreground,
}

/// How an object is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_period_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    propagation_policy: Option<Propagation>,
    #[serde(skip_serializing_if = "Preconditions::is_empty")]
    preconditions: Preconditions,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Preconditions {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<String>,
}

impl Preconditions {
    fn is_empty(&self) -> bool {
        self.uid.is_none() && self.resource_version.is_none()
    }
}

impl DeleteOptions {
    /// What it owns goes afterwards.
    #[must_use]
    pub fn background() -> Self {
        Self::default().propagation(Propagation::Background)
    }

    /// Seconds it is given to end by itself.
    #[must_use]
    pub fn grace_period(mut self, seconds: i64) -> Self {
        self.grace_period_seconds = Some(seconds);
        self
    }

    /// What becomes of what it owns.
    #[must_use]
    pub fn propagation(mut self, policy: Propagation) -> Self {
        self.propagation_policy = Some(policy);
        self
    }

    /// Only the object with this uid.
    #[must_use]
    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.preconditions.uid = Some(uid.into());
        self
    }

    /// Only the object as it was at this resource version.
    #[must_use]
    pub fn revision(mut self, resource_version: impl Into<String>) -> Self {
        self.preconditions.resource_version = Some(resource_version.into());
        self
    }
}

impl Request {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            target: path.into(),
            accept: JSON,
            content: JSON,
            body: Vec::new(),
        }
    }

    /// Reads an object or a collection.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Makes an object in a collection, or posts to a subresource.
    pub fn create(path: impl Into<String>, json: Vec<u8>) -> Self {
        Self {
            body: json,
            ..Self::new(Method::POST, path)
        }
    }

    /// Replaces an object.
    pub fn replace(path: impl Into<String>, json: Vec<u8>) -> Self {
        Self {
            body: json,
            ..Self::new(Method::PUT, path)
        }
    }

    /// Changes an object.
    pub fn patch(path: impl Into<String>, patch: Patch, change: &Value) -> Self {
        Self {
            content: match patch {
                Patch::Merge => "application/merge-patch+json",
                Patch::Strategic => "application/strategic-merge-patch+json",
                // JSON is YAML.
                Patch::Apply => "application/apply-patch+yaml",
            },
            body: change.to_string().into_bytes(),
            ..Self::new(Method::PATCH, path)
        }
    }

    /// Deletes an object or all of a collection.
    pub fn delete(path: impl Into<String>, options: &DeleteOptions) -> Self {
        Self {
            body: serde_json::to_vec(options).expect("options have text keys only"),
            ..Self::new(Method::DELETE, path)
        }
    }

    /// In the name of this field manager.
    #[must_use]
    pub fn manager(self, name: &str) -> Self {
        self.query("fieldManager", name)
    }

    /// Adds a parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(name);
        self.target.push('=');
        for byte in value.bytes() {
            match byte {
                // RFC 3986, section 2.3.
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    self.target.push(char::from(byte));
                }
                _ => {
                    let _ = write!(self.target, "%{byte:02X}");
                }
            }
        }
        self
    }

    /// The answer as this media type.
    #[must_use]
    pub fn accept(mut self, media_type: &'static str) -> Self {
        self.accept = media_type;
        self
    }

    /// Only the metadata of the object, or of the objects of a watch.
    #[must_use]
    pub fn metadata(self) -> Self {
        self.accept(METADATA)
    }

    /// Only the metadata of a list.
    #[must_use]
    pub fn metadata_list(self) -> Self {
        self.accept(METADATA_LIST)
    }

    pub(crate) fn into_http(self) -> Result<http::Request<Bytes>, Error> {
        let mut request = http::Request::builder()
            .method(self.method)
            .uri(self.target)
            .header(USER_AGENT, concat!("barepod/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, self.accept);
        if !self.body.is_empty() {
            request = request.header(CONTENT_TYPE, self.content);
        }
        request.body(self.body.into()).map_err(Error::Request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn queries_are_escaped() {
        let request = Request::get("/api/v1/pods")
            .query("fieldSelector", "spec.nodeName=a b")
            .query("watch", "true");
        let request = request.into_http().unwrap();
        assert_eq!(
            request.uri().to_string(),
            "/api/v1/pods?fieldSelector=spec.nodeName%3Da%20b&watch=true"
        );
        assert!(request.headers().get(CONTENT_TYPE).is_none());
    }

    #[test]
    fn options_of_a_deletion() {
        let text = |options: &DeleteOptions| serde_json::to_value(options).unwrap();
        assert_eq!(text(&DeleteOptions::default()), json!({}));
        assert_eq!(
            text(&DeleteOptions::background().grace_period(0).uid("u").revision("7")),
            json!({"gracePeriodSeconds": 0, "propagationPolicy": "Background",
                "preconditions": {"uid": "u", "resourceVersion": "7"}})
        );
    }
}
