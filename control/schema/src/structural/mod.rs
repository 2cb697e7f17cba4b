//! The schema of a custom resource: OpenAPI v3 in its structural form (KEP-1402), as a CustomResourceDefinition states
//! it for one version, and what follows from it for objects.

mod fill;
mod formats;
mod parse;
mod prune;
mod unique;
mod validate;

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::Value;

use crate::ListType;

/// What a value has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Type {
    /// Anything.
    #[default]
    Any,
    /// An object.
    Object,
    /// A list.
    Array,
    /// A text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A truth value.
    Boolean,
    /// A whole number or a text.
    IntOrString,
}

/// The schema of a value and of what is inside it.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// What the value has to be.
    pub kind: Type,
    /// It may also be null.
    pub nullable: bool,
    /// Known fields of an object.
    pub properties: BTreeMap<String, Schema>,
    /// The values of a map.
    pub additional: Option<Box<Schema>>,
    /// The items of a list.
    pub items: Option<Box<Schema>>,
    /// What an absent value is.
    pub default: Option<Value>,
    /// Fields that are not known stay.
    pub preserves_unknown: bool,
    /// The value is an object of the API, with a kind and metadata.
    pub embedded: bool,
    /// How server-side apply treats a list.
    pub list_type: Option<ListType>,
    /// By what fields the items of a list of type map differ, sorted.
    pub list_keys: Vec<String>,
    /// Server-side apply treats the object as one value.
    pub atomic_map: bool,
    /// What else the value has to fulfil; most values nothing.
    pub checks: Option<Box<Checks>>,
}

/// What a value has to fulfil beyond its type.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    format: String,
    one_of_values: Vec<Value>,
    pattern: Option<Pattern>,
    minimum: Option<Bound>,
    maximum: Option<Bound>,
    multiple_of: Option<Value>,
    length: Range,
    items: Range,
    entries: Range,
    required: Vec<String>,
    all_of: Vec<Schema>,
    any_of: Vec<Schema>,
    one_of: Vec<Schema>,
    not: Option<Box<Schema>>,
}

/// The least and the greatest number of something.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    least: Option<u64>,
    most: Option<u64>,
}

/// A limit of a number, as it is written.
#[derive(Clone, Debug)]
struct Bound {
    value: Value,
    exclusive: bool,
}

/// A regular expression with its text; none if it cannot be read, which matches everything.
#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    regex: Option<Regex>,
}

impl Schema {
    /// Whether a field of this name is stated, or every name is.
    pub fn field(&self, name: &str) -> Option<&Schema> {
        self.properties.get(name).or(self.additional.as_deref())
    }
}

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is absent.
    Required,
    /// It is malformed or out of range.
    Invalid,
    /// It has the wrong type.
    Type,
    /// It is none of those that there are.
    NotSupported,
    /// There are two of it.
    Duplicate,
    /// The text is too long.
    TooLong,
    /// There are too many.
    TooMany,
}

/// A value that does not fit its schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Where it is.
    pub field: String,
    /// What is wrong.
    pub fault: Fault,
    /// The value.
    pub value: Value,
    /// In words, as kube says it.
    pub detail: String,
}

/// The path of a value while a walk goes through an object.
#[derive(Default)]
struct Trail(String);

impl Trail {
    /// Does something at a field.
    fn field<R>(&mut self, name: &str, act: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.0.len();
        if length > 0 {
            self.0.push('.');
        }
        self.0.push_str(name);
        let result = act(self);
        self.0.truncate(length);
        result
    }

    /// Does something at an item.
    fn item<R>(&mut self, at: usize, act: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.0.len();
        self.0.push_str(&format!("[{at}]"));
        let result = act(self);
        self.0.truncate(length);
        result
    }

    /// The path for errors, which call the object itself `<nil>`.
    fn shown(&self) -> String {
        if self.0.is_empty() {
            "<nil>".to_owned()
        } else {
            self.0.clone()
        }
    }
}

#[cfg(test)]
mod tests;
