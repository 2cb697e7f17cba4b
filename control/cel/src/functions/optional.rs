//! Values that may be absent.

use super::{EvalError, ONE, Result, Row};
use crate::value::Value;

pub(super) const ROWS: &[Row] = &[
    ("optional.of(A) optional<A>", ONE, |args| {
        Ok(Value::some(args[0].clone()))
    }),
    ("optional.none() optional<A>", ONE, |_| Ok(Value::none())),
    ("optional.ofNonZeroValue(A) optional<A>", ONE, |args| {
        let zero = match &args[0] {
            Value::Null => true,
            Value::Bool(flag) => !flag,
            Value::Int(number) => *number == 0,
            Value::Uint(number) => *number == 0,
            Value::Double(number) => *number == 0.0,
            Value::String(text) => text.is_empty(),
            Value::Bytes(bytes) => bytes.is_empty(),
            Value::Duration(nanos) => *nanos == 0,
            Value::List(list) => list.is_empty(),
            Value::Map(map) => map.is_empty(),
            _ => false,
        };
        Ok(if zero {
            Value::none()
        } else {
            Value::some(args[0].clone())
        })
    }),
    (".optional<A>.hasValue() bool", ONE, |args| {
        Ok(Value::Bool(inside(args)?.is_some()))
    }),
    (".optional<A>.value() A", ONE, |args| {
        inside(args)?.ok_or_else(|| EvalError::Other("optional.none() dereference".into()))
    }),
    // The second is looked at only if the first is absent; this is done where expressions are evaluated.
    (".optional<A>.or(optional<A>) optional<A>", ONE, |args| {
        match inside(args)? {
            Some(_) => Ok(args[0].clone()),
            None => Ok(args[1].clone()),
        }
    }),
    (".optional<A>.orValue(A) A", ONE, |args| {
        Ok(inside(args)?.unwrap_or_else(|| args[1].clone()))
    }),
    ("optional.unwrap(list<optional<A>>) list<A>", ONE, unwrap),
    (".list<optional<A>>.unwrapOpt() list<A>", ONE, unwrap),
];

fn inside<'a>(args: &[Value<'a>]) -> Result<Option<Value<'a>>> {
    match &args[0] {
        Value::Optional(value) => Ok(value.as_deref().cloned()),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn unwrap<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let Value::List(list) = &args[0] else {
        return Err(EvalError::NoSuchOverload);
    };
    let mut items = Vec::new();
    for item in list.iter() {
        match item {
            Value::Optional(value) => items.extend(value.as_deref().cloned()),
            _ => return Err(EvalError::NoSuchOverload),
        }
    }
    Ok(Value::list(items))
}
