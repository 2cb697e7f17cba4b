//! Arithmetic and order.

use std::cmp::Ordering;

use super::{Cost, EvalError, ONE, Result, Row};
use crate::value::Value;

macro_rules! ordered {
    ($($id:literal, $cost:expr, $test:expr;)*) => {
        &[$(($id, $cost, |args| {
            let test: fn(Ordering) -> bool = $test;
            // Numbers that are none have no order, and nothing holds of them.
            match (&args[0], &args[1]) {
                (Value::Double(_), _) | (_, Value::Double(_)) => Ok(Value::Bool(args[0].compare(&args[1]).is_some_and(test))),
                (a, b) => a.compare(b).map(|order| Value::Bool(test(order))).ok_or(EvalError::NoSuchOverload),
            }
        })),*]
    };
}

const ORDERED: &[Row] = ordered! {
    "_<_(bool, bool) bool", ONE, Ordering::is_lt;
    "_<_(int, int) bool", ONE, Ordering::is_lt;
    "_<_(uint, uint) bool", ONE, Ordering::is_lt;
    "_<_(double, double) bool", ONE, Ordering::is_lt;
    "_<_(int, double) bool", ONE, Ordering::is_lt;
    "_<_(double, int) bool", ONE, Ordering::is_lt;
    "_<_(int, uint) bool", ONE, Ordering::is_lt;
    "_<_(uint, int) bool", ONE, Ordering::is_lt;
    "_<_(uint, double) bool", ONE, Ordering::is_lt;
    "_<_(double, uint) bool", ONE, Ordering::is_lt;
    "_<_(timestamp, timestamp) bool", ONE, Ordering::is_lt;
    "_<_(duration, duration) bool", ONE, Ordering::is_lt;
    "_<_(string, string) bool", Cost::Compare, Ordering::is_lt;
    "_<_(bytes, bytes) bool", Cost::Compare, Ordering::is_lt;
    "_<=_(bool, bool) bool", ONE, Ordering::is_le;
    "_<=_(int, int) bool", ONE, Ordering::is_le;
    "_<=_(uint, uint) bool", ONE, Ordering::is_le;
    "_<=_(double, double) bool", ONE, Ordering::is_le;
    "_<=_(int, double) bool", ONE, Ordering::is_le;
    "_<=_(double, int) bool", ONE, Ordering::is_le;
    "_<=_(int, uint) bool", ONE, Ordering::is_le;
    "_<=_(uint, int) bool", ONE, Ordering::is_le;
    "_<=_(uint, double) bool", ONE, Ordering::is_le;
    "_<=_(double, uint) bool", ONE, Ordering::is_le;
    "_<=_(timestamp, timestamp) bool", ONE, Ordering::is_le;
    "_<=_(duration, duration) bool", ONE, Ordering::is_le;
    "_<=_(string, string) bool", Cost::Compare, Ordering::is_le;
    "_<=_(bytes, bytes) bool", Cost::Compare, Ordering::is_le;
    "_>_(bool, bool) bool", ONE, Ordering::is_gt;
    "_>_(int, int) bool", ONE, Ordering::is_gt;
    "_>_(uint, uint) bool", ONE, Ordering::is_gt;
    "_>_(double, double) bool", ONE, Ordering::is_gt;
    "_>_(int, double) bool", ONE, Ordering::is_gt;
    "_>_(double, int) bool", ONE, Ordering::is_gt;
    "_>_(int, uint) bool", ONE, Ordering::is_gt;
    "_>_(uint, int) bool", ONE, Ordering::is_gt;
    "_>_(uint, double) bool", ONE, Ordering::is_gt;
    "_>_(double, uint) bool", ONE, Ordering::is_gt;
    "_>_(timestamp, timestamp) bool", ONE, Ordering::is_gt;
    "_>_(duration, duration) bool", ONE, Ordering::is_gt;
    "_>_(string, string) bool", Cost::Compare, Ordering::is_gt;
    "_>_(bytes, bytes) bool", Cost::Compare, Ordering::is_gt;
    "_>=_(bool, bool) bool", ONE, Ordering::is_ge;
    "_>=_(int, int) bool", ONE, Ordering::is_ge;
    "_>=_(uint, uint) bool", ONE, Ordering::is_ge;
    "_>=_(double, double) bool", ONE, Ordering::is_ge;
    "_>=_(int, double) bool", ONE, Ordering::is_ge;
    "_>=_(double, int) bool", ONE, Ordering::is_ge;
    "_>=_(int, uint) bool", ONE, Ordering::is_ge;
    "_>=_(uint, int) bool", ONE, Ordering::is_ge;
    "_>=_(uint, double) bool", ONE, Ordering::is_ge;
    "_>=_(double, uint) bool", ONE, Ordering::is_ge;
    "_>=_(timestamp, timestamp) bool", ONE, Ordering::is_ge;
    "_>=_(duration, duration) bool", ONE, Ordering::is_ge;
    "_>=_(string, string) bool", Cost::Compare, Ordering::is_ge;
    "_>=_(bytes, bytes) bool", Cost::Compare, Ordering::is_ge;
};

const ARITHMETIC: &[Row] = &[
    ("_+_(int, int) int", ONE, |args| whole(args, i64::checked_add)),
    ("_+_(uint, uint) uint", ONE, |args| natural(args, u64::checked_add)),
    ("_+_(double, double) double", ONE, |args| real(args, |a, b| a + b)),
    ("_+_(string, string) string", Cost::Concat, |args| match args {
        [Value::String(a), Value::String(b)] => Ok(Value::string(format!("{a}{b}"))),
        _ => Err(EvalError::NoSuchOverload),
    }),
    ("_+_(bytes, bytes) bytes", Cost::Concat, |args| match args {
        [Value::Bytes(a), Value::Bytes(b)] => Ok(Value::Bytes([&**a, &**b].concat().into())),
        _ => Err(EvalError::NoSuchOverload),
    }),
    ("_+_(list<A>, list<A>) list<A>", Cost::ConcatList, |args| match args {
        [Value::List(a), Value::List(b)] => Ok(Value::list(a.joined(b))),
        _ => Err(EvalError::NoSuchOverload),
    }),
    ("_-_(int, int) int", ONE, |args| whole(args, i64::checked_sub)),
    ("_-_(uint, uint) uint", ONE, |args| natural(args, u64::checked_sub)),
    ("_-_(double, double) double", ONE, |args| real(args, |a, b| a - b)),
    ("_*_(int, int) int", ONE, |args| whole(args, i64::checked_mul)),
    ("_*_(uint, uint) uint", ONE, |args| natural(args, u64::checked_mul)),
    ("_*_(double, double) double", ONE, |args| real(args, |a, b| a * b)),
    ("_/_(int, int) int", ONE, |args| match args[1] {
        Value::Int(0) => Err(EvalError::DivideByZero),
        _ => whole(args, i64::checked_div),
    }),
    ("_/_(uint, uint) uint", ONE, |args| match args[1] {
        Value::Uint(0) => Err(EvalError::DivideByZero),
        _ => natural(args, u64::checked_div),
    }),
    ("_/_(double, double) double", ONE, |args| real(args, |a, b| a / b)),
    ("_%_(int, int) int", ONE, |args| match args[1] {
        Value::Int(0) => Err(EvalError::ModulusByZero),
        _ => whole(args, i64::checked_rem),
    }),
    ("_%_(uint, uint) uint", ONE, |args| match args[1] {
        Value::Uint(0) => Err(EvalError::ModulusByZero),
        _ => natural(args, u64::checked_rem),
    }),
    ("-_(int) int", ONE, |args| match args {
        [Value::Int(a)] => a.checked_neg().map(Value::Int).ok_or(EvalError::Overflow),
        _ => Err(EvalError::NoSuchOverload),
    }),
    ("-_(double) double", ONE, |args| match args {
        [Value::Double(a)] => Ok(Value::Double(-a)),
        _ => Err(EvalError::NoSuchOverload),
    }),
];

/// Both tables as one.
pub(super) const ROWS: &[Row] = &joined();

const fn joined() -> [Row; ORDERED.len() + ARITHMETIC.len()] {
    let mut rows = [ORDERED[0]; ORDERED.len() + ARITHMETIC.len()];
    let mut at = 0;
    while at < rows.len() {
        rows[at] = if at < ORDERED.len() {
            ORDERED[at]
        } else {
            ARITHMETIC[at - ORDERED.len()]
        };
        at += 1;
    }
    rows
}

fn whole<'a>(args: &[Value<'a>], act: fn(i64, i64) -> Option<i64>) -> Result<Value<'a>> {
    match args {
        [Value::Int(a), Value::Int(b)] => act(*a, *b).map(Value::Int).ok_or(EvalError::Overflow),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn natural<'a>(args: &[Value<'a>], act: fn(u64, u64) -> Option<u64>) -> Result<Value<'a>> {
    match args {
        [Value::Uint(a), Value::Uint(b)] => act(*a, *b).map(Value::Uint).ok_or(EvalError::Overflow),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn real<'a>(args: &[Value<'a>], act: fn(f64, f64) -> f64) -> Result<Value<'a>> {
    match args {
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(act(*a, *b))),
        _ => Err(EvalError::NoSuchOverload),
    }
}
