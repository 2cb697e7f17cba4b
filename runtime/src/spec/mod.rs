//! The parts of an OCI configuration that are the same for nearly every container: what the well-known runtimes give
//! by default, from which the caller assembles its own.

mod capabilities;
mod filesystem;
mod syscalls;

pub use capabilities::{
    all_capabilities, capability_by_name, capability_name, capability_number, default_capabilities,
};
pub use filesystem::{
    MASKED_PATHS, READONLY_PATHS, all_devices, default_devices, default_mounts, masked_paths, readonly_paths,
};
pub use syscalls::default_seccomp;
