//! Operators. Those that do not always look at all their operands are done where expressions are evaluated.

use super::{Cost, EvalError, ONE, Result, Row};
use crate::value::{List, Map, Value};

/// Done elsewhere.
fn elsewhere<'a>(_: &[Value<'a>]) -> Result<Value<'a>> {
    Err(EvalError::NoSuchOverload)
}

pub(super) const ROWS: &[Row] = &[
    ("_&&_(bool, bool) bool", Cost::Logic, elsewhere),
    ("_||_(bool, bool) bool", Cost::Logic, elsewhere),
    ("_?_:_(bool, A, A) A", Cost::Choice, elsewhere),
    ("@not_strictly_false(bool) bool", ONE, elsewhere),
    ("!_(bool) bool", ONE, |args| match args {
        [Value::Bool(flag)] => Ok(Value::Bool(!flag)),
        _ => Err(EvalError::NoSuchOverload),
    }),
    ("_==_(A, A) bool", Cost::Compare, |args| {
        Ok(Value::Bool(args[0].same(&args[1])))
    }),
    ("_!=_(A, A) bool", Cost::Compare, |args| {
        Ok(Value::Bool(!args[0].same(&args[1])))
    }),
    ("@in(A, list<A>) bool", Cost::In, |args| match &args[1] {
        Value::List(list) => Ok(Value::Bool(list.iter().any(|item| item.same(&args[0])))),
        _ => Err(EvalError::NoSuchOverload),
    }),
    ("@in(A, map<A,B>) bool", ONE, |args| match &args[1] {
        Value::Map(map) => Ok(Value::Bool(map.get(&args[0]).is_some())),
        _ => Err(EvalError::NoSuchOverload),
    }),
    ("_[_](list<A>, int) A", ONE, index),
    ("_[_](map<A,B>, A) B", ONE, index),
    ("_[?_](list<A>, int) optional<A>", ONE, optional_index),
    ("_[?_](map<A,B>, A) optional<B>", ONE, optional_index),
    ("_[?_](optional<list<A>>, int) optional<A>", ONE, optional_index),
    ("_[?_](optional<map<A,B>>, A) optional<B>", ONE, optional_index),
    ("_[_](optional<list<A>>, int) optional<A>", ONE, optional_index),
    ("_[_](optional<map<A,B>>, A) optional<B>", ONE, optional_index),
    ("size(list<A>) int", ONE, size),
    ("size(map<A,B>) int", ONE, size),
    ("size(string) int", ONE, size),
    ("size(bytes) int", ONE, size),
    (".list<A>.size() int", ONE, size),
    (".map<A,B>.size() int", ONE, size),
    (".string.size() int", ONE, size),
    (".bytes.size() int", ONE, size),
    ("cel.@mapInsert(map<A,B>, A, B) map<A,B>", ONE, |args| {
        insert(&args[0], [(args[1].clone(), args[2].clone())])
    }),
    ("cel.@mapInsert(map<A,B>, map<A,B>) map<A,B>", ONE, |args| {
        match &args[1] {
            Value::Map(map) => insert(&args[0], map.entries()),
            _ => Err(EvalError::NoSuchOverload),
        }
    }),
];

fn size<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    i64::try_from(args[0].size())
        .map(Value::Int)
        .map_err(|_| EvalError::Overflow)
}

fn insert<'a>(map: &Value<'a>, more: impl IntoIterator<Item = (Value<'a>, Value<'a>)>) -> Result<Value<'a>> {
    let Value::Map(map) = map else {
        return Err(EvalError::NoSuchOverload);
    };
    let mut entries = map.entries();
    for (key, value) in more {
        if entries.iter().any(|(known, _)| known.same(&key)) {
            return Err(EvalError::Other(format!(
                "insert failed: key {} already exists",
                shown(&key)
            )));
        }
        entries.push((key, value));
    }
    Ok(Value::Map(Map::Made(entries.into())))
}

/// A key in the words of errors.
pub(crate) fn shown(key: &Value<'_>) -> String {
    match key {
        Value::String(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        other => other.type_name().to_owned(),
    }
}

/// An index into a list, also one that only looks like no whole number.
fn position(list: &List<'_>, index: &Value<'_>) -> Result<usize> {
    let at = match index {
        Value::Int(at) => *at,
        Value::Uint(at) => i64::try_from(*at).map_err(|_| EvalError::Overflow)?,
        Value::Double(at) if at.fract() == 0.0 => crate::value::truncated(*at),
        _ => return Err(EvalError::NoSuchOverload),
    };
    let found = usize::try_from(at).ok().filter(|at| *at < list.len());
    found.ok_or(EvalError::OutOfBounds(at))
}

pub(crate) fn index<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    match &args[0] {
        Value::List(list) => {
            let at = position(list, &args[1])?;
            list.get(at).ok_or(EvalError::NoSuchOverload)
        }
        Value::Map(map) => map
            .get(&args[1])
            .unwrap_or_else(|| Err(EvalError::NoSuchKey(shown(&args[1])))),
        Value::Optional(_) => optional_index(args),
        _ => Err(EvalError::NoSuchOverload),
    }
}

pub(crate) fn optional_index<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    match &args[0] {
        Value::Optional(None) => Ok(Value::none()),
        Value::Optional(Some(inside)) => optional_index(&[(**inside).clone(), args[1].clone()]),
        _ => match index(args) {
            Ok(found) => Ok(Value::some(found)),
            Err(EvalError::OutOfBounds(_) | EvalError::NoSuchKey(_)) => Ok(Value::none()),
            Err(error) => Err(error),
        },
    }
}
