//! The subsets of the older Endpoints kind.

use super::backends;
use crate::objects::{EndpointAddress, EndpointPort, EndpointSubset};
use crate::objects::{Pod, Service};
use std::sync::Arc;

/// One subset per set of ports, addresses in order; terminating pods are left out.
pub(super) fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let mut subsets: Vec<EndpointSubset> = Vec::new();
    let mut pods: Vec<&Arc<Pod>> = pods
        .iter()
        .filter(|p| backends::is_endpoint(p) && !p.is_deleting())
        .collect();
    pods.sort_by(|a, b| (&a.status.pod_ip, a.name()).cmp(&(&b.status.pod_ip, b.name())));
    let has_ports = !service.spec.ports.is_empty();
    let families = service.spec.ip_families.as_deref().unwrap_or_default();
    let ipv6 = families.first().is_some_and(|f| f == "IPv6");
    for pod in pods {
        let ports = ports(service, pod);
        if has_ports && ports.is_none() {
            continue;
        }
        let Some(ip) = backends::addresses(pod, ipv6).into_iter().next() else {
            continue;
        };
        let address = EndpointAddress {
            ip,
            hostname: backends::hostname(service, pod),
            node_name: pod.node().map(str::to_owned),
            target_ref: Some(backends::target(pod)),
        };
        let index = subsets.iter().position(|s| s.ports == ports).unwrap_or_else(|| {
            subsets.push(EndpointSubset {
                ports,
                ..EndpointSubset::default()
            });
            subsets.len() - 1
        });
        let list = if backends::publishes_not_ready(service) || pod.is_ready() {
            &mut subsets[index].addresses
        } else {
            &mut subsets[index].not_ready_addresses
        };
        list.get_or_insert_default().push(address);
    }
    subsets
}

fn ports(service: &Service, pod: &Pod) -> Option<Vec<EndpointPort>> {
    let ports: Vec<EndpointPort> = backends::ports(service, pod)
        .into_iter()
        .map(|port| EndpointPort {
            app_protocol: port.app_protocol,
            name: port.name.filter(|n| !n.is_empty()),
            port: port.port.unwrap_or_default(),
            protocol: port.protocol,
        })
        .collect();
    (!ports.is_empty()).then_some(ports)
}

#[cfg(test)]
mod tests {
    use super::super::backends::tests::{pod, service};
    use super::*;
    use serde_json::json;

    #[test]
    fn splits_ready_from_not_ready() {
        let pods = [
            pod("b", "10.244.0.3", false),
            pod("a", "10.244.0.2", true),
            pod("c", "10.244.0.1", true),
        ];
        let subsets = subsets(&service(json!({})), &pods);
        assert_eq!(subsets.len(), 1);
        let ips = |list: &Option<Vec<EndpointAddress>>| list.iter().flatten().map(|a| a.ip.clone()).collect::<Vec<_>>();
        assert_eq!(ips(&subsets[0].addresses), ["10.244.0.1", "10.244.0.2"]);
        assert_eq!(ips(&subsets[0].not_ready_addresses), ["10.244.0.3"]);
        assert_eq!(subsets[0].ports.as_ref().unwrap()[0].port, 8080);
    }

    #[test]
    fn is_empty_without_pods() {
        assert!(subsets(&service(json!({})), &[]).is_empty());
    }
}
