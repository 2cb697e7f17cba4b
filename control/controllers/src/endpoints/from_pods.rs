//! The wanted endpoints of a Service, grouped for EndpointSlices.

use super::backends;
use super::slices::Group;
use crate::objects::{Pod, Service};
use barepod_client::types::{Endpoint, EndpointConditions};
use std::sync::Arc;

/// The groups of the Service's pods, at least one per address family.
pub(super) fn groups(service: &Service, pods: &[Arc<Pod>]) -> Vec<Group> {
    families(service)
        .into_iter()
        .flat_map(|address_type| {
            let mut groups = family(service, pods, address_type);
            if groups.is_empty() {
                groups.push(Group {
                    address_type,
                    ports: Vec::new(),
                    endpoints: Vec::new(),
                });
            }
            groups
        })
        .collect()
}

fn families(service: &Service) -> Vec<&'static str> {
    let listed = service.spec.ip_families.as_deref().unwrap_or_default();
    let known = |family: &String| match family.as_str() {
        "IPv4" => Some("IPv4"),
        "IPv6" => Some("IPv6"),
        _ => None,
    };
    let families: Vec<_> = listed.iter().filter_map(known).collect();
    if families.is_empty() { vec!["IPv4"] } else { families }
}

fn family(service: &Service, pods: &[Arc<Pod>], address_type: &'static str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut pods: Vec<&Arc<Pod>> = pods.iter().filter(|p| backends::is_endpoint(p)).collect();
    pods.sort_by(|a, b| a.name().cmp(b.name()));
    for pod in pods {
        let addresses = backends::addresses(pod, address_type == "IPv6");
        if addresses.is_empty() {
            continue;
        }
        let ports = backends::ports(service, pod);
        let endpoint = endpoint(service, pod, addresses);
        match groups.iter_mut().find(|g| g.ports == ports) {
            Some(group) => group.endpoints.push(endpoint),
            None => groups.push(Group {
                address_type,
                ports,
                endpoints: vec![endpoint],
            }),
        }
    }
    groups
}

/// KEP-1672: a terminating pod still serves while it is ready, and is never `ready`.
fn endpoint(service: &Service, pod: &Pod, addresses: Vec<String>) -> Endpoint {
    let serving = pod.is_ready();
    let terminating = pod.is_deleting();
    Endpoint {
        addresses,
        conditions: Some(EndpointConditions {
            ready: Some(backends::publishes_not_ready(service) || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: backends::hostname(service, pod),
        node_name: pod.node().map(str::to_owned),
        target_ref: Some(backends::target(pod)),
        ..Endpoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::backends::tests::{pod, service};
    use super::*;
    use serde_json::json;

    fn conditions(endpoint: &Endpoint) -> (bool, bool, bool) {
        let c = endpoint.conditions.as_ref().unwrap();
        (c.ready.unwrap(), c.serving.unwrap(), c.terminating.unwrap())
    }

    #[test]
    fn tells_ready_serving_and_terminating_apart() {
        let mut leaving = (*pod("c", "10.244.0.4", true)).clone();
        leaving.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        let pods = [
            pod("a", "10.244.0.2", true),
            pod("b", "10.244.0.3", false),
            Arc::new(leaving),
        ];
        let groups = groups(&service(json!({})), &pods);
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].ports[0].port, Some(8080));
        let all: Vec<_> = groups[0].endpoints.iter().map(conditions).collect();
        assert_eq!(all, [(true, true, false), (false, false, false), (false, true, true)]);
        assert_eq!(groups[0].endpoints[0].node_name.as_deref(), Some("n1"));
    }

    #[test]
    fn publishes_not_ready_ones_if_asked() {
        let groups = groups(
            &service(json!({"publishNotReadyAddresses": true})),
            &[pod("b", "10.244.0.3", false)],
        );
        assert_eq!(conditions(&groups[0].endpoints[0]), (true, false, false));
    }

    #[test]
    fn leaves_out_ended_pods_and_those_without_address() {
        let mut ended = (*pod("a", "10.244.0.2", true)).clone();
        ended.status.phase = Some("Succeeded".into());
        let groups = groups(&service(json!({})), &[Arc::new(ended), pod("b", "", false)]);
        assert!(groups.len() == 1 && groups[0].endpoints.is_empty());
    }

    #[test]
    fn groups_by_resolved_port() {
        let mut other = (*pod("b", "10.244.0.3", true)).clone();
        other.spec.containers[0].ports[0].container_port = 9090;
        let groups = groups(&service(json!({})), &[pod("a", "10.244.0.2", true), Arc::new(other)]);
        assert_eq!(groups.len(), 2);
    }

    #[test]
    fn headless_without_ports_lists_addresses() {
        let service = service(json!({"clusterIP": "None", "ports": []}));
        let groups = groups(&service, &[pod("a", "10.244.0.2", true)]);
        assert!(groups[0].ports.is_empty());
        assert_eq!(groups[0].endpoints.len(), 1);
    }
}
