//! Field paths that cost nothing until an error needs their text, and the list that errors are collected in.

use std::fmt;

use serde_json::Value;

use crate::invalid::{Invalid, Kind};

#[derive(Clone, Copy)]
enum Segment<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

/// Where a value sits in its object: a chain of borrowed segments, rendered only when an error is reported.
#[derive(Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    segment: Segment<'a>,
}

impl<'a> Path<'a> {
    /// A path with one field name. A name may contain dots (`spec.template`).
    pub const fn new(name: &'a str) -> Self {
        Path {
            parent: None,
            segment: Segment::Field(name),
        }
    }

    /// A field below this one. A name may contain dots.
    pub const fn child(&'a self, name: &'a str) -> Path<'a> {
        Path {
            parent: Some(self),
            segment: Segment::Field(name),
        }
    }

    /// An item of this list.
    pub const fn index(&'a self, index: usize) -> Path<'a> {
        Path {
            parent: Some(self),
            segment: Segment::Index(index),
        }
    }

    /// An entry of this map, shown as `[key]`.
    pub const fn key(&'a self, key: &'a str) -> Path<'a> {
        Path {
            parent: Some(self),
            segment: Segment::Key(key),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.segment {
            Segment::Field(name) if self.parent.is_some() => write!(f, ".{name}"),
            Segment::Field(name) => f.write_str(name),
            Segment::Index(index) => write!(f, "[{index}]"),
            Segment::Key(key) => write!(f, "[{key}]"),
        }
    }
}

/// Collected field errors.
#[derive(Debug, Default)]
pub struct Errors {
    list: Vec<Invalid>,
}

impl Errors {
    /// An empty list.
    pub fn new() -> Self {
        Errors::default()
    }

    /// What was collected.
    pub fn into_vec(self) -> Vec<Invalid> {
        self.list
    }

    /// Whether nothing was collected.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds errors that were collected elsewhere.
    pub fn extend(&mut self, more: Vec<Invalid>) {
        self.list.extend(more);
    }

    fn push(&mut self, kind: Kind, path: &Path<'_>, value: Value, detail: impl Into<String>) {
        self.list.push(Invalid {
            field: path.to_string(),
            kind,
            value,
            detail: detail.into(),
        });
    }

    /// `Required value`.
    pub fn required(&mut self, path: &Path<'_>, detail: &str) {
        self.push(Kind::Required, path, Value::Null, detail);
    }

    /// `Invalid value`.
    pub fn invalid(&mut self, path: &Path<'_>, value: impl Into<Value>, detail: impl Into<String>) {
        self.push(Kind::Invalid, path, value.into(), detail);
    }

    /// `Invalid value`, of which only the detail is shown.
    pub fn invalid_unshown(&mut self, path: &Path<'_>, detail: impl Into<String>) {
        self.push(Kind::InvalidUnshown, path, Value::Null, detail);
    }

    /// One `Invalid value` for each message.
    pub fn invalid_each(&mut self, path: &Path<'_>, value: &str, messages: Vec<String>) {
        for message in messages {
            self.invalid(path, value, message);
        }
    }

    /// `Unsupported value`, with the supported ones (in sorted order).
    pub fn not_supported(&mut self, path: &Path<'_>, value: &str, supported: &[&str]) {
        let list: Vec<String> = supported.iter().map(|s| format!("\"{s}\"")).collect();
        self.push(
            Kind::NotSupported,
            path,
            value.into(),
            format!("supported values: {}", list.join(", ")),
        );
    }

    /// `Duplicate value`.
    pub fn duplicate(&mut self, path: &Path<'_>, value: impl Into<Value>) {
        self.push(Kind::Duplicate, path, value.into(), "");
    }

    /// `Forbidden`.
    pub fn forbidden(&mut self, path: &Path<'_>, detail: impl Into<String>) {
        self.push(Kind::Forbidden, path, Value::Null, detail);
    }

    /// `Too long`, with the limit in bytes.
    pub fn too_long(&mut self, path: &Path<'_>, limit_bytes: usize) {
        self.push(
            Kind::TooLong,
            path,
            Value::Null,
            format!("may not be more than {limit_bytes} bytes"),
        );
    }

    /// `Too many`, with the number found and the limit.
    pub fn too_many(&mut self, path: &Path<'_>, found: usize, limit: usize) {
        self.push(
            Kind::TooMany,
            path,
            found.into(),
            format!("must have at most {limit} items"),
        );
    }

    /// `Not found`.
    pub fn not_found(&mut self, path: &Path<'_>, value: &str) {
        self.push(Kind::NotFound, path, value.into(), "");
    }

    /// A required text that must be one of a sorted list.
    pub fn one_of(&mut self, path: &Path<'_>, value: &str, supported: &[&str]) {
        if value.is_empty() {
            self.required(path, "");
        } else if !supported.contains(&value) {
            self.not_supported(path, value, supported);
        }
    }

    /// A text that, when given, must be one of a sorted list; one that is given and empty is not.
    pub fn optional_one_of(&mut self, path: &Path<'_>, value: Option<&Value>, supported: &[&str]) {
        if let Some(text) = value.and_then(Value::as_str).filter(|text| !supported.contains(text)) {
            self.not_supported(path, text, supported);
        }
    }

    /// An integer that, when set, must not be negative.
    pub fn not_negative(&mut self, path: &Path<'_>, value: Option<i64>) {
        if let Some(value) = value.filter(|v| *v < 0) {
            self.invalid(path, value, "must be greater than or equal to 0");
        }
    }

    /// A value that must be as it was.
    pub fn immutable(&mut self, path: &Path<'_>, new: Option<&Value>, old: Option<&Value>) {
        let is_set = |v: &&Value| !v.is_null();
        if new.filter(is_set) != old.filter(is_set) {
            self.invalid(path, new.cloned().unwrap_or(Value::Null), IMMUTABLE);
        }
    }
}

/// The message for fields that never change.
pub const IMMUTABLE: &str = "field is immutable";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_render_as_users_read_them() {
        let spec = Path::new("spec");
        let containers = spec.child("containers");
        let first = containers.index(0);
        let limits = first.child("resources.limits");
        assert_eq!(
            limits.key("cpu").to_string(),
            "spec.containers[0].resources.limits[cpu]"
        );
    }

    #[test]
    fn enumerations_name_the_supported_values() {
        let mut errors = Errors::new();
        errors.one_of(&Path::new("a"), "x", &["Always", "Never"]);
        errors.one_of(&Path::new("b"), "", &["Always"]);
        errors.one_of(&Path::new("c"), "Always", &["Always"]);
        let text: Vec<String> = errors.into_vec().iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                r#"a: Unsupported value: "x": supported values: "Always", "Never""#,
                "b: Required value"
            ]
        );
    }
}
