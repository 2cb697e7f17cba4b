//! Texts and regular expressions.

use super::{Cost, EvalError, ONE, Result, Row, int, regex, text};
use crate::value::Value;

pub(super) const ROWS: &[Row] = &[
    (".string.contains(string) bool", Cost::Contains, |args| {
        Ok(Value::Bool(text(args, 0)?.contains(text(args, 1)?)))
    }),
    (".string.startsWith(string) bool", Cost::Prefix, |args| {
        Ok(Value::Bool(text(args, 0)?.starts_with(text(args, 1)?)))
    }),
    (".string.endsWith(string) bool", Cost::Prefix, |args| {
        Ok(Value::Bool(text(args, 0)?.ends_with(text(args, 1)?)))
    }),
    (".string.matches(string) bool", Cost::Matches, matches),
    ("matches(string, string) bool", Cost::Matches, matches),
    (".string.find(string) string", Cost::Find, |args| {
        let found = regex(text(args, 1)?)?;
        let found = found.find(text(args, 0)?).map_or("", |found| found.as_str());
        Ok(Value::string(found))
    }),
    (".string.findAll(string) list<string>", Cost::Find, |args| {
        find_all(args, -1)
    }),
    (".string.findAll(string, int) list<string>", Cost::Find, |args| {
        find_all(args, int(args, 2)?)
    }),
    (".string.charAt(int) string", ONE, |args| {
        let (given, at) = (text(args, 0)?, int(args, 1)?);
        let length = given.chars().count();
        let found = usize::try_from(at).ok().filter(|at| *at <= length);
        let found = found.ok_or(EvalError::OutOfBounds(at))?;
        Ok(Value::string(given.chars().skip(found).take(1).collect::<String>()))
    }),
    (".string.indexOf(string) int", Cost::IndexOf, |args| {
        position(args, 0, false)
    }),
    (".string.indexOf(string, int) int", Cost::IndexOf, |args| {
        position(args, int(args, 2)?, false)
    }),
    (".string.lastIndexOf(string) int", Cost::IndexOf, |args| {
        position(args, i64::MAX, true)
    }),
    (".string.lastIndexOf(string, int) int", Cost::IndexOf, |args| {
        position(args, int(args, 2)?, true)
    }),
    (".string.lowerAscii() string", Cost::Scan, |args| {
        Ok(Value::string(text(args, 0)?.to_ascii_lowercase()))
    }),
    (".string.upperAscii() string", Cost::Scan, |args| {
        Ok(Value::string(text(args, 0)?.to_ascii_uppercase()))
    }),
    (".string.trim() string", Cost::Scan, |args| {
        Ok(Value::string(text(args, 0)?.trim()))
    }),
    (".string.replace(string, string) string", Cost::Replace, |args| {
        replaced(text(args, 0)?, text(args, 1)?, text(args, 2)?, -1)
    }),
    (".string.replace(string, string, int) string", Cost::Replace, |args| {
        replaced(text(args, 0)?, text(args, 1)?, text(args, 2)?, int(args, 3)?)
    }),
    (".string.split(string) list<string>", Cost::Split, |args| {
        split(args, -1)
    }),
    (".string.split(string, int) list<string>", Cost::Split, |args| {
        split(args, int(args, 2)?)
    }),
    (".string.substring(int) string", Cost::Scan, |args| {
        substring(text(args, 0)?, int(args, 1)?, None)
    }),
    (".string.substring(int, int) string", Cost::Scan, |args| {
        substring(text(args, 0)?, int(args, 1)?, Some(int(args, 2)?))
    }),
    (".list<string>.join() string", Cost::Join, |args| join(args, "")),
    (".list<string>.join(string) string", Cost::Join, |args| {
        join(args, text(args, 1)?)
    }),
    ("strings.quote(string) string", Cost::Quote, |args| {
        Ok(Value::string(quote(text(args, 0)?)))
    }),
    ("jsonpatch.escapeKey(string) string", Cost::Parse, |args| {
        Ok(Value::string(text(args, 0)?.replace('~', "~0").replace('/', "~1")))
    }),
];

fn matches<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    Ok(Value::Bool(regex(text(args, 1)?)?.is_match(text(args, 0)?)))
}

fn find_all<'a>(args: &[Value<'a>], most: i64) -> Result<Value<'a>> {
    let found = regex(text(args, 1)?)?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let found = found.find_iter(text(args, 0)?).take(most);
    Ok(Value::list(found.map(|found| Value::string(found.as_str())).collect()))
}

/// Where a text is inside another one, in characters.
fn position<'a>(args: &[Value<'a>], from: i64, last: bool) -> Result<Value<'a>> {
    let (given, wanted) = (text(args, 0)?, text(args, 1)?);
    let length = given.chars().count();
    let start = match usize::try_from(from) {
        Ok(start) if start <= length => start,
        _ if last && from == i64::MAX => length,
        _ if wanted.is_empty() && !last => return Ok(Value::Int(from)),
        _ => return Err(EvalError::OutOfBounds(from)),
    };
    let byte = |at: usize| given.char_indices().nth(at).map_or(given.len(), |(byte, _)| byte);
    let found = match last {
        false => given[byte(start)..].find(wanted).map(|at| at + byte(start)),
        true => {
            let end = (byte(start) + wanted.len()).min(given.len());
            let end = (end..=given.len())
                .find(|end| given.is_char_boundary(*end))
                .unwrap_or(end);
            given[..end].rfind(wanted)
        }
    };
    Ok(Value::Int(match found {
        Some(at) => i64::try_from(given[..at].chars().count()).map_err(|_| EvalError::Overflow)?,
        None => -1,
    }))
}

fn replaced<'a>(given: &str, old: &str, new: &str, most: i64) -> Result<Value<'a>> {
    /// So that few characters cannot become very many.
    const LONGEST: usize = 64 << 20;
    let count = match usize::try_from(most) {
        Ok(most) => given.matches(old).take(most).count(),
        Err(_) => given.matches(old).count(),
    };
    if given.len().saturating_add(count.saturating_mul(new.len())) > LONGEST {
        return Err(EvalError::Other("the result of replace is too long".into()));
    }
    Ok(Value::string(given.replacen(old, new, count)))
}

fn split<'a>(args: &[Value<'a>], most: i64) -> Result<Value<'a>> {
    let (given, separator) = (text(args, 0)?, text(args, 1)?);
    let most = match usize::try_from(most) {
        Ok(most) => most,
        Err(_) => usize::MAX,
    };
    if most == 0 {
        return Ok(Value::list(Vec::new()));
    }
    let parts: Vec<Value<'a>> = if separator.is_empty() {
        let mut rest = given;
        let mut parts = Vec::new();
        while let Some(c) = rest.chars().next() {
            let end = if parts.len() + 1 == most {
                rest.len()
            } else {
                c.len_utf8()
            };
            parts.push(Value::string(&rest[..end]));
            rest = &rest[end..];
        }
        parts
    } else {
        given.splitn(most, separator).map(Value::string).collect()
    };
    Ok(Value::list(parts))
}

fn substring<'a>(given: &str, start: i64, end: Option<i64>) -> Result<Value<'a>> {
    let length = given.chars().count();
    let inside = |at: i64| usize::try_from(at).ok().filter(|at| *at <= length);
    let from = inside(start).ok_or(EvalError::OutOfBounds(start))?;
    let to = match end {
        Some(end) => inside(end).ok_or(EvalError::OutOfBounds(end))?,
        None => length,
    };
    if from > to {
        return Err(EvalError::Other(format!(
            "invalid substring range. start: {from}, end: {to}"
        )));
    }
    Ok(Value::string(
        given.chars().skip(from).take(to - from).collect::<String>(),
    ))
}

fn join<'a>(args: &[Value<'a>], separator: &str) -> Result<Value<'a>> {
    let Value::List(list) = &args[0] else {
        return Err(EvalError::NoSuchOverload);
    };
    let mut joined = String::new();
    for (at, item) in list.iter().enumerate() {
        if at > 0 {
            joined.push_str(separator);
        }
        joined.push_str(item.as_str().ok_or(EvalError::NoSuchOverload)?);
    }
    Ok(Value::string(joined))
}

/// A text in quotes, with what cannot be seen in words.
pub(super) fn quote(given: &str) -> String {
    let mut quoted = String::from("\"");
    for c in given.chars() {
        match c {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
