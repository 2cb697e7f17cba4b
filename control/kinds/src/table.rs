//! Pieces of printer columns that many kinds share.

use jiff::Timestamp;
use serde_json::Value;

use crate::strategy::Column;
use crate::{time, value};

/// A text column.
pub const fn text(name: &'static str, description: &'static str) -> Column {
    Column {
        name,
        type_: "string",
        format: "",
        description,
        priority: 0,
    }
}

/// A text column of the wide output.
pub const fn wide(name: &'static str, description: &'static str) -> Column {
    Column {
        name,
        type_: "string",
        format: "",
        description,
        priority: 1,
    }
}

/// A number column.
pub const fn number(name: &'static str, description: &'static str) -> Column {
    Column {
        name,
        type_: "integer",
        format: "",
        description,
        priority: 0,
    }
}

/// The first column of most kinds.
pub const NAME: Column = Column {
    name: "Name",
    type_: "string",
    format: "name",
    description: "Name of the object, unique within its namespace",
    priority: 0,
};

/// The age column.
pub const AGE: Column = text("Age", "Time since the object was created");

/// Columns of kinds without printers of their own.
pub const NAME_AND_CREATED: &[Column] = &[
    NAME,
    Column {
        name: "Created At",
        type_: "date",
        format: "",
        description: "Time at which the object was created",
        priority: 0,
    },
];

/// The cell of the name column.
pub fn name(obj: &Value) -> Value {
    value::text(obj.get("metadata").unwrap_or(&Value::Null), "name").into()
}

/// The cell of the age column.
pub fn age(obj: &Value, now: Timestamp) -> Value {
    time::age(obj, now).into()
}
