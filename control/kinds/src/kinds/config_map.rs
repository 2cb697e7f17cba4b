//! ConfigMaps, and what they share with Secrets: keys, size, immutability.

use jiff::Timestamp;
use serde_json::Value;

use crate::invalid::Invalid;
use crate::names;
use crate::path::{Errors, Path};
use crate::strategy::{Column, Strategy};
use crate::table::{AGE, NAME, age, name, number};
use crate::value::{bool_at, map_at};

/// The most that the data of one object may be.
pub const LIMIT_BYTES: usize = 1024 * 1024;

/// The strategy of ConfigMaps.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConfigMap;

impl Strategy for ConfigMap {
    fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Invalid> {
        let mut errors = Errors::new();
        let mut size = 0;
        let data = map_at(new, &["data"]);
        let path = Path::new("data");
        for (key, v) in data.into_iter().flatten() {
            errors.invalid_each(&path.key(key), key, names::config_key_errors(key));
            if map_at(new, &["binaryData"]).is_some_and(|b| b.contains_key(key)) {
                errors.invalid(&path.key(key), key.as_str(), "duplicate of key present in binaryData");
            }
            size += v.as_str().map_or(0, str::len);
        }
        let path = Path::new("binaryData");
        for (key, v) in map_at(new, &["binaryData"]).into_iter().flatten() {
            errors.invalid_each(&path.key(key), key, names::config_key_errors(key));
            size += base64_size(key, v, &path, &mut errors);
        }
        if size > LIMIT_BYTES {
            // The error is about the whole object, whose path is shown so.
            errors.too_long(&Path::new("[]"), LIMIT_BYTES);
        }
        if let Some(old) = old {
            immutable(new, old, &["data", "binaryData"], &mut errors);
        }
        errors.into_vec()
    }

    fn columns(&self) -> &[Column] {
        const { &[NAME, number("Data", "Number of keys"), AGE] }
    }

    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        let count = |key| map_at(obj, &[key]).map_or(0, serde_json::Map::len);
        vec![name(obj), (count("data") + count("binaryData")).into(), age(obj, now)]
    }
}

/// The decoded size of a base64 value; reports one that is malformed, without showing it.
pub(super) fn base64_size(key: &str, encoded: &Value, path: &Path<'_>, errors: &mut Errors) -> usize {
    let Some(text) = encoded.as_str() else { return 0 };
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    // Line breaks are skipped by decoders.
    let breaks = body.bytes().filter(|b| matches!(b, b'\n' | b'\r')).count();
    let digits = body.len() - breaks;
    let good = (digits + padding).is_multiple_of(4)
        && padding <= 2
        && digits % 4 != 1
        && body.bytes().all(|b| alphabet(b) || matches!(b, b'\n' | b'\r'));
    if !good {
        let at = body.bytes().position(|b| !alphabet(b)).unwrap_or(body.len());
        errors.invalid(
            &path.key(key),
            "<contents redacted>",
            format!("illegal base64 data at input byte {at}"),
        );
    }
    digits * 3 / 4
}

/// An object marked `immutable` keeps its mark and its data.
pub(super) fn immutable(new: &Value, old: &Value, data: &[&str], errors: &mut Errors) {
    const DETAIL: &str = "field is immutable when `immutable` is set";
    if !bool_at(old, &["immutable"]) {
        return;
    }
    if !bool_at(new, &["immutable"]) {
        errors.forbidden(&Path::new("immutable"), DETAIL);
    }
    let filled = |obj, key| map_at(obj, &[key]).filter(|m| !m.is_empty()).cloned();
    for key in data {
        if filled(new, key) != filled(old, key) {
            errors.forbidden(&Path::new(key), DETAIL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines(new: Value, old: Option<Value>) -> Vec<String> {
        ConfigMap
            .validate(&new, old.as_ref())
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn keys_and_encoding() {
        assert_eq!(
            lines(json!({"data": {"a.b": "x"}, "binaryData": {"c": "AAEC"}}), None),
            Vec::<String>::new()
        );
        assert!(
            lines(json!({"data": {"a/b": "x"}}), None)[0].starts_with("data[a/b]: Invalid value: \"a/b\": a valid")
        );
        assert_eq!(
            lines(json!({"data": {"a": "x"}, "binaryData": {"a": "AAEC"}}), None),
            [r#"data[a]: Invalid value: "a": duplicate of key present in binaryData"#]
        );
        assert!(lines(json!({"binaryData": {"c": "A*EC"}}), None)[0].contains("illegal base64 data at input byte 1"));
        assert!(lines(json!({"binaryData": {"c": "AAE"}}), None)[0].contains("illegal base64"));
    }

    #[test]
    fn size_has_a_limit() {
        let big = "x".repeat(LIMIT_BYTES + 1);
        assert_eq!(
            lines(json!({"data": {"a": big}}), None),
            ["[]: Too long: may not be more than 1048576 bytes"]
        );
    }

    #[test]
    fn immutable_means_it() {
        let old = json!({"immutable": true, "data": {"a": "1"}});
        assert_eq!(lines(old.clone(), Some(old.clone())), Vec::<String>::new());
        assert_eq!(
            lines(json!({"data": {"a": "2"}}), Some(old)),
            [
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set"
            ]
        );
    }
}
