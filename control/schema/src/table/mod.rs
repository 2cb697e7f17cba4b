//! The table of facts: resources and types of the Kubernetes v1.36 API.
//!
//! `facts.tsv` beside this file is written by `control/schema/generator/generate.py`; it is parsed once, at first use.

mod parse;
mod resources;
mod types;

pub use resources::{Group, GroupVersion, Resource, Subresource, groups, resource, resources};
pub(crate) use types::Wire;
#[cfg(test)]
use types::all_types;
pub use types::{Container, Field, Item, ListType, PatchStrategy, TypeKind, TypeRef, type_named, type_of};
