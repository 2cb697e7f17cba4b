//! From one type to another.

use jiff::Timestamp;

use super::{Cost, EvalError, ONE, Opaque, Result, Row, parse_duration, show_duration, text};
use crate::value::{Value, truncated};

/// The first number that is too large for an `int`.
const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;

pub(super) const ROWS: &[Row] = &[
    ("int(int) int", ONE, |args| Ok(args[0].clone())),
    ("int(uint) int", ONE, to_int),
    ("int(double) int", ONE, to_int),
    ("int(string) int", ONE, to_int),
    ("int(timestamp) int", ONE, to_int),
    ("int(duration) int", ONE, to_int),
    ("uint(uint) uint", ONE, |args| Ok(args[0].clone())),
    ("uint(int) uint", ONE, to_uint),
    ("uint(double) uint", ONE, to_uint),
    ("uint(string) uint", ONE, to_uint),
    ("double(double) double", ONE, |args| Ok(args[0].clone())),
    ("double(int) double", ONE, to_double),
    ("double(uint) double", ONE, to_double),
    ("double(string) double", ONE, to_double),
    ("bool(bool) bool", ONE, |args| Ok(args[0].clone())),
    ("bool(string) bool", ONE, |args| match text(args, 0)? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
        other => Err(EvalError::Other(format!(
            "type conversion error from '{other}' to 'bool'"
        ))),
    }),
    ("bytes(bytes) bytes", ONE, |args| Ok(args[0].clone())),
    ("bytes(string) bytes", Cost::ToBytes, |args| {
        Ok(Value::Bytes(text(args, 0)?.as_bytes().into()))
    }),
    ("string(string) string", ONE, |args| Ok(args[0].clone())),
    ("string(bool) string", ONE, to_string),
    ("string(int) string", ONE, to_string),
    ("string(uint) string", ONE, to_string),
    ("string(double) string", ONE, to_string),
    ("string(timestamp) string", ONE, to_string),
    ("string(duration) string", ONE, to_string),
    ("string(bytes) string", Cost::FromBytes, to_string),
    ("string(IP) string", ONE, to_string),
    ("string(CIDR) string", ONE, to_string),
    ("timestamp(timestamp) timestamp", ONE, |args| Ok(args[0].clone())),
    ("timestamp(string) timestamp", ONE, |args| {
        let given = text(args, 0)?;
        let parsed = given.parse().map(Value::Timestamp);
        parsed.map_err(|_| EvalError::Other(format!("invalid timestamp: {given:?}")))
    }),
    ("timestamp(int) timestamp", ONE, |args| match args {
        [Value::Int(seconds)] => Timestamp::from_second(*seconds)
            .map(Value::Timestamp)
            .map_err(|_| EvalError::Other("timestamp overflow".into())),
        _ => Err(EvalError::NoSuchOverload),
    }),
    ("duration(duration) duration", ONE, |args| Ok(args[0].clone())),
    ("duration(string) duration", ONE, |args| {
        let given = text(args, 0)?;
        let parsed = parse_duration(given).map(Value::Duration);
        parsed.ok_or_else(|| EvalError::Other(format!("invalid duration: {given:?}")))
    }),
    ("duration(int) duration", ONE, |args| match args {
        [Value::Int(nanos)] => Ok(Value::Duration((*nanos).into())),
        _ => Err(EvalError::NoSuchOverload),
    }),
    ("dyn(A) dyn", ONE, |args| Ok(args[0].clone())),
    ("type(A) type", ONE, |args| match &args[0] {
        Value::Type(_) => Ok(Value::Type("type".into())),
        other => Ok(Value::Type(other.type_name().into())),
    }),
];

fn to_int<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    Ok(Value::Int(match &args[0] {
        Value::Uint(number) => i64::try_from(*number).map_err(|_| EvalError::Overflow)?,
        Value::Double(number) if *number > -TOO_LARGE && *number < TOO_LARGE => truncated(*number),
        Value::Double(_) => return Err(EvalError::Overflow),
        Value::String(text) => {
            let parsed = text.parse();
            parsed.map_err(|_| EvalError::Other(format!("type conversion error from '{text}' to 'int'")))?
        }
        Value::Timestamp(time) => time.as_second(),
        Value::Duration(nanos) => i64::try_from(*nanos).map_err(|_| EvalError::Overflow)?,
        _ => return Err(EvalError::NoSuchOverload),
    }))
}

fn to_uint<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    Ok(Value::Uint(match &args[0] {
        Value::Int(number) => u64::try_from(*number).map_err(|_| EvalError::Overflow)?,
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range is checked, and a fraction is left out"
        )]
        Value::Double(number) if *number >= 0.0 && *number < TOO_LARGE * 2.0 => *number as u64,
        Value::Double(_) => return Err(EvalError::Overflow),
        Value::String(text) => {
            let parsed = text.parse();
            parsed.map_err(|_| EvalError::Other(format!("type conversion error from '{text}' to 'uint'")))?
        }
        _ => return Err(EvalError::NoSuchOverload),
    }))
}

fn to_double<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    Ok(Value::Double(match &args[0] {
        Value::Int(number) => *number as f64,
        Value::Uint(number) => *number as f64,
        Value::String(text) => {
            let parsed = text.parse();
            parsed.map_err(|_| EvalError::Other(format!("type conversion error from '{text}' to 'double'")))?
        }
        _ => return Err(EvalError::NoSuchOverload),
    }))
}

/// What `string()` makes of a value.
pub(super) fn to_string<'a>(args: &[Value<'a>]) -> Result<Value<'a>> {
    Ok(Value::string(match &args[0] {
        Value::String(text) => text.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) => show_double(*number),
        Value::Timestamp(time) => time.to_string(),
        Value::Duration(nanos) => show_duration(*nanos),
        Value::Bytes(bytes) => {
            let text = std::str::from_utf8(bytes);
            text.map_err(|_| EvalError::Other("invalid UTF-8 in bytes, cannot convert to string".into()))?
                .to_owned()
        }
        Value::Opaque(opaque) => match &**opaque {
            Opaque::Ip(ip) => ip.to_string(),
            Opaque::Cidr(ip, prefix) => format!("{ip}/{prefix}"),
            _ => return Err(EvalError::NoSuchOverload),
        },
        _ => return Err(EvalError::NoSuchOverload),
    }))
}

/// A number as Go's shortest form has it.
pub(super) fn show_double(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    number.to_string()
}
