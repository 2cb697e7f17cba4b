//! Path elements in their serialised form: `f:name` a field, `k:{"name":"x"}` an item by its keys, `v:"x"` an item by
//! its value, `i:0` one by its index, and `.` the value itself. KEP-555 describes the format.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::node::List;

/// The element of a field.
pub(super) fn field(name: &str) -> String {
    let mut element = String::with_capacity(2 + name.len());
    element.push_str("f:");
    element.push_str(name);
    element
}

/// The value that tells an item apart, as far as one key goes: its own, or the stated default.
fn key_value<'v>(list: List<'v>, key: &str, item: &'v Value) -> Option<Cow<'v, Value>> {
    match item.get(key) {
        Some(value) => Some(Cow::Borrowed(value)),
        None => list.default(key),
    }
}

/// Whether two items of a list are the same one.
pub(super) fn same(list: List<'_>, a: &Value, b: &Value) -> bool {
    if list.is_set() {
        return a == b;
    }
    list.keys().all(|key| match (a.get(key), b.get(key)) {
        (Some(a), Some(b)) => a == b,
        _ => key_value(list, key, a) == key_value(list, key, b),
    })
}

/// The element of an item. A key that is absent and has no default is an error: its name.
pub(super) fn item<'s>(list: List<'s>, item: &Value) -> Result<String, &'s str> {
    let mut element = String::with_capacity(40);
    if list.is_set() {
        element.push_str("v:");
        write_json(&mut element, item);
        return Ok(element);
    }
    element.push_str("k:{");
    for (at, key) in list.keys().enumerate() {
        let value = key_value(list, key, item).ok_or(key)?;
        if at > 0 {
            element.push(',');
        }
        element.push('"');
        element.push_str(key);
        element.push_str("\":");
        write_json(&mut element, &value);
    }
    element.push('}');
    Ok(element)
}

/// As [`item`], for an item that was checked before or that is not to fail the operation.
pub(super) fn item_lenient(list: List<'_>, value: &Value) -> String {
    item(list, value).unwrap_or_else(|_| {
        let mut element = String::from("v:");
        write_json(&mut element, value);
        element
    })
}

fn write_json(out: &mut String, value: &Value) {
    write!(out, "{value}").expect("writing to a string does not fail");
}

/// Adds an element to a path as people read it: `.spec.containers[name="x"]`.
pub(super) fn push_readable(path: &mut String, element: &str) {
    if let Some(name) = element.strip_prefix("f:") {
        path.push('.');
        path.push_str(name);
    } else if let Some(keys) = element.strip_prefix("k:") {
        path.push('[');
        let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
        for (at, (key, value)) in keys.iter().enumerate() {
            if at > 0 {
                path.push(',');
            }
            path.push_str(key);
            path.push('=');
            write_json(path, value);
        }
        path.push(']');
    } else if let Some(value) = element.strip_prefix("v:") {
        path.push_str("[=");
        path.push_str(value);
        path.push(']');
    } else if let Some(index) = element.strip_prefix("i:") {
        path.push('[');
        path.push_str(index);
        path.push(']');
    }
}
