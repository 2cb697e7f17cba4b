//! Lists and sets.

use std::cmp::Ordering;

use super::{Cost, EvalError, ONE, Result, Row};
use crate::value::{List, Value};

macro_rules! for_types {
    ($($head:literal, [$($item:literal),*], $tail:literal, $run:expr;)*) => {
        &[$($((concat!(".list<", $item, ">.", $head, "() ", $tail, $item), Cost::Fold, $run),)*)*]
    };
}

const SUMS: &[Row] = for_types! {
    "sum", ["int", "uint", "double", "duration"], "", sum;
    "min", ["int", "uint", "double", "bool", "string", "bytes", "timestamp", "duration"], "", |args| best(args, Ordering::is_lt, "min");
    "max", ["int", "uint", "double", "bool", "string", "bytes", "timestamp", "duration"], "", |args| best(args, Ordering::is_gt, "max");
};

const OTHERS: &[Row] = &[
    (".list<int>.isSorted() bool", Cost::Fold, is_sorted),
    (".list<uint>.isSorted() bool", Cost::Fold, is_sorted),
    (".list<double>.isSorted() bool", Cost::Fold, is_sorted),
    (".list<bool>.isSorted() bool", Cost::Fold, is_sorted),
    (".list<string>.isSorted() bool", Cost::Fold, is_sorted),
    (".list<bytes>.isSorted() bool", Cost::Fold, is_sorted),
    (".list<timestamp>.isSorted() bool", Cost::Fold, is_sorted),
    (".list<duration>.isSorted() bool", Cost::Fold, is_sorted),
    (".list<A>.indexOf(A) int", Cost::IndexOf, |args| {
        position(args, |list, same| list.iter().position(|item| same(&item)))
    }),
    (".list<A>.lastIndexOf(A) int", Cost::IndexOf, |args| {
        position(args, |list, same| {
            let items: Vec<Value<'_>> = list.iter().collect();
            items.iter().rposition(same)
        })
    }),
    ("sets.contains(list<A>, list<A>) bool", ONE, |args| {
        let (all, some) = two(args)?;
        Ok(Value::Bool(within(some, all)))
    }),
    ("sets.equivalent(list<A>, list<A>) bool", ONE, |args| {
        let (one, other) = two(args)?;
        Ok(Value::Bool(within(one, other) && within(other, one)))
    }),
    ("sets.intersects(list<A>, list<A>) bool", ONE, |args| {
        let (one, other) = two(args)?;
        let found = one
            .iter()
            .any(|item| other.iter().any(|candidate| candidate.same(&item)));
        Ok(Value::Bool(found))
    }),
];

pub(super) const ROWS: &[Row] = &joined();

const fn joined() -> [Row; SUMS.len() + OTHERS.len()] {
    let mut rows = [SUMS[0]; SUMS.len() + OTHERS.len()];
    let mut at = 0;
    while at < rows.len() {
        rows[at] = if at < SUMS.len() {
            SUMS[at]
        } else {
            OTHERS[at - SUMS.len()]
        };
        at += 1;
    }
    rows
}

fn list<'v, 'a>(args: &'v [Value<'a>], at: usize) -> Result<&'v List<'a>> {
    match args.get(at) {
        Some(Value::List(list)) => Ok(list),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn two<'v, 'a>(args: &'v [Value<'a>]) -> Result<(&'v List<'a>, &'v List<'a>)> {
    Ok((list(args, 0)?, list(args, 1)?))
}

fn within(some: &List<'_>, all: &List<'_>) -> bool {
    some.iter()
        .all(|item| all.iter().any(|candidate| candidate.same(&item)))
}

fn sum<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let mut total: Option<Value<'a>> = None;
    for item in list(args, 0)?.iter() {
        total = Some(match (total, item) {
            (None, item) => item,
            (Some(Value::Int(a)), Value::Int(b)) => Value::Int(a.checked_add(b).ok_or(EvalError::Overflow)?),
            (Some(Value::Uint(a)), Value::Uint(b)) => Value::Uint(a.checked_add(b).ok_or(EvalError::Overflow)?),
            (Some(Value::Double(a)), Value::Double(b)) => Value::Double(a + b),
            (Some(Value::Duration(a)), Value::Duration(b)) => Value::Duration(a + b),
            _ => return Err(EvalError::NoSuchOverload),
        });
    }
    // The kind of nothing is not known here; numbers of all kinds are equal.
    Ok(total.unwrap_or(Value::Int(0)))
}

fn best<'a>(args: &[Value<'a>], better: fn(Ordering) -> bool, name: &str) -> Result<Value<'a>> {
    let mut items = list(args, 0)?.iter();
    let mut found = items
        .next()
        .ok_or_else(|| EvalError::Other(format!("{name} called on empty list")))?;
    for item in items {
        if better(item.compare(&found).ok_or(EvalError::NoSuchOverload)?) {
            found = item;
        }
    }
    Ok(found)
}

fn is_sorted<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    let mut before: Option<Value<'a>> = None;
    for item in list(args, 0)?.iter() {
        if let Some(before) = &before
            && before.compare(&item).ok_or(EvalError::NoSuchOverload)?.is_gt()
        {
            return Ok(Value::Bool(false));
        }
        before = Some(item);
    }
    Ok(Value::Bool(true))
}

type Same<'s> = &'s dyn Fn(&Value<'_>) -> bool;

fn position<'a>(args: &[Value<'a>], find: fn(&List<'a>, Same<'_>) -> Option<usize>) -> Result<Value<'a>> {
    let found = find(list(args, 0)?, &|item| item.same(&args[1]));
    Ok(Value::Int(match found {
        Some(at) => i64::try_from(at).map_err(|_| EvalError::Overflow)?,
        None => -1,
    }))
}
