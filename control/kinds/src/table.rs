//! Pieces of printer columns that many kinds share.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;

use crate::cells::Cell;
use crate::strategy::Column;
use crate::{time, value};

const fn column(
    name: &'static str,
    type_: &'static str,
    format: &'static str,
    description: &'static str,
    priority: i32,
    cell: Cell,
) -> Column {
    Column {
        name: Cow::Borrowed(name),
        type_: Cow::Borrowed(type_),
        format: Cow::Borrowed(format),
        description: Cow::Borrowed(description),
        priority,
        cell,
    }
}

/// A text column whose cells the kind fills.
pub const fn text(name: &'static str, description: &'static str) -> Column {
    column(name, "string", "", description, 0, Cell::Own)
}

/// A text column of the wide output whose cells the kind fills.
pub const fn wide(name: &'static str, description: &'static str) -> Column {
    column(name, "string", "", description, 1, Cell::Own)
}

/// A number column whose cells the kind fills.
pub const fn number(name: &'static str, description: &'static str) -> Column {
    column(name, "integer", "", description, 0, Cell::Own)
}

/// A text column.
pub const fn shows(name: &'static str, cell: Cell, description: &'static str) -> Column {
    column(name, "string", "", description, 0, cell)
}

/// A text column of the wide output.
pub const fn shows_wide(name: &'static str, cell: Cell, description: &'static str) -> Column {
    column(name, "string", "", description, 1, cell)
}

/// A number column.
pub const fn counts(name: &'static str, cell: Cell, description: &'static str) -> Column {
    column(name, "integer", "", description, 0, cell)
}

/// A column of truth values.
pub const fn says(name: &'static str, cell: Cell, description: &'static str) -> Column {
    column(name, "boolean", "", description, 0, cell)
}

/// The first column of most kinds.
pub const NAME: Column = named(Cell::Name);

/// The first column, with another cell.
pub const fn named(cell: Cell) -> Column {
    column(
        "Name",
        "string",
        "name",
        "Name of the object, unique within its namespace",
        0,
        cell,
    )
}

/// The age column.
pub const AGE: Column = shows("Age", Cell::Age, "Time since the object was created");

/// Columns of kinds without printers of their own.
pub const NAME_AND_CREATED: &[Column] = &[
    NAME,
    column(
        "Created At",
        "date",
        "",
        "Time at which the object was created",
        0,
        Cell::Text("metadata.creationTimestamp", ""),
    ),
];

/// Columns of kinds of which only name and age are shown.
pub const NAME_AND_AGE: &[Column] = &[NAME, AGE];

/// The cell of the name column.
pub fn name(obj: &Value) -> Value {
    value::text(obj.get("metadata").unwrap_or(&Value::Null), "name").into()
}

/// The cell of the age column.
pub fn age(obj: &Value, now: Timestamp) -> Value {
    time::age(obj, now).into()
}
