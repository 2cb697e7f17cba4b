//! The schema of a custom resource: OpenAPI v3 in its structural form (KEP-1402), as a CustomResourceDefinition states
//! it for one version.

mod parse;

use std::collections::BTreeMap;

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
#[derive(Clone, Debug, Default, PartialEq)]
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
}

impl Schema {
    /// Whether a field of this name is stated, or every name is.
    pub fn field(&self, name: &str) -> Option<&Schema> {
        self.properties.get(name).or(self.additional.as_deref())
    }
}
