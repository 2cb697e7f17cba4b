//! Points and lengths of time.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::{EvalError, ONE, Result, Row, text};
use crate::value::Value;

const NANOS: i128 = 1_000_000_000;

pub(super) const ROWS: &[Row] = &[
    ("_+_(timestamp, duration) timestamp", ONE, |args| match args {
        [Value::Timestamp(time), Value::Duration(nanos)] => moved(*time, *nanos),
        _ => Err(EvalError::NoSuchOverload),
    }),
    ("_+_(duration, timestamp) timestamp", ONE, |args| match args {
        [Value::Duration(nanos), Value::Timestamp(time)] => moved(*time, *nanos),
        _ => Err(EvalError::NoSuchOverload),
    }),
    ("_+_(duration, duration) duration", ONE, |args| match args {
        [Value::Duration(a), Value::Duration(b)] => length(a + b),
        _ => Err(EvalError::NoSuchOverload),
    }),
    ("_-_(timestamp, duration) timestamp", ONE, |args| match args {
        [Value::Timestamp(time), Value::Duration(nanos)] => moved(*time, -nanos),
        _ => Err(EvalError::NoSuchOverload),
    }),
    ("_-_(timestamp, timestamp) duration", ONE, |args| match args {
        [Value::Timestamp(a), Value::Timestamp(b)] => length(a.as_nanosecond() - b.as_nanosecond()),
        _ => Err(EvalError::NoSuchOverload),
    }),
    ("_-_(duration, duration) duration", ONE, |args| match args {
        [Value::Duration(a), Value::Duration(b)] => length(a - b),
        _ => Err(EvalError::NoSuchOverload),
    }),
    ("-_(duration) duration", ONE, |args| match args {
        [Value::Duration(a)] => length(-a),
        _ => Err(EvalError::NoSuchOverload),
    }),
    (".timestamp.getFullYear() int", ONE, |args| {
        part(args, |time| time.year().into())
    }),
    (".timestamp.getFullYear(string) int", ONE, |args| {
        part(args, |time| time.year().into())
    }),
    (".timestamp.getMonth() int", ONE, |args| {
        part(args, |time| i64::from(time.month()) - 1)
    }),
    (".timestamp.getMonth(string) int", ONE, |args| {
        part(args, |time| i64::from(time.month()) - 1)
    }),
    (".timestamp.getDate() int", ONE, |args| {
        part(args, |time| time.day().into())
    }),
    (".timestamp.getDate(string) int", ONE, |args| {
        part(args, |time| time.day().into())
    }),
    (".timestamp.getDayOfMonth() int", ONE, |args| {
        part(args, |time| i64::from(time.day()) - 1)
    }),
    (".timestamp.getDayOfMonth(string) int", ONE, |args| {
        part(args, |time| i64::from(time.day()) - 1)
    }),
    (".timestamp.getDayOfWeek() int", ONE, |args| {
        part(args, |time| time.weekday().to_sunday_zero_offset().into())
    }),
    (".timestamp.getDayOfWeek(string) int", ONE, |args| {
        part(args, |time| time.weekday().to_sunday_zero_offset().into())
    }),
    (".timestamp.getDayOfYear() int", ONE, |args| {
        part(args, |time| i64::from(time.day_of_year()) - 1)
    }),
    (".timestamp.getDayOfYear(string) int", ONE, |args| {
        part(args, |time| i64::from(time.day_of_year()) - 1)
    }),
    (".timestamp.getHours() int", ONE, |args| {
        part(args, |time| time.hour().into())
    }),
    (".timestamp.getHours(string) int", ONE, |args| {
        part(args, |time| time.hour().into())
    }),
    (".timestamp.getMinutes() int", ONE, |args| {
        part(args, |time| time.minute().into())
    }),
    (".timestamp.getMinutes(string) int", ONE, |args| {
        part(args, |time| time.minute().into())
    }),
    (".timestamp.getSeconds() int", ONE, |args| {
        part(args, |time| time.second().into())
    }),
    (".timestamp.getSeconds(string) int", ONE, |args| {
        part(args, |time| time.second().into())
    }),
    (".timestamp.getMilliseconds() int", ONE, |args| {
        part(args, |time| time.millisecond().into())
    }),
    (".timestamp.getMilliseconds(string) int", ONE, |args| {
        part(args, |time| time.millisecond().into())
    }),
    (".duration.getHours() int", ONE, |args| whole(args, 3600 * NANOS)),
    (".duration.getMinutes() int", ONE, |args| whole(args, 60 * NANOS)),
    (".duration.getSeconds() int", ONE, |args| whole(args, NANOS)),
    (".duration.getMilliseconds() int", ONE, |args| whole(args, NANOS / 1000)),
];

fn moved<'a>(time: Timestamp, nanos: i128) -> Result<Value<'a>> {
    let moved = time
        .as_nanosecond()
        .checked_add(nanos)
        .and_then(|nanos| Timestamp::from_nanosecond(nanos).ok());
    moved
        .map(Value::Timestamp)
        .ok_or_else(|| EvalError::Other("timestamp overflow".into()))
}

fn length<'a>(nanos: i128) -> Result<Value<'a>> {
    match i64::try_from(nanos) {
        Ok(_) => Ok(Value::Duration(nanos)),
        Err(_) => Err(EvalError::Overflow),
    }
}

fn part<'a>(args: &[Value<'a>], get: fn(DateTime) -> i64) -> Result<Value<'a>> {
    let Value::Timestamp(time) = &args[0] else {
        return Err(EvalError::NoSuchOverload);
    };
    let zone = match args.len() {
        1 => TimeZone::UTC,
        _ => zone(text(args, 1)?)?,
    };
    Ok(Value::Int(get(zone.to_datetime(*time))))
}

/// `UTC`, or how far a zone is from it: `-08:00`.
fn zone(name: &str) -> Result<TimeZone> {
    if matches!(name, "UTC" | "Etc/UTC" | "GMT" | "") {
        return Ok(TimeZone::UTC);
    }
    let unknown = || EvalError::Other(format!("unknown time zone {name}"));
    let (negative, rest) = match name.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, name.strip_prefix('+').unwrap_or(name)),
    };
    let (hours, minutes) = rest.split_once(':').ok_or_else(unknown)?;
    let number = |text: &str| text.parse::<u8>().map(i32::from).map_err(|_| unknown());
    let seconds = (number(hours)? * 60 + number(minutes)?) * 60;
    let offset = Offset::from_seconds(if negative { -seconds } else { seconds });
    offset.map(Offset::to_time_zone).map_err(|_| unknown())
}

fn whole<'a>(args: &[Value<'a>], unit: i128) -> Result<Value<'a>> {
    match args {
        [Value::Duration(nanos)] => i64::try_from(nanos / unit)
            .map(Value::Int)
            .map_err(|_| EvalError::Overflow),
        _ => Err(EvalError::NoSuchOverload),
    }
}

/// Reads a length of time as Go writes it: `1h30m`, `-1.5s`.
pub fn parse_duration(text: &str) -> Option<i128> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut nanos: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1000,
            "ms" => 1_000_000,
            "s" => NANOS,
            "m" => 60 * NANOS,
            "h" => 3600 * NANOS,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let digits = |text: &str| {
            if text.is_empty() {
                Some(0)
            } else {
                text.parse::<i64>().ok()
            }
        };
        nanos += i128::from(digits(whole)?) * unit;
        let fraction = &fraction[..fraction.find('.').map_or(fraction.len().min(18), |_| 0)];
        let scale = 10i128.pow(u32::try_from(fraction.len()).ok()?);
        nanos += i128::from(digits(fraction)?) * unit / scale;
        rest = after;
    }
    i64::try_from(nanos).ok()?;
    Some(if negative { -nanos } else { nanos })
}

/// A length of time in seconds: `1.5s`.
pub(crate) fn show_duration(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (seconds, rest) = (
        nanos.unsigned_abs() / 1_000_000_000,
        nanos.unsigned_abs() % 1_000_000_000,
    );
    if rest == 0 {
        return format!("{sign}{seconds}s");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}
