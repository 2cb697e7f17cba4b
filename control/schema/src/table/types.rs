//! Types and fields, as rows of the table.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

use super::parse::table;

/// A type of the API: a name, its fields and how it is written. Cheap to copy.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TypeRef(pub(super) u16);

/// How a value of a type is written in JSON and on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeKind {
    /// An object with the listed fields.
    Struct,
    /// A message that exists only in protobuf; its fields are those of the type around it.
    Inline,
    /// A resource quantity: a string (numbers are accepted).
    Quantity,
    /// A number or a string.
    IntOrString,
    /// RFC 3339 in seconds.
    Time,
    /// RFC 3339 in microseconds.
    MicroTime,
    /// Any JSON; bytes of JSON in protobuf (embedded objects, `fieldsV1`, values in OpenAPI schemas).
    Raw,
    /// Any JSON.
    Any,
    /// An OpenAPI schema or a list of them.
    SchemaOrArray,
    /// An OpenAPI schema or a boolean.
    SchemaOrBool,
    /// An OpenAPI schema or a list of strings.
    SchemaOrStrings,
}

/// What surrounds the items of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// One item.
    One,
    /// A list of items.
    List,
    /// A map from strings to items.
    Map,
    /// A map from strings to lists of items.
    MapOfLists,
}

/// The type of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A string.
    String,
    /// Bytes; base64 in JSON.
    Bytes,
    /// A boolean.
    Bool,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A floating-point number.
    Double,
    /// A type of the table.
    Type(TypeRef),
}

/// How server-side apply treats a list, map or structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Not stated: lists are atomic, maps and structures granular.
    Unstated,
    /// Owned and replaced as a whole.
    Atomic,
    /// A list of distinct scalars, each owned by itself.
    Set,
    /// A list of objects told apart by keys, or a map stated to be granular.
    Map,
}

/// How a strategic merge patch treats a list or structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchStrategy {
    /// Lists are replaced, objects merged.
    Unstated,
    /// Lists are merged by their merge key.
    Merge,
    /// Replaced as a whole.
    Replace,
    /// Merged, and keys not named by `$retainKeys` are cleared.
    RetainKeys,
    /// A list merged by key whose items obey `$retainKeys`.
    MergeRetainKeys,
}

/// One field of a type.
#[derive(Debug)]
pub struct Field {
    /// Name in JSON.
    pub name: &'static str,
    /// Number in protobuf, 0 when it has none in this message.
    pub number: u16,
    /// What surrounds the items.
    pub container: Container,
    /// The type of the items.
    pub item: Item,
    /// The documents require it.
    pub required: bool,
    /// A structure that Go clients always send, empty or not.
    pub always: bool,
    /// A zero value means that the field was not given.
    pub zero_is_absent: bool,
    /// How server-side apply treats it.
    pub list_type: ListType,
    /// The keys of a list of type map.
    pub keys: &'static [&'static str],
    /// How strategic merge treats it.
    pub patch_strategy: PatchStrategy,
    /// The key by which strategic merge tells items apart, or empty.
    pub merge_key: &'static str,
    /// The stated default as JSON text, or empty.
    pub default: &'static str,
}

impl Field {
    /// The type of the items when it is one of the table.
    pub fn item_type(&self) -> Option<TypeRef> {
        match self.item {
            Item::Type(ty) => Some(ty),
            _ => None,
        }
    }

    /// Whether a value is the zero that stands for one that was not given.
    pub(crate) fn means_absent(&self, value: &Value) -> bool {
        self.zero_is_absent
            && match value {
                Value::String(text) => text.is_empty(),
                Value::Bool(value) => !value,
                Value::Number(number) => number.as_f64() == Some(0.0),
                _ => false,
            }
    }
}

/// What a field number of a message leads to.
#[derive(Clone, Copy)]
pub(crate) enum Wire {
    /// A field with a JSON name.
    Field(&'static Field),
    /// A message whose fields appear in the JSON of the type around it.
    Inline(TypeRef),
}

/// A parsed `T` row.
pub(super) struct TypeRow {
    pub(super) name: &'static str,
    pub(super) kind: TypeKind,
    pub(super) map_type: ListType,
    pub(super) fields: std::ops::Range<u32>,
    pub(super) wires: std::ops::Range<u32>,
    pub(super) gvks: &'static str,
}

/// The map from group, version and kind to type, and from name to type.
pub(super) struct TypeIndex {
    pub(super) by_kind: HashMap<(&'static str, &'static str, &'static str), TypeRef>,
    pub(super) by_name: HashMap<&'static str, TypeRef>,
}

/// The type of a kind, of its list, or of the options bodies that every group has (`DeleteOptions`, …).
pub fn type_of(group: &str, version: &str, kind: &str) -> Option<TypeRef> {
    let index = &table().index;
    index
        .by_kind
        .get(&(group, version, kind))
        .or_else(|| index.by_kind.get(&("*", "*", kind)))
        .copied()
}

/// The type with this name in the OpenAPI documents, such as `io.k8s.api.core.v1.PodSpec`.
pub fn type_named(name: &str) -> Option<TypeRef> {
    table().index.by_name.get(name).copied()
}

/// Every type, in the order of the table.
#[cfg(test)]
pub(crate) fn all_types() -> impl Iterator<Item = TypeRef> {
    (0..u16::try_from(table().types.len()).expect("the table has fewer than 65536 types")).map(TypeRef)
}

impl TypeRef {
    fn row(self) -> &'static TypeRow {
        &table().types[usize::from(self.0)]
    }

    /// Name in the OpenAPI documents, such as `io.k8s.api.core.v1.PodSpec`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The last part of the name, such as `PodSpec`.
    pub fn short_name(self) -> &'static str {
        self.name().rsplit_once('.').map_or(self.name(), |(_, short)| short)
    }

    /// How a value is written.
    pub fn kind(self) -> TypeKind {
        self.row().kind
    }

    /// True when server-side apply owns and replaces values of this type as a whole.
    pub fn is_atomic(self) -> bool {
        self.row().map_type == ListType::Atomic
    }

    /// The fields, sorted by name.
    pub fn fields(self) -> &'static [Field] {
        let range = &self.row().fields;
        &table().fields[range.start as usize..range.end as usize]
    }

    /// The field with this JSON name.
    pub fn field(self, name: &str) -> Option<&'static Field> {
        let fields = self.fields();
        fields
            .binary_search_by(|field| field.name.cmp(name))
            .ok()
            .map(|at| &fields[at])
    }

    /// What a protobuf field number leads to.
    pub(crate) fn wire(self, number: u32) -> Option<Wire> {
        let range = &self.row().wires;
        let wires = &table().wires[range.start as usize..range.end as usize];
        wires
            .binary_search_by(|(known, _)| u32::from(*known).cmp(&number))
            .ok()
            .map(|at| match wires[at].1 {
                super::parse::WireRow::Field(field) => Wire::Field(&table().fields[field as usize]),
                super::parse::WireRow::Inline(ty) => Wire::Inline(ty),
            })
    }

    /// Whether every group and version has this kind (`DeleteOptions`).
    pub(crate) fn is_everywhere(self) -> bool {
        self.row().gvks == "*"
    }

    /// The groups, versions and kinds that are stored or sent as this type.
    pub(crate) fn kinds(self) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        self.row().gvks.split(',').filter_map(|gvk| {
            let mut parts = gvk.split('/');
            Some((parts.next()?, parts.next()?, parts.next()?))
        })
    }
}

impl fmt::Debug for TypeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
