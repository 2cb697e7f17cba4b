//! Pods: one worker each, which compares what is desired with what is observed and acts on the difference.

pub mod adopt;
pub mod backoff;
pub mod manager;
pub mod mirror;
pub mod observed;
pub mod ops;
pub mod plan;
pub mod registry;
pub mod shape;
pub mod spares;
pub mod store;
pub mod worker;
