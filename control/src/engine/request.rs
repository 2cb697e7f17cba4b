//! What a request asks for, read from its method, path, query and headers.

use std::borrow::Cow;
use std::num::{IntErrorKind, ParseIntError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use barepod_admission::Notes;
use bytes::Bytes;
use http::{HeaderMap, Method};

use super::accept::Accept;
use super::identity::User;
use super::status::{ApiError, ApiResult, quote};

/// One request to the engine.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, undecoded.
    pub path: String,
    /// The query parameters.
    pub query: Query,
    /// What the client accepts.
    pub accept: Accept,
    /// `Content-Type`, empty if there is none.
    pub content_type: String,
    /// `User-Agent`, empty if there is none.
    pub user_agent: String,
    /// `If-None-Match`, empty if there is none.
    pub if_none_match: String,
    /// Who asks.
    pub user: Arc<User>,
    /// The body.
    pub body: Bytes,
    /// What admission says besides yes and no.
    pub notes: Mutex<Notes>,
}

impl Request {
    /// Takes what the engine needs from an HTTP request.
    pub fn new(parts: &http::request::Parts, user: Arc<User>, body: Bytes) -> Self {
        Request {
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            query: Query::parse(parts.uri.query().unwrap_or("")),
            accept: Accept::from_headers(&parts.headers),
            content_type: header(&parts.headers, http::header::CONTENT_TYPE).to_owned(),
            user_agent: header(&parts.headers, http::header::USER_AGENT).to_owned(),
            if_none_match: header(&parts.headers, http::header::IF_NONE_MATCH).to_owned(),
            user,
            body,
            notes: Mutex::default(),
        }
    }

    /// The notes so far.
    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the answer should be indented: asked for, or the client is one that a person types.
    pub fn pretty(&self) -> bool {
        match self.query.get("pretty") {
            Some(value) => value != "0" && value != "false",
            None => ["curl", "Wget", "Mozilla"]
                .iter()
                .any(|agent| self.user_agent.starts_with(agent)),
        }
    }
}

/// A header as text, empty if absent or not text.
pub fn header(headers: &HeaderMap, name: http::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// Query parameters, decoded.
#[derive(Debug, Default, Clone)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (
                decode(&name.replace('+', " ")).into_owned(),
                decode(&value.replace('+', " ")).into_owned(),
            )
        });
        Query(pairs.collect())
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter, empty if absent.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A boolean parameter; absent is `None`, present without a value is true.
    pub fn flag(&self, name: &str) -> ApiResult<Option<bool>> {
        match self.get(name) {
            None => Ok(None),
            Some("" | "1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(Some(false)),
            Some(other) => Err(ApiError::bad_request(format!(
                "invalid value {other:?} of the parameter {name}"
            ))),
        }
    }

    /// A whole number. What is none is told as `strconv.ParseInt` of Go does.
    pub fn number(&self, name: &str) -> ApiResult<Option<i64>> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|error: ParseIntError| {
            let why = match error.kind() {
                IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            ApiError::bad_request(format!("strconv.ParseInt: parsing {}: {why}", quote(text)))
        })
    }
}

/// Decodes `%XX`. What is no valid encoding, or not UTF-8 then, stays or is replaced.
pub fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let digit = |at: usize| {
        bytes
            .get(at)
            .and_then(|b| char::from(*b).to_digit(16))
            .and_then(|d| u8::try_from(d).ok())
    };
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            (byte, _, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// A path below `/api` or `/apis`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourcePath {
    /// The API group, empty for the core one.
    pub group: String,
    /// The version.
    pub version: String,
    /// The namespace.
    pub namespace: Option<String>,
    /// The plural name.
    pub resource: String,
    /// The object.
    pub name: Option<String>,
    /// The subresource.
    pub subresource: Option<String>,
    /// The path itself asks to watch, as clients older than the `watch` parameter do: `/api/v1/watch/…`.
    pub watch: bool,
    /// What follows the subresource, undecoded, without its leading slash; `None` if nothing, not even a slash, does.
    pub rest: Option<String>,
}

impl ResourcePath {
    /// Reads a path that names at least a resource; `None` for others.
    pub fn parse(path: &str) -> Option<Self> {
        let (group, after) = if let Some(after) = path.strip_prefix("/api/") {
            (String::new(), after)
        } else {
            let (group, after) = path.strip_prefix("/apis/")?.split_once('/')?;
            (decode(group).into_owned(), after)
        };
        let (version, after) = after.split_once('/')?;
        let (watch, after) = match after.strip_prefix("watch/") {
            Some(watched) => (true, watched),
            None => (false, after),
        };
        let mut segments = after.split('/');
        let mut next = || {
            segments
                .next()
                .filter(|segment| !segment.is_empty())
                .map(|s| decode(s).into_owned())
        };
        let mut resource = next()?;
        let mut namespace = None;
        let mut name = next();
        let mut subresource = if name.is_some() { next() } else { None };
        let mut used = 3;
        // A namespace's own subresources look like resources in it.
        let own = |segment: &String| group.is_empty() && (segment == "status" || segment == "finalize");
        if resource == "namespaces" && subresource.as_ref().is_some_and(|segment| !own(segment)) {
            namespace = name.take();
            resource = subresource.take()?;
            name = next();
            subresource = if name.is_some() { next() } else { None };
            used = 5;
        }
        let rest = subresource
            .as_ref()
            .and_then(|_| after.splitn(used + 1, '/').nth(used))
            .map(str::to_owned);
        Some(ResourcePath {
            group,
            version: decode(version).into_owned(),
            namespace,
            resource,
            name,
            subresource,
            watch,
            rest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(
        path: &str,
    ) -> (
        String,
        Option<String>,
        String,
        Option<String>,
        Option<String>,
        Option<String>,
    ) {
        let p = ResourcePath::parse(path).unwrap();
        (
            format!("{}/{}", p.group, p.version),
            p.namespace,
            p.resource,
            p.name,
            p.subresource,
            p.rest,
        )
    }

    #[test]
    fn paths() {
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(
            parse("/api/v1/pods"),
            ("/v1".into(), None, "pods".into(), None, None, None)
        );
        assert_eq!(
            parse("/api/v1/namespaces/a/pods/b/log"),
            ("/v1".into(), some("a"), "pods".into(), some("b"), some("log"), None)
        );
        assert_eq!(
            parse("/api/v1/namespaces/a"),
            ("/v1".into(), None, "namespaces".into(), some("a"), None, None)
        );
        assert_eq!(
            parse("/api/v1/namespaces/a/finalize"),
            (
                "/v1".into(),
                None,
                "namespaces".into(),
                some("a"),
                some("finalize"),
                None
            )
        );
        assert_eq!(
            parse("/apis/apps/v1/namespaces/a/deployments"),
            ("apps/v1".into(), some("a"), "deployments".into(), None, None, None)
        );
        assert_eq!(
            parse("/api/v1/nodes/n/proxy/a%2Fb/c"),
            (
                "/v1".into(),
                None,
                "nodes".into(),
                some("n"),
                some("proxy"),
                some("a%2Fb/c")
            )
        );
        assert_eq!(
            parse("/api/v1/namespaces/a/pods/http:b:80/proxy/"),
            (
                "/v1".into(),
                some("a"),
                "pods".into(),
                some("http:b:80"),
                some("proxy"),
                some("")
            )
        );
        let watched = ResourcePath::parse("/apis/apps/v1/watch/namespaces/a/deployments/b").unwrap();
        assert!(watched.watch && watched.name.as_deref() == Some("b") && watched.resource == "deployments");
        assert!(ResourcePath::parse("/api/v1").is_none() && ResourcePath::parse("/apis/apps").is_none());
    }

    #[test]
    fn queries() {
        let query = Query::parse("labelSelector=a%3Db%2Cc&watch&command=x&command=y+z&limit=5");
        assert_eq!(query.get("labelSelector"), Some("a=b,c"));
        assert_eq!(query.flag("watch").unwrap(), Some(true));
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["x", "y z"]);
        assert_eq!(query.number("limit").unwrap(), Some(5));
        let told = |query: &str| Query::parse(query).number("limit").unwrap_err().message;
        assert_eq!(told("limit=x"), r#"strconv.ParseInt: parsing "x": invalid syntax"#);
        assert_eq!(told("limit"), r#"strconv.ParseInt: parsing "": invalid syntax"#);
        assert_eq!(
            told("limit=9223372036854775808"),
            r#"strconv.ParseInt: parsing "9223372036854775808": value out of range"#
        );
        assert_eq!(decode("%zz%4"), "%zz%4");
    }
}
