//! Everything that is decided about nodes and about pods because of their node.

mod conditions;
mod eviction;
mod heartbeat;
mod lifecycle;
mod orphans;
mod pod_cidr;

pub(crate) use eviction::Eviction;
pub(crate) use lifecycle::NodeLifecycle;
pub(crate) use orphans::Orphans;
pub(crate) use pod_cidr::PodCidrs;
