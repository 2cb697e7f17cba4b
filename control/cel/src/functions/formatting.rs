//! `format`: texts with places for values.

use super::convert::show_double;
use super::text::quote;
use super::{Cost, EvalError, Result, Row, show_duration, text};
use crate::value::{Value, burn};

/// How many digits may be asked for.
const MOST_DIGITS: usize = 1000;

pub(super) const ROWS: &[Row] = &[(".string.format(list<dyn>) string", Cost::Formatting, |args| {
    let Some(Value::List(values)) = args.get(1) else {
        return Err(EvalError::NoSuchOverload);
    };
    let mut values = values.iter();
    let mut out = String::new();
    let mut rest = text(args, 0)?;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let mut digits = None;
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            let count = after[..end].parse().ok().filter(|count| *count <= MOST_DIGITS);
            digits = Some(count.ok_or_else(|| EvalError::Other("error while converting precision to integer".into()))?);
            rest = &after[end..];
        }
        let Some(verb) = rest.chars().next() else {
            return Err(EvalError::Other("unexpected end of string".into()));
        };
        rest = &rest[verb.len_utf8()..];
        let value = values
            .next()
            .ok_or_else(|| EvalError::Other("index out of range".into()))?;
        clause(&mut out, verb, digits, &value)?;
    }
    out.push_str(rest);
    Ok(Value::string(out))
})];

fn clause(out: &mut String, verb: char, digits: Option<usize>, value: &Value<'_>) -> Result<()> {
    let wrong = |wanted: &str| {
        let found = value.type_name();
        EvalError::Other(format!(
            "error during formatting: {wanted} clause can only be used on numbers, was given {found}"
        ))
    };
    let shown = match (verb, value) {
        ('s', value) => show(value, false)?,
        ('d', Value::Int(number)) => number.to_string(),
        ('d', Value::Uint(number)) => number.to_string(),
        ('d' | 'f' | 'e', Value::Double(number)) if !number.is_finite() => special(*number),
        ('f', Value::Double(number)) => format!("{number:.*}", digits.unwrap_or(6)),
        ('f', Value::Int(number)) => format!("{number}.{}", "0".repeat(digits.unwrap_or(6)))
            .trim_end_matches('.')
            .to_owned(),
        ('e', Value::Double(number)) => scientific(*number, digits.unwrap_or(6)),
        ('b', Value::Bool(flag)) => u8::from(*flag).to_string(),
        ('b', Value::Int(number)) => signed(*number, |n| format!("{n:b}")),
        ('b', Value::Uint(number)) => format!("{number:b}"),
        ('o', Value::Int(number)) => signed(*number, |n| format!("{n:o}")),
        ('o', Value::Uint(number)) => format!("{number:o}"),
        ('x', Value::Int(number)) => signed(*number, |n| format!("{n:x}")),
        ('X', Value::Int(number)) => signed(*number, |n| format!("{n:X}")),
        ('x', Value::Uint(number)) => format!("{number:x}"),
        ('X', Value::Uint(number)) => format!("{number:X}"),
        ('x', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ('X', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
        ('x', Value::Bytes(bytes)) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        ('X', Value::Bytes(bytes)) => bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
        ('d', _) => return Err(wrong("decimal")),
        ('f', _) => return Err(wrong("fixed-point")),
        ('e', _) => return Err(wrong("scientific")),
        ('b', _) => return Err(wrong("binary")),
        ('o', _) => return Err(wrong("octal")),
        ('x' | 'X', _) => return Err(wrong("hexadecimal")),
        _ => {
            let why = format!(
                "could not parse formatting clause: unrecognized formatting clause {:?}",
                verb.to_string()
            );
            return Err(EvalError::Other(why));
        }
    };
    out.push_str(&shown);
    Ok(())
}

fn special(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
}

fn signed(number: i64, show: fn(u64) -> String) -> String {
    let shown = show(number.unsigned_abs());
    if number < 0 { format!("-{shown}") } else { shown }
}

fn scientific(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{mantissa}e-{exponent:0>2}"),
        None => format!("{mantissa}e+{exponent:0>2}"),
    }
}

/// A value in words; texts inside of others are in quotes.
fn show(value: &Value<'_>, inside: bool) -> Result<String> {
    Ok(match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) if !number.is_finite() => match inside {
            true => format!("{:?}", special(*number)),
            false => special(*number),
        },
        Value::Double(number) => show_double(*number),
        Value::String(text) if inside => quote(text),
        Value::String(text) => text.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Timestamp(time) => time.to_string(),
        Value::Duration(nanos) => show_duration(*nanos),
        Value::Type(name) => name.to_string(),
        Value::List(_) | Value::Map(_) if !burn(value.size()) => return Err(EvalError::CostLimit),
        Value::List(list) => {
            let items: Result<Vec<String>> = list.iter().map(|item| show(&item, true)).collect();
            format!("[{}]", items?.join(", "))
        }
        Value::Map(map) => {
            let entries = map.entries();
            let shown = entries
                .iter()
                .map(|(key, value)| Ok(format!("{}: {}", show(key, true)?, show(value, true)?)));
            let mut shown: Vec<String> = shown.collect::<Result<_>>()?;
            shown.sort_unstable();
            format!("{{{}}}", shown.join(", "))
        }
        Value::Optional(_) | Value::Opaque(_) => {
            let found = value.type_name();
            let why = format!(
                "error during formatting: string clause can only be used on strings, bools, bytes, ints, \
                               doubles, maps, lists, types, durations, and timestamps, was given {found}"
            );
            return Err(EvalError::Other(why));
        }
    })
}
