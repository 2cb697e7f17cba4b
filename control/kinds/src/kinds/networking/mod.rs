//! Ingresses and their classes, network policies, and the cluster's addresses.

mod address;
mod ingress;
mod ingress_class;
mod network_policy;

use serde_json::Value;

use crate::names;
use crate::path::{Errors, Path};
use crate::rules::{Check, Rule, rule};

pub use address::{IP_ADDRESS, SERVICE_CIDR};
pub use ingress::INGRESS;
pub use ingress_class::INGRESS_CLASS;
pub use network_policy::NETWORK_POLICY;

/// What the status of a Service and of an Ingress says of its load balancer (kube's `ValidateLoadBalancerStatus`).
pub(super) const BALANCER: &[Rule] = &[
    rule("status.loadBalancer.ingress[*].ip", Check::By(address_of)),
    rule("status.loadBalancer.ingress[*].hostname", Check::By(host)),
];

fn address_of(ip: &Value, path: &Path<'_>, errors: &mut Errors) {
    if let Some(ip) = ip.as_str().filter(|ip| !ip.is_empty() && names::ip(ip).is_none()) {
        errors.invalid(path, ip, names::IP_MESSAGE);
    }
}

fn host(host: &Value, path: &Path<'_>, errors: &mut Errors) {
    let Some(host) = host.as_str().filter(|host| !host.is_empty()) else {
        return;
    };
    errors.invalid_each(path, host, names::subdomain_errors(host));
    if names::ip(host).is_some() {
        errors.invalid(path, host, "must be a DNS name, not an IP address");
    }
}
