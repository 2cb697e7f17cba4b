//! Reading many objects, page by page if wanted.

use std::sync::Arc;

use barepod_kinds::{Invalid, Kind as ErrorKind};
use barepod_store::{Object, Page, Range, ReadError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use super::accept::Form;
use super::body::{Body, ListBody};
use super::encode::to_bytes;
use super::get::revision;
use super::registry::Kind;
use super::request::Request;
use super::select::{Scope, Selection};
use super::status::{ApiError, ApiResult};
use super::table::{self, Include, ListMeta, Source};
use super::{Engine, Target, reply};

/// Where a list goes on.
#[derive(Debug, PartialEq, Eq)]
struct Continue {
    /// The revision of the first page; `None` goes on with the current state.
    at: Option<u64>,
    /// The key after which to go on, relative to the resource's prefix.
    start: String,
    /// How many objects there are behind it, if that was counted. Only reported: nothing depends on its truth.
    left: Option<usize>,
}

impl Continue {
    fn encode(&self) -> String {
        let revision = self.at.map_or(-1, |at| i64::try_from(at).unwrap_or(i64::MAX));
        let token = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": self.start, "left": self.left});
        URL_SAFE_NO_PAD.encode(token.to_string())
    }

    fn decode(text: &str) -> ApiResult<Self> {
        let invalid = |why: &str| ApiError::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|error| invalid(&error.to_string()))?;
        let token: Value = serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))?;
        if token["v"] != "meta.k8s.io/v1" {
            return Err(invalid("server does not recognize this encoded version"));
        }
        let start = token["start"].as_str().filter(|start| !start.is_empty());
        let start = start.ok_or_else(|| invalid("encoded start key missing"))?.to_owned();
        let at = match token["rv"].as_i64() {
            Some(-1) => None,
            Some(at) if at > 0 => u64::try_from(at).ok(),
            _ => return Err(invalid("incorrect encoded start resourceVersion")),
        };
        let left = token["left"].as_u64().and_then(|left| usize::try_from(left).ok());
        Ok(Continue { at, start, left })
    }
}

/// Where and when a page begins.
#[derive(Debug, Default)]
pub(super) struct Start {
    /// The revision to read at, if not the current one.
    at: Option<u64>,
    /// The key after which it begins.
    after: Option<String>,
    /// How many objects there are from there on, if that is known.
    left: Option<usize>,
}

/// A page of selected objects.
pub(super) struct Listed {
    pub(super) objects: Vec<Arc<Object>>,
    pub(super) revision: u64,
    /// How many more there are; only known without a selector.
    remaining: usize,
    last: Option<String>,
}

impl Engine {
    pub(super) async fn list(&self, request: &Request, target: Target<'_>) -> ApiResult<Response<Body>> {
        let kind = target.kind;
        let namespace = (!target.namespace.is_empty()).then_some(target.namespace);
        let selection = Selection::parse(kind, &request.query)?;
        let form = request.accept.form().ok_or_else(ApiError::not_acceptable)?;
        let limit: usize = request
            .query
            .number("limit")?
            .map_or(0, |limit| usize::try_from(limit).unwrap_or(0));
        let start = self.starting_point(request, kind.prefix.as_str(), limit)?;
        let scope = selection.scope(kind, namespace);
        let listed = self
            .select(kind, &selection, &scope, &start, limit)
            .map_err(|error| match error {
                ReadError::Compacted { .. } if start.after.is_some() => {
                    let start = start
                        .after
                        .as_deref()
                        .and_then(|key| key.strip_prefix(&kind.prefix))
                        .unwrap_or("")
                        .to_owned();
                    ApiError::expired_continue(
                        Continue {
                            at: None,
                            start,
                            left: None,
                        }
                        .encode(),
                    )
                }
                ReadError::Compacted { .. } => ApiError::expired_list(),
                ReadError::Future { requested, current } => ApiError::future(requested, current),
            })?;
        let mut meta = ListMeta {
            revision: listed.revision.to_string(),
            ..ListMeta::default()
        };
        if let Some(last) = listed.last.as_deref().and_then(|key| key.strip_prefix(&kind.prefix)) {
            meta.continue_token = Continue {
                at: Some(listed.revision),
                start: last.to_owned(),
                left: selection.is_all().then_some(listed.remaining),
            }
            .encode();
            meta.remaining = selection.is_all().then_some(listed.remaining);
        }
        let body = match form {
            Form::Object => {
                let list = object_list(kind, &meta, listed.objects).await?;
                if request.pretty() {
                    Body::from(reply::indent(&list.collect()))
                } else {
                    list.into()
                }
            }
            Form::Table(version) => {
                let include = Include::parse(&request.query)?;
                let text = if kind.reshapes() {
                    let reshaped = kind.reshaped(&listed.objects).await?;
                    let sources = reshaped.iter().map(|(value, text)| Source::Loose(value, text));
                    Bytes::from(table::table(version, kind, sources, &meta, include, true))
                } else {
                    let sources = listed.objects.iter().map(|object| Source::Stored(object));
                    Bytes::from(table::table(version, kind, sources, &meta, include, true))
                };
                Body::from(if request.pretty() { reply::indent(&text) } else { text })
            }
            Form::Metadata(_) => return Err(ApiError::not_the_form(kind, "PartialObjectMetadata", true)),
            Form::MetadataList(version) => {
                let text = Bytes::from(partial_list(version, &meta, &listed.objects));
                Body::from(if request.pretty() { reply::indent(&text) } else { text })
            }
        };
        Ok(reply::json(200, body))
    }

    /// The revision to read at and the key after which to start.
    fn starting_point(&self, request: &Request, prefix: &str, limit: usize) -> ApiResult<Start> {
        let query = &request.query;
        let asked = revision(request)?;
        let matching = query.text("resourceVersionMatch");
        let forbidden = |field: &str, detail: &str| {
            let detail = detail.to_owned();
            let field = field.into();
            let error = Invalid {
                field,
                kind: ErrorKind::Forbidden,
                value: Value::Null,
                detail,
            };
            Err(ApiError::invalid_options("ListOptions", error))
        };
        if query.get("sendInitialEvents").is_some() {
            return forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
        }
        if !matching.is_empty() && query.text("resourceVersion").is_empty() {
            return forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            );
        }
        let token = query.text("continue");
        if !token.is_empty() {
            if !matching.is_empty() {
                return forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden when continue is provided",
                );
            }
            if asked.is_some() {
                let message = "specifying resource version is not allowed when using continue";
                return Err(ApiError::bad_request(message));
            }
            let token = Continue::decode(token)?;
            return Ok(Start {
                at: token.at,
                after: Some(format!("{prefix}{}", token.start)),
                // What there is now is not what was counted.
                left: token.left.filter(|_| token.at.is_some()),
            });
        }
        let exactly = Ok(Start {
            at: asked,
            ..Start::default()
        });
        match matching {
            "Exact" if asked.is_none() => forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ),
            "Exact" => exactly,
            // Pages were of the revision asked for before there was a word for it.
            "" if limit > 0 && asked.is_some() => exactly,
            "" | "NotOlderThan" => {
                self.check_revision(request)?;
                Ok(Start::default())
            }
            other => {
                let detail = "supported values: \"Exact\", \"NotOlderThan\"".into();
                let field = "resourceVersionMatch".into();
                let error = Invalid {
                    field,
                    kind: ErrorKind::NotSupported,
                    value: other.into(),
                    detail,
                };
                Err(ApiError::invalid_options("ListOptions", error))
            }
        }
    }

    /// Selected objects of a part of the key space, at most `limit` if that is not 0.
    pub(super) fn select(
        &self,
        kind: &Kind,
        selection: &Selection,
        scope: &Scope,
        start: &Start,
        limit: usize,
    ) -> Result<Listed, ReadError> {
        let everything = selection.is_all() && matches!(scope, Scope::Below(_));
        let store_limit = if everything { limit } else { 0 };
        let page = self.store.range(&Range {
            prefix: scope.text(),
            after: start.after.as_deref(),
            limit: store_limit,
            left: start.left,
            at: start.at,
        })?;
        let Page {
            mut objects,
            revision,
            remaining,
        } = page;
        if everything {
            let last = (remaining > 0)
                .then(|| objects.last().map(|object| object.key().to_owned()))
                .flatten();
            return Ok(Listed {
                objects,
                revision,
                remaining,
                last,
            });
        }
        objects.retain(|object| scope.contains(object.key()) && selection.matches(kind, object));
        let mut last = None;
        if limit > 0 && objects.len() > limit {
            objects.truncate(limit);
            last = objects.last().map(|object| object.key().to_owned());
        }
        Ok(Listed {
            objects,
            revision,
            remaining: 0,
            last,
        })
    }
}

/// A list of objects.
pub(super) enum ObjectList {
    /// One that is put together from stored texts while it is sent.
    Shared(ListBody),
    /// One that is written out.
    Written(Bytes),
}

impl ObjectList {
    fn collect(self) -> Bytes {
        match self {
            ObjectList::Shared(list) => list.collect(),
            ObjectList::Written(text) => text,
        }
    }
}

impl From<ObjectList> for Body {
    fn from(list: ObjectList) -> Self {
        match list {
            ObjectList::Shared(list) => Body::List(list),
            ObjectList::Written(text) => text.into(),
        }
    }
}

/// The list of some stored objects. Kind and version are said by the list alone, except of custom kinds, whose objects
/// always say them.
pub(super) async fn object_list(kind: &Kind, meta: &ListMeta, objects: Vec<Arc<Object>>) -> ApiResult<ObjectList> {
    let (list_kind, api_version) = (kind.resource.list_kind(), &kind.api_version);
    let mut head = format!("{{\"kind\":\"{list_kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":").into_bytes();
    head.extend_from_slice(&to_bytes(&meta.to_value(), false));
    head.extend_from_slice(b",\"items\":[");
    if !kind.converts() {
        return Ok(ObjectList::Shared(ListBody::new(head.into(), objects)));
    }
    let texts: Vec<Bytes> = match kind.reshapes() {
        true => {
            let reshaped = kind.reshaped(&objects).await?;
            reshaped.into_iter().map(|(_, text)| text).collect()
        }
        false => objects.iter().map(|object| kind.item(object)).collect(),
    };
    for (at, text) in texts.iter().enumerate() {
        if at > 0 {
            head.push(b',');
        }
        head.extend_from_slice(text);
    }
    head.extend_from_slice(b"]}");
    Ok(ObjectList::Written(head.into()))
}

fn partial_list(version: &str, meta: &ListMeta, objects: &[Arc<Object>]) -> Vec<u8> {
    let mut out = Vec::new();
    table::begin("PartialObjectMetadataList", version, &mut out);
    out.extend_from_slice(&to_bytes(&meta.to_value(), false));
    out.extend_from_slice(br#","items":["#);
    for (at, object) in objects.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        table::partial(version, object.bytes(), &mut out);
    }
    out.extend_from_slice(b"]}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continue_tokens() {
        let token = Continue {
            at: Some(7),
            start: "a/b".into(),
            left: Some(3),
        };
        assert_eq!(Continue::decode(&token.encode()).unwrap(), token);
        let inconsistent = Continue {
            at: None,
            start: "a/b".into(),
            left: None,
        };
        assert_eq!(Continue::decode(&inconsistent.encode()).unwrap(), inconsistent);
        assert_eq!(Continue::decode("?").unwrap_err().code, 400);
        assert_eq!(Continue::decode(&URL_SAFE_NO_PAD.encode("{}")).unwrap_err().code, 400);
    }
}
