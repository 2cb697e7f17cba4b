//! The functions of the language and of Kubernetes' libraries: one row each, with a signature, a cost and what it does.

mod authorizer;
mod convert;
mod formats;
mod formatting;
mod lists;
mod net;
mod numbers;
mod opaque;
mod operators;
mod optional;
mod quantity;
mod semver;
mod text;
mod time;
mod url;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::LazyLock;

use regex_lite::Regex;

use crate::Type;
use crate::error::EvalError;
use crate::value::Value;

pub use authorizer::{Attributes, Authorize, Decision, authorizer, resource};
pub(crate) use formats::pattern_length;
pub(crate) use opaque::Opaque;
pub(crate) use operators::{index, optional_index, shown};
pub use time::parse_duration;
pub(crate) use time::show_duration;

/// What a call costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cost {
    /// Always the same.
    Fixed(u64),
    /// Reads the text it is called with.
    Prefix,
    /// From a text to bytes, and back.
    ToBytes,
    FromBytes,
    /// Looks at every item.
    In,
    /// Reads the shorter one.
    Compare,
    /// Reads both and makes a new one.
    Concat,
    ConcatList,
    /// A regular expression over a text.
    Matches,
    Find,
    /// A text inside a text.
    Contains,
    /// Reads a text and makes one that is not longer.
    Scan,
    /// As that, where the worst case is not counted.
    Parse,
    /// Reads a text twice, where the worst case is not counted.
    ParseTwice,
    /// Reads a URL.
    Url,
    Replace,
    Split,
    Join,
    /// Reads every item to its end.
    Fold,
    /// The position of an item or of a text.
    IndexOf,
    /// `&&` and `||`.
    Logic,
    /// `?:`.
    Choice,
    /// Bits of addresses; whether a text is read for it, and whether both are blocks.
    Block {
        text: bool,
        blocks: bool,
    },
    /// `format` of a text.
    Formatting,
    Quote,
    /// A named format over a text.
    Validate,
}

pub(crate) type Result<T> = std::result::Result<T, EvalError>;
pub(crate) type Run = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>>;
type Row = (&'static str, Cost, Run);

const ONE: Cost = Cost::Fixed(1);

/// A function for certain arguments.
pub(crate) struct Overload {
    pub(crate) name: &'static str,
    /// What it is called on comes first.
    pub(crate) args: Vec<Type>,
    pub(crate) member: bool,
    pub(crate) result: Type,
    pub(crate) cost: Cost,
    pub(crate) run: Run,
    /// The signature, which tells it from others.
    pub(crate) id: &'static str,
}

impl std::fmt::Debug for Overload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id)
    }
}

static OVERLOADS: LazyLock<HashMap<(&'static str, bool), Vec<Overload>>> = LazyLock::new(|| {
    let mut found: HashMap<(&'static str, bool), Vec<Overload>> = HashMap::new();
    for rows in [
        operators::ROWS,
        numbers::ROWS,
        convert::ROWS,
        text::ROWS,
        formatting::ROWS,
        time::ROWS,
        lists::ROWS,
        optional::ROWS,
        url::ROWS,
        net::ROWS,
        quantity::ROWS,
        semver::ROWS,
        formats::ROWS,
        authorizer::ROWS,
    ] {
        for row in rows {
            let overload = overload(row);
            found
                .entry((overload.name, overload.member))
                .or_default()
                .push(overload);
        }
    }
    found
});

/// Reads a signature: `string.contains(string) bool`, `sets.contains(list<A>, list<A>) bool`. What comes before the last
/// dot of the name is a type if it is one that the signature's table knows, which a dot in front of it says.
fn overload(&(id, cost, run): &Row) -> Overload {
    let (head, result) = id.rsplit_once(' ').unwrap_or((id, "dyn"));
    let (name, args) = head.split_once('(').unwrap_or((head, ")"));
    let args = args.trim_end_matches(')');
    let (target, name) = match name.strip_prefix('.') {
        Some(method) => {
            let (target, name) = method.rsplit_once('.').unwrap_or(("dyn", method));
            (Some(target), name)
        }
        None => (None, name),
    };
    let args = args.split(", ").filter(|arg| !arg.is_empty());
    Overload {
        name,
        member: target.is_some(),
        args: target.into_iter().chain(args).map(Type::read).collect(),
        result: Type::read(result),
        cost,
        run,
        id,
    }
}

/// What a name may mean, with or without something that it is called on.
pub(crate) fn overloads(name: &str, member: bool) -> &'static [Overload] {
    // The key of a lookup need not live as long as the table.
    let found = OVERLOADS
        .iter()
        .find(|((known, is), _)| *is == member && *known == name);
    found.map(|(_, list)| list.as_slice()).unwrap_or_default()
}

/// Whether there is a function of this name that is not called on anything.
pub(crate) fn is_function(name: &str) -> bool {
    !overloads(name, false).is_empty()
}

fn text<'v>(args: &'v [Value<'_>], at: usize) -> Result<&'v str> {
    args.get(at).and_then(Value::as_str).ok_or(EvalError::NoSuchOverload)
}

fn int(args: &[Value<'_>], at: usize) -> Result<i64> {
    match args.get(at) {
        Some(Value::Int(number)) => Ok(*number),
        _ => Err(EvalError::NoSuchOverload),
    }
}

thread_local! {
    static EXPRESSIONS: RefCell<HashMap<String, Regex>> = RefCell::default();
}

/// A regular expression, which is kept for the next time.
pub(crate) fn regex(pattern: &str) -> Result<Regex> {
    const KEPT: usize = 64;
    EXPRESSIONS.with_borrow_mut(|known| {
        if let Some(regex) = known.get(pattern) {
            return Ok(regex.clone());
        }
        let regex = Regex::new(pattern)
            .map_err(|error| EvalError::Other(format!("error parsing regexp: {error}: `{pattern}`")))?;
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_names_types() {
        for (key, list) in OVERLOADS.iter() {
            for overload in list {
                let types = overload.args.iter().chain([&overload.result]);
                for ty in types {
                    assert!(!ty.to_string().contains("error"), "{key:?} {overload:?}");
                }
            }
        }
        assert!(is_function("sets.contains") && !is_function("contains"));
        assert_eq!(overloads("contains", true).len(), 1);
    }
}
