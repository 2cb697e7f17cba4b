//! Semantic versions (semver.org, 2.0.0).

use std::cmp::Ordering;
use std::rc::Rc;

use super::{Cost, EvalError, ONE, Opaque, Result, Row, text};
use crate::value::Value;

/// A version; what comes after `+` does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Semver {
    numbers: [u64; 3],
    before: Vec<String>,
}

pub(super) const ROWS: &[Row] = &[
    ("semver(string) Semver", Cost::Parse, |args| parsed(text(args, 0)?)),
    ("semver(string, bool) Semver", Cost::Parse, |args| match &args[1] {
        Value::Bool(true) => parsed(&normal(text(args, 0)?)),
        _ => parsed(text(args, 0)?),
    }),
    ("isSemver(string) bool", Cost::Parse, |args| {
        Ok(Value::Bool(Semver::parse(text(args, 0)?).is_some()))
    }),
    ("isSemver(string, bool) bool", Cost::Parse, |args| {
        let given = text(args, 0)?;
        let found = match &args[1] {
            Value::Bool(true) => Semver::parse(&normal(given)),
            _ => Semver::parse(given),
        };
        Ok(Value::Bool(found.is_some()))
    }),
    (".Semver.major() int", ONE, |args| number(args, 0)),
    (".Semver.minor() int", ONE, |args| number(args, 1)),
    (".Semver.patch() int", ONE, |args| number(args, 2)),
    (".Semver.isLessThan(Semver) bool", ONE, |args| {
        Ok(Value::Bool(semver(args, 0)? < semver(args, 1)?))
    }),
    (".Semver.isGreaterThan(Semver) bool", ONE, |args| {
        Ok(Value::Bool(semver(args, 0)? > semver(args, 1)?))
    }),
    (".Semver.compareTo(Semver) int", ONE, |args| {
        Ok(Value::Int(semver(args, 0)?.cmp(semver(args, 1)?) as i64))
    }),
];

fn semver<'v>(args: &'v [Value<'_>], at: usize) -> Result<&'v Semver> {
    match args.get(at) {
        Some(Value::Opaque(opaque)) => match &**opaque {
            Opaque::Semver(semver) => Ok(semver),
            _ => Err(EvalError::NoSuchOverload),
        },
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn number<'a>(args: &[Value<'a>], at: usize) -> Result<Value<'a>> {
    let number = semver(args, 0)?.numbers[at];
    i64::try_from(number).map(Value::Int).map_err(|_| EvalError::Overflow)
}

fn parsed<'a>(given: &str) -> Result<Value<'a>> {
    let semver = Semver::parse(given)
        .ok_or_else(|| EvalError::Other(format!("Semver parse error during conversion from string: {given:?}")))?;
    Ok(Value::Opaque(Rc::new(Opaque::Semver(semver))))
}

/// A version as people write it, in the form of the specification: without `v`, with all three numbers.
fn normal(given: &str) -> String {
    let given = given.strip_prefix(['v', 'V']).unwrap_or(given);
    let end = given.find(['-', '+']).unwrap_or(given.len());
    let (numbers, rest) = given.split_at(end);
    let mut numbers: Vec<&str> = numbers
        .split('.')
        .map(|number| match number.trim_start_matches('0') {
            "" if !number.is_empty() => "0",
            trimmed => trimmed,
        })
        .collect();
    while numbers.len() < 3 {
        numbers.push("0");
    }
    format!("{}{rest}", numbers.join("."))
}

impl Semver {
    fn parse(given: &str) -> Option<Semver> {
        let (given, build) = match given.split_once('+') {
            Some((given, build)) => (given, Some(build)),
            None => (given, None),
        };
        let name =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if build.is_some_and(|build| !build.split('.').all(name)) {
            return None;
        }
        let (numbers, before) = match given.split_once('-') {
            Some((numbers, before)) => (numbers, Some(before)),
            None => (given, None),
        };
        let whole = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let plain = text == "0" || !text.starts_with('0');
            text.parse().ok().filter(|_| digits && plain)
        };
        let mut parts = numbers.split('.');
        let numbers = [whole(parts.next()?)?, whole(parts.next()?)?, whole(parts.next()?)?];
        if parts.next().is_some() {
            return None;
        }
        let before: Vec<String> = before
            .into_iter()
            .flat_map(|before| before.split('.'))
            .map(str::to_owned)
            .collect();
        let sound = |part: &String| {
            let digits = part.bytes().all(|byte| byte.is_ascii_digit());
            name(part) && (!digits || part == "0" || !part.starts_with('0'))
        };
        before.iter().all(sound).then_some(Semver { numbers, before })
    }
}

impl Ord for Semver {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| match (self.before.is_empty(), other.before.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => {
                    let pairs = self.before.iter().zip(&other.before);
                    let different = pairs.map(|(a, b)| part(a, b)).find(|order| order.is_ne());
                    different.unwrap_or_else(|| self.before.len().cmp(&other.before.len()))
                }
            })
    }
}

impl PartialOrd for Semver {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Numbers by amount and before names.
fn part(a: &str, b: &str) -> Ordering {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => a.cmp(b),
    }
}
