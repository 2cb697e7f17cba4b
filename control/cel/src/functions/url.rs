//! URLs as Go reads the target of a request: absolute, or a path.

use std::rc::Rc;

use super::{Cost, EvalError, ONE, Opaque, Result, Row, text};
use crate::value::{Map, Value};

/// The parts of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    host: String,
    path: String,
    query: String,
}

pub(super) const ROWS: &[Row] = &[
    ("url(string) URL", Cost::Url, |args| {
        let given = text(args, 0)?;
        let url = Url::parse(given).ok_or_else(|| {
            EvalError::Other(format!(
                "URL parse error during conversion from string: parse {given:?}: invalid URI for request"
            ))
        })?;
        Ok(Value::Opaque(Rc::new(Opaque::Url(url))))
    }),
    ("isURL(string) bool", ONE, |args| {
        Ok(Value::Bool(Url::parse(text(args, 0)?).is_some()))
    }),
    (".URL.getScheme() string", ONE, |args| {
        Ok(Value::string(&url(args)?.scheme))
    }),
    (".URL.getHost() string", ONE, |args| Ok(Value::string(&url(args)?.host))),
    (".URL.getHostname() string", ONE, |args| {
        Ok(Value::string(url(args)?.name_and_port().0))
    }),
    (".URL.getPort() string", ONE, |args| {
        Ok(Value::string(url(args)?.name_and_port().1))
    }),
    (".URL.getEscapedPath() string", ONE, |args| {
        Ok(Value::string(&url(args)?.path))
    }),
    (".URL.getQuery() map<string,list<string>>", ONE, |args| {
        let mut entries: Vec<(Value<'_>, Vec<Value<'_>>)> = Vec::new();
        for pair in url(args)?.query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(key), Some(value)) = (unescape(key), unescape(value)) else {
                continue;
            };
            let (key, value) = (Value::string(key), Value::string(value));
            match entries.iter_mut().find(|(known, _)| known.same(&key)) {
                Some((_, values)) => values.push(value),
                None => entries.push((key, vec![value])),
            }
        }
        let entries: Vec<_> = entries
            .into_iter()
            .map(|(key, values)| (key, Value::list(values)))
            .collect();
        Ok(Value::Map(Map::Made(entries.into())))
    }),
];

fn url<'v>(args: &'v [Value<'_>]) -> Result<&'v Url> {
    match args.first() {
        Some(Value::Opaque(opaque)) => match &**opaque {
            Opaque::Url(url) => Ok(url),
            _ => Err(EvalError::NoSuchOverload),
        },
        _ => Err(EvalError::NoSuchOverload),
    }
}

impl Url {
    pub(super) fn parse(given: &str) -> Option<Url> {
        if given.is_empty() || given.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return None;
        }
        let (scheme, rest) = match given.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
            _ if given.starts_with('/') => (String::new(), given),
            _ => return None,
        };
        // Only what a server is asked for: no opaque ones, and a fragment is a part of the path.
        if !rest.starts_with('/') {
            return None;
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = match rest.strip_prefix("//").filter(|_| !scheme.is_empty()) {
            Some(rest) => {
                let end = rest.find('/').unwrap_or(rest.len());
                let authority = &rest[..end];
                let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                (host.to_owned(), &rest[end..])
            }
            None => (String::new(), rest),
        };
        if !is_host(&host) || unescape_path(path).is_none() {
            return None;
        }
        Some(Url {
            scheme,
            host,
            path: escaped(path),
            query: query.to_owned(),
        })
    }

    fn name_and_port(&self) -> (&str, &str) {
        if let Some((name, after)) = self.host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            return (name, after.strip_prefix(':').unwrap_or(""));
        }
        self.host.rsplit_once(':').unwrap_or((&self.host, ""))
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn is_host(host: &str) -> bool {
    let port = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((_, after)) => after,
            None => return false,
        },
        None => match host.find(':') {
            Some(at) => &host[at..],
            None => "",
        },
    };
    let fits = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    fits && !host.contains([' ', '<', '>', '"', '\\', '^', '`', '{', '|', '}'])
}

/// Text with its escapes resolved; `None` if one is broken.
fn decoded(text: &str, plus: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
            }
            b'+' if plus => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn unescape(text: &str) -> Option<String> {
    decoded(text, true)
}

fn unescape_path(text: &str) -> Option<String> {
    decoded(text, false)
}

/// A path with everything escaped that has to be.
fn escaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b if b.is_ascii_alphanumeric() => out.push(char::from(b)),
            b'%' | b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@' | b'!'
            | b'\'' | b'(' | b')' | b'*' | b'[' | b']' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
