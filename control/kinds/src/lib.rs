//! Per-kind data and behaviour for the generic API engine: defaults, validation, preparation, printer columns,
//! selectable fields, scale paths and deletion, as pure functions over JSON.
//!
//! No I/O, no tasks, no clocks: time comes in through [`Context`], stored objects through [`Cluster`].
//! A kind is a row in [`served`]'s table: a [`declared::Declared`] value where data says it all, and a small file in
//! `kinds/` where it does not.

pub mod cells;
pub mod conditions;
pub mod context;
pub mod conversion;
pub mod cron;
pub mod declared;
pub mod delete;
pub mod intstr;
pub mod invalid;
pub mod kinds;
pub mod labels;
pub mod meta;
pub mod names;
pub mod path;
pub mod podspec;
pub mod quantity;
pub mod rules;
pub mod scale;
pub mod strategy;
pub mod table;
pub mod time;
pub mod value;
pub mod walk;
pub mod warnings;

pub use context::{Cluster, Context, EmptyCluster, Settings};
pub use conversion::Conversion;
pub use delete::{DeleteMode, DeleteOptions, Propagation};
pub use invalid::{Denied, Invalid, Kind, aggregate};
pub use kinds::{conversion, served, strategy};
pub use meta::{validate_finalizers, validate_object_meta, validate_object_meta_update};
pub use names::NameRule;
pub use quantity::{Format, Quantity};
pub use strategy::{Column, ScalePaths, Strategy};
