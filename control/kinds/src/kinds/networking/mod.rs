//! Ingresses and their classes, network policies, and the cluster's addresses.

mod address;
mod ingress;
mod ingress_class;
mod network_policy;

pub use address::{IP_ADDRESS, SERVICE_CIDR};
pub use ingress::INGRESS;
pub use ingress_class::INGRESS_CLASS;
pub use network_policy::NETWORK_POLICY;
