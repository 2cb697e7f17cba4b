//! The pod specification, shared by Pods and by the templates of workloads: defaults, validation, allowed updates.

pub mod container;
pub mod defaults;
pub mod env;
pub mod image;
pub mod probe;
pub mod resources;
pub mod scheduling;
pub mod security;
pub mod template;
pub mod update;
pub mod validate;
pub mod volume;
pub mod warnings;

use serde_json::Value;

use crate::value;

/// The three lists of containers in a pod specification.
pub const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Every container of a pod specification, in the order init, regular, ephemeral.
pub fn all_containers(spec: &Value) -> impl Iterator<Item = &Value> {
    CONTAINER_LISTS
        .into_iter()
        .flat_map(|list| value::list_at(spec, &[list]))
}

/// Whether an init container is a sidecar, which keeps running beside the regular containers (KEP-753).
pub fn is_sidecar(init_container: &Value) -> bool {
    value::text(init_container, "restartPolicy") == "Always"
}
