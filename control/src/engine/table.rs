//! Representations other than the object itself: tables for people, and metadata only.

use barepod_store::Object;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::encode::to_bytes;
use super::head::parse;
use super::registry::Kind;
use super::request::Query;
use super::status::{ApiError, ApiResult};

/// What a table row carries of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// The metadata.
    Metadata,
    /// All of it.
    Object,
}

impl Include {
    /// Reads `includeObject`.
    pub fn parse(query: &Query) -> ApiResult<Self> {
        match query.text("includeObject") {
            "" | "Metadata" => Ok(Include::Metadata),
            "None" => Ok(Include::None),
            "Object" => Ok(Include::Object),
            other => Err(ApiError::bad_request(format!(
                "unrecognized includeObject value: {other:?}"
            ))),
        }
    }
}

/// The metadata of a list.
#[derive(Debug, Default, Clone)]
pub struct ListMeta {
    /// `resourceVersion`.
    pub revision: String,
    /// `continue`, empty at the end.
    pub continue_token: String,
    /// `remainingItemCount`.
    pub remaining: Option<usize>,
}

impl ListMeta {
    /// As JSON.
    pub fn to_value(&self) -> Value {
        let mut value = json!({"resourceVersion": self.revision});
        if !self.continue_token.is_empty() {
            value["continue"] = self.continue_token.as_str().into();
        }
        if let Some(remaining) = self.remaining {
            value["remainingItemCount"] = remaining.into();
        }
        value
    }
}

#[derive(Deserialize)]
struct OnlyMetadata<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

fn raw_metadata(object: &[u8]) -> &str {
    serde_json::from_slice::<OnlyMetadata<'_>>(object).map_or("{}", |only| only.metadata.get())
}

/// A `PartialObjectMetadata` of this group and version as JSON text.
pub fn partial(version: &str, object: &[u8], out: &mut Vec<u8>) {
    begin("PartialObjectMetadata", version, out);
    out.extend_from_slice(raw_metadata(object).as_bytes());
    out.push(b'}');
}

/// The beginning of an object as JSON text, up to the value of `metadata`.
pub fn begin(kind: &str, version: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!(r#"{{"kind":"{kind}","apiVersion":"{version}","metadata":"#).as_bytes());
}

/// Something a row or an item can be made of.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A stored object.
    Stored(&'a Object),
    /// An object that is not stored, with its text.
    Loose(&'a Value, &'a [u8]),
}

impl Source<'_> {
    /// The metadata is the same in every version.
    fn text(&self) -> &[u8] {
        match self {
            Source::Stored(object) => object.bytes(),
            Source::Loose(_, text) => text,
        }
    }
}

/// A `Table` of this group and version as JSON text. Without `columns` the definitions are left out, as in all but the
/// first event of a watch.
pub fn table<'a>(
    version: &str,
    kind: &Kind,
    sources: impl Iterator<Item = Source<'a>>,
    meta: &ListMeta,
    include: Include,
    columns: bool,
) -> Vec<u8> {
    let now = Timestamp::now();
    let mut out = Vec::with_capacity(4096);
    begin("Table", version, &mut out);
    out.extend_from_slice(&to_bytes(&meta.to_value(), false));
    out.extend_from_slice(br#","columnDefinitions":"#);
    if columns {
        let definitions = kind.strategy.columns().iter().map(|column| {
            json!({
                "name": column.name, "type": column.type_, "format": column.format,
                "description": column.description, "priority": column.priority,
            })
        });
        out.extend_from_slice(&to_bytes(&definitions.collect::<Vec<_>>(), false));
    } else {
        out.extend_from_slice(b"null");
    }
    out.extend_from_slice(br#","rows":["#);
    for (at, source) in sources.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let cells = match source {
            Source::Stored(object) => kind.strategy.cells(&parse(object), now),
            Source::Loose(value, _) => kind.strategy.cells(value, now),
        };
        out.extend_from_slice(br#"{"cells":"#);
        out.extend_from_slice(&to_bytes(&Value::Array(cells), false));
        match include {
            Include::None => {}
            Include::Metadata => {
                out.extend_from_slice(br#","object":"#);
                partial(version, source.text(), &mut out);
            }
            Include::Object => {
                out.extend_from_slice(br#","object":"#);
                match source {
                    Source::Stored(object) => out.extend_from_slice(&kind.dressed(object)),
                    Source::Loose(_, text) => out.extend_from_slice(text),
                }
            }
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}
