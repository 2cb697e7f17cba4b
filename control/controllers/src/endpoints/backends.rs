//! The pods behind a Service and how each is reached.

use crate::informer::Change;
use crate::objects::{Pod, Service};
use crate::selector;
use barepod_client::types::EndpointPort;
use barepod_client::types::IntOrString;
use barepod_client::types::{ObjectReference, ServicePort};
use std::net::IpAddr;
use std::sync::Arc;

/// Whether the controllers make endpoints for the Service.
pub(super) fn is_selected_by_pods(service: &Service) -> bool {
    let spec = &service.spec;
    spec.type_.as_deref() != Some("ExternalName") && spec.selector.as_ref().is_some_and(|s| !s.is_empty())
}

/// Whether the Service selects pods with the labels of `pod`.
pub(super) fn selects(service: &Service, pod: &Pod) -> bool {
    is_selected_by_pods(service)
        && service
            .spec
            .selector
            .as_ref()
            .is_some_and(|s| selector::has_all(s, pod.metadata.labels.as_ref()))
}

/// Whether a change of a pod may change the endpoints of a Service.
pub(super) fn matters(change: &Change<Pod>) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else {
        return true;
    };
    let facts = |pod: &Arc<Pod>| {
        let pod = pod.clone();
        (pod.is_ready(), pod.is_deleting(), pod.is_finished())
    };
    facts(old) != facts(new)
        || old.metadata.labels != new.metadata.labels
        || old.status.pod_ip != new.status.pod_ip
        || old.status.pod_ips != new.status.pod_ips
        || old.spec.node_name != new.spec.node_name
        || old.spec.containers != new.spec.containers
}

/// The addresses of a pod of one family.
pub(super) fn addresses(pod: &Pod, ipv6: bool) -> Vec<String> {
    let listed: Vec<&str> = pod.status.pod_ips.iter().map(|ip| ip.ip.as_str()).collect();
    let single = pod.status.pod_ip.as_deref();
    let all = if listed.is_empty() {
        single.into_iter().collect()
    } else {
        listed
    };
    all.into_iter()
        .filter(|ip| ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() == ipv6))
        .map(str::to_owned)
        .collect()
}

/// Whether the pod can be an endpoint at all: it has an address and has not ended.
pub(super) fn is_endpoint(pod: &Pod) -> bool {
    !pod.is_finished() && pod.status.pod_ip.as_deref().is_some_and(|ip| !ip.is_empty())
}

/// The name under which the pod is found below the Service, if it asked for one.
pub(super) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let hostname = pod.spec.hostname.as_deref().filter(|h| !h.is_empty())?;
    let below = pod.spec.subdomain.as_deref() == service.metadata.name.as_deref();
    (below && service.metadata.namespace == pod.metadata.namespace).then(|| hostname.to_owned())
}

/// A reference to the pod.
pub(super) fn target(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The ports of the Service as numbers on this pod; a named port the pod does not have is left out.
pub(super) fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let mut ports: Vec<EndpointPort> = (service.spec.ports.iter())
        .filter_map(|port| {
            Some(EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(target_port(port, pod)?),
                protocol: Some(protocol(port.protocol.as_deref()).to_owned()),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect();
    ports.sort_by(|a, b| (&a.name, a.port, &a.protocol).cmp(&(&b.name, b.port, &b.protocol)));
    ports
}

fn protocol(protocol: Option<&str>) -> &str {
    protocol.filter(|p| !p.is_empty()).unwrap_or("TCP")
}

fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => Some(port.port),
        Some(IntOrString::String(name)) => {
            let sidecars = pod
                .spec
                .init_containers
                .iter()
                .filter(|c| c.restart_policy.as_deref() == Some("Always"));
            pod.spec
                .containers
                .iter()
                .chain(sidecars)
                .flat_map(|c| &c.ports)
                .find(|p| {
                    p.name.as_deref() == Some(name)
                        && protocol(p.protocol.as_deref()) == protocol(port.protocol.as_deref())
                })
                .map(|p| p.container_port)
        }
    }
}

/// Whether the Service has no cluster address.
pub(super) fn is_headless(service: &Service) -> bool {
    service.spec.cluster_ip.as_deref() == Some("None")
}

/// Whether pods that are not ready count as ready.
pub(super) fn publishes_not_ready(service: &Service) -> bool {
    service.spec.publish_not_ready_addresses == Some(true)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub(in crate::endpoints) fn service(spec: Value) -> Service {
        let mut object = json!({
            "metadata": {"name": "web", "namespace": "ns", "uid": "s", "labels": {"team": "x"}},
            "spec": {"selector": {"app": "web"}, "clusterIP": "10.96.0.9",
                "ports": [{"name": "http", "port": 80, "targetPort": "web"}]},
        });
        object["spec"]
            .as_object_mut()
            .unwrap()
            .extend(spec.as_object().cloned().unwrap());
        serde_json::from_value(object).unwrap()
    }

    pub(in crate::endpoints) fn pod(name: &str, ip: &str, ready: bool) -> Arc<Pod> {
        let object = json!({
            "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": "web"}},
            "spec": {"nodeName": "n1", "containers": [
                {"name": "c", "ports": [{"name": "web", "containerPort": 8080, "protocol": "TCP"}]}]},
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn resolves_named_and_numbered_ports() {
        let pod = pod("a", "10.244.0.2", true);
        assert_eq!(ports(&service(json!({})), &pod)[0].port, Some(8080));
        let number = service(json!({"ports": [{"port": 80}]}));
        assert_eq!(ports(&number, &pod)[0].port, Some(80));
        assert_eq!(ports(&number, &pod)[0].name.as_deref(), Some(""));
        let unknown = service(json!({"ports": [{"port": 80, "targetPort": "nope"}]}));
        assert!(ports(&unknown, &pod).is_empty());
    }

    #[test]
    fn knows_what_matters() {
        let (a, b) = (pod("a", "10.244.0.2", true), pod("a", "10.244.0.2", false));
        assert!(matters(&Change {
            old: Some(a.clone()),
            new: Some(b)
        }));
        let mut touched = (*a).clone();
        touched.metadata.resource_version = Some("9".into());
        assert!(!matters(&Change {
            old: Some(a),
            new: Some(Arc::new(touched))
        }));
    }
}
