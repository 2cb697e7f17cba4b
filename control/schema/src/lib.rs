//! Facts about the Kubernetes API types and the pure algorithms that need them: decoding of request bodies, checking,
//! defaulting, patching, field ownership, selectors and the OpenAPI documents.
//!
//! Objects are [`serde_json::Value`]; nothing here does I/O or keeps state beyond the table of facts and, in
//! [`openapi`], rendered documents.
//!
//! Invariants:
//! - Every fact about a kind comes from the one generated table; no kind has code of its own here.
//! - A function that takes a [`Shape`] also works for a kind the table does not know: one that a definition describes,
//!   or one of which nothing is known (list and map types are then deduced from the value).
//! - Object keys are never assumed to be in any order.

pub mod body;
pub mod check;
pub mod defaults;
pub mod fields;
pub mod openapi;
pub mod patch;
pub mod quantity;
pub mod selector;
mod shape;
pub mod structural;
mod table;
mod time;

pub use shape::{Convert, Forms, Shape};
pub use table::{
    Container, Field, Group, GroupVersion, Item, ListType, PatchStrategy, Resource, Subresource, TypeKind, TypeRef,
    groups, resource, resources, type_named, type_of,
};
