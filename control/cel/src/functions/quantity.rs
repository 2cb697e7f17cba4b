//! Quantities of resources.

use std::rc::Rc;

use barepod_schema::quantity::Quantity;

use super::{Cost, EvalError, ONE, Opaque, Result, Row, text};
use crate::value::Value;

const NANO: i128 = 1_000_000_000;

pub(super) const ROWS: &[Row] = &[
    ("quantity(string) Quantity", Cost::Parse, |args| {
        let parsed = Quantity::parse(text(args, 0)?);
        let parsed = parsed.map_err(EvalError::other)?;
        Ok(Value::Opaque(Rc::new(Opaque::Quantity(parsed))))
    }),
    ("isQuantity(string) bool", Cost::Parse, |args| {
        Ok(Value::Bool(Quantity::parse(text(args, 0)?).is_ok()))
    }),
    (".Quantity.sign() int", ONE, |args| {
        Ok(Value::Int(i64::from(nanos(args, 0)?.signum() as i8)))
    }),
    (".Quantity.isInteger() bool", ONE, |args| {
        Ok(Value::Bool(whole(nanos(args, 0)?).is_some()))
    }),
    (".Quantity.asInteger() int", ONE, |args| {
        let whole = whole(nanos(args, 0)?).map(Value::Int);
        whole.ok_or_else(|| EvalError::Other("cannot convert value to integer".into()))
    }),
    (".Quantity.asApproximateFloat() double", ONE, |args| {
        Ok(Value::Double(nanos(args, 0)? as f64 / NANO as f64))
    }),
    (".Quantity.add(Quantity) Quantity", ONE, |args| {
        both(args, i128::checked_add)
    }),
    (".Quantity.add(int) Quantity", ONE, |args| both(args, i128::checked_add)),
    (".Quantity.sub(Quantity) Quantity", ONE, |args| {
        both(args, i128::checked_sub)
    }),
    (".Quantity.sub(int) Quantity", ONE, |args| both(args, i128::checked_sub)),
    (".Quantity.isLessThan(Quantity) bool", ONE, |args| {
        Ok(Value::Bool(nanos(args, 0)? < nanos(args, 1)?))
    }),
    (".Quantity.isGreaterThan(Quantity) bool", ONE, |args| {
        Ok(Value::Bool(nanos(args, 0)? > nanos(args, 1)?))
    }),
    (".Quantity.compareTo(Quantity) int", ONE, |args| {
        Ok(Value::Int(nanos(args, 0)?.cmp(&nanos(args, 1)?) as i64))
    }),
];

/// The amount of a quantity or of a whole number.
fn nanos(args: &[Value<'_>], at: usize) -> Result<i128> {
    match args.get(at) {
        Some(Value::Int(number)) => Ok(i128::from(*number) * NANO),
        Some(Value::Opaque(opaque)) => match &**opaque {
            Opaque::Quantity(quantity) => Ok(quantity.nanos()),
            _ => Err(EvalError::NoSuchOverload),
        },
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn whole(nanos: i128) -> Option<i64> {
    match nanos % NANO {
        0 => i64::try_from(nanos / NANO).ok(),
        _ => None,
    }
}

fn both<'a>(args: &[Value<'a>], act: fn(i128, i128) -> Option<i128>) -> Result<Value<'a>> {
    let sum = act(nanos(args, 0)?, nanos(args, 1)?).ok_or(EvalError::Overflow)?;
    Ok(Value::Opaque(Rc::new(Opaque::Quantity(Quantity::from_nanos(sum)))))
}
