//! Decoding of request bodies: JSON, YAML and Kubernetes protobuf, all to [`serde_json::Value`] with JSON names.

mod json;
mod protobuf;
mod yaml;

use serde_json::Value;

/// How many levels deep a body may be nested. What is stored is read back with the 128 levels that serde_json allows;
/// the ownership of its fields (`managedFields`) takes five levels more than the fields themselves.
pub const MAX_DEPTH: usize = 120;

/// A decoded body.
#[derive(Debug, PartialEq)]
pub struct Decoded {
    /// The object.
    pub value: Value,
    /// Paths of fields given more than once, such as `spec.replicas` (the last one counts). kube words them `duplicate
    /// field "…"`.
    pub duplicate_fields: Vec<String>,
}

/// Why a body could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The server answers 415.
    #[error(
        "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )]
    UnsupportedMediaType {
        /// The content type of the request.
        content_type: String,
    },
    /// Not JSON.
    #[error("couldn't parse the body as JSON")]
    Json(#[source] serde_json::Error),
    /// Not YAML, or YAML that has no counterpart in JSON.
    #[error("couldn't parse the body as YAML: {message}")]
    Yaml {
        /// What is wrong, and where.
        message: String,
    },
    /// A protobuf body that is cut short or wrongly encoded.
    #[error("couldn't parse the body as protobuf: {message} at byte {offset}")]
    Protobuf {
        /// What is wrong.
        message: &'static str,
        /// Where, counted from the start of the body.
        offset: usize,
    },
    /// A protobuf body of a kind without known field numbers.
    #[error("no kind \"{kind}\" is registered for version \"{api_version}\"")]
    UnknownKind {
        /// The `apiVersion` of the envelope.
        api_version: String,
        /// The `kind` of the envelope.
        kind: String,
    },
}

/// Decodes a body by its content type; an empty one is taken as JSON, as kube does. Patch types (`…+json`, `…+yaml`)
/// are accepted.
pub fn decode(content_type: &str, bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if media.is_empty() || media == "*/*" || media.eq_ignore_ascii_case("application/json") || media.ends_with("+json")
    {
        json::decode(bytes)
    } else if media.eq_ignore_ascii_case("application/yaml") || media.ends_with("+yaml") {
        yaml::decode(bytes)
    } else if media.eq_ignore_ascii_case("application/vnd.kubernetes.protobuf") {
        protobuf::decode(bytes).map(|value| Decoded {
            value,
            duplicate_fields: Vec::new(),
        })
    } else {
        Err(DecodeError::UnsupportedMediaType {
            content_type: content_type.to_owned(),
        })
    }
}

/// A value as one YAML document, which [`decode`] reads back; `None` for what YAML cannot say.
pub fn to_yaml(value: &Value) -> Option<String> {
    yaml::encode(value)
}

/// How many levels of lists and objects a value has. The value is one that was decoded, or little deeper.
pub(crate) fn nesting(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nesting).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(nesting).max().unwrap_or(0),
        _ => 0,
    }
}
