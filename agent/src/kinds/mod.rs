//! What the agent reads of a pod, and the status it writes.
//!
//! Names and meaning of the fields are those of the Kubernetes API reference. Fields the agent does not act on are not
//! decoded; where it hands a pod on as a whole, it hands on the text it came as.

mod container;
mod env;
mod pod;
mod probe;
mod security;
mod status;
mod volume;

pub use barepod_client::types::{ContainerPort, PodCondition, PodIp};
pub use container::{Container, VolumeMount};
pub use env::{EnvFromSource, EnvVar, ResourceFieldSelector};
pub use pod::{Pod, PodSpec};
pub use probe::{ExecAction, HttpGetAction, Lifecycle, LifecycleHandler, Probe, TcpSocketAction};
pub use security::{PodSecurityContext, SeccompProfile, SecurityContext};
pub use status::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, PodStatus,
};
pub use volume::{
    ConfigMapVolumeSource, DownwardApiVolumeFile, DownwardApiVolumeSource, EmptyDirVolumeSource, HostPathVolumeSource,
    KeyToPath, ProjectedVolumeSource, SecretVolumeSource, ServiceAccountTokenProjection, Volume, VolumeSource,
};
