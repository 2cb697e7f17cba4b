//! What the proxy is to do for the Services there are. Pure.

use std::collections::{BTreeMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use barepod_client::types::{Endpoint, EndpointSlice, Service, ServicePort as Port};
use barepod_netplugin::{Protocol, ServicePort};

/// Label of a slice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// How long a client stays with its endpoint unless the Service says otherwise, in seconds.
const AFFINITY_SECS: u32 = 10_800;

/// An endpoint's address, as far as the proxy cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target {
    at: SocketAddrV4,
    local: bool,
}

/// Every port of every Service that traffic is to be led for.
pub fn service_ports<'a>(
    services: impl Iterator<Item = &'a Service>,
    slices: impl Iterator<Item = &'a EndpointSlice>,
    node_name: &str,
) -> Vec<ServicePort> {
    let mut by_service: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices.filter(|it| it.address_type == "IPv4") {
        let service = slice.metadata.label(SERVICE_NAME);
        if let (Some(service), Some(namespace)) = (service, slice.metadata.namespace.as_deref()) {
            by_service.entry((namespace, service)).or_default().push(slice);
        }
    }
    let mut out = Vec::new();
    for service in services {
        let (Some(namespace), Some(name)) = (service.metadata.namespace.as_deref(), service.metadata.name.as_deref())
        else {
            continue;
        };
        let slices = by_service
            .get(&(namespace, name))
            .map(Vec::as_slice)
            .unwrap_or_default();
        for port in &service.spec.ports {
            out.extend(of_port(namespace, name, service, port, slices, node_name));
        }
    }
    out.sort_by(|a, b| (&a.name, a.protocol).cmp(&(&b.name, b.protocol)));
    out
}

fn of_port(
    namespace: &str,
    name: &str,
    service: &Service,
    port: &Port,
    slices: &[&EndpointSlice],
    node_name: &str,
) -> Vec<ServicePort> {
    let spec = &service.spec;
    if spec.type_.as_deref() == Some("ExternalName") {
        return Vec::new();
    }
    let Ok(number) = u16::try_from(port.port) else {
        return Vec::new();
    };
    let cluster_ip = spec.cluster_ip.as_deref().and_then(|it| it.parse().ok());
    let node_port = port
        .node_port
        .and_then(|it| u16::try_from(it).ok())
        .filter(|it| *it != 0);
    let external_ips = external(service);
    if cluster_ip.is_none() && node_port.is_none() && external_ips.is_empty() {
        return Vec::new();
    }
    let targets = targets(slices, port.name.as_deref().unwrap_or_default(), node_name);
    let all = |list: &[Target]| list.iter().map(|it| it.at).collect::<Vec<_>>();
    let affinity_secs = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        let config = spec
            .session_affinity_config
            .as_ref()
            .and_then(|it| it.client_ip.as_ref());
        config
            .and_then(|it| it.timeout_seconds)
            .and_then(|it| u32::try_from(it).ok())
            .unwrap_or(AFFINITY_SECS)
    });
    let base = ServicePort {
        name: format!("{namespace}/{name}:{}", port.name.as_deref().unwrap_or_default()),
        cluster_ip,
        external_ips,
        protocol: protocol(port.protocol.as_deref()),
        port: number,
        node_port,
        affinity_secs,
        endpoints: all(&targets),
        local_endpoints_only_external: spec.external_traffic_policy.as_deref() == Some("Local"),
    };
    if spec.internal_traffic_policy.as_deref() != Some("Local") {
        return vec![base];
    }
    // Inside, only this node's endpoints serve; what comes from outside follows its own policy.
    let local: Vec<Target> = targets.into_iter().filter(|it| it.local).collect();
    let inside = ServicePort {
        endpoints: all(&local),
        external_ips: Vec::new(),
        node_port: None,
        ..base.clone()
    };
    let outside = ServicePort {
        name: format!("{} (external)", base.name),
        cluster_ip: None,
        ..base
    };
    let needed = outside.node_port.is_some() || !outside.external_ips.is_empty();
    if needed { vec![inside, outside] } else { vec![inside] }
}

fn external(service: &Service) -> Vec<Ipv4Addr> {
    let balancer = service.status.load_balancer.ingress.iter();
    let given = (service.spec.external_ips)
        .iter()
        .flatten()
        .chain(balancer.filter_map(|it| it.ip.as_ref()));
    let mut found: Vec<Ipv4Addr> = given.filter_map(|it| it.parse().ok()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn protocol(text: Option<&str>) -> Protocol {
    match text {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}

/// The endpoints that serve a port: the ready ones; when there are none, those that end but still serve (KEP-1669).
fn targets(slices: &[&EndpointSlice], port_name: &str, node_name: &str) -> Vec<Target> {
    let mut ready = Vec::new();
    let mut ending = Vec::new();
    for slice in slices {
        let port = slice
            .ports
            .iter()
            .find(|it| it.name.as_deref().unwrap_or_default() == port_name);
        let Some(port) = port.and_then(|it| it.port).and_then(|it| u16::try_from(it).ok()) else {
            continue;
        };
        for endpoint in &slice.endpoints {
            let Some(address) = address(endpoint) else { continue };
            let target = Target {
                at: SocketAddrV4::new(address, port),
                local: endpoint.node_name.as_deref() == Some(node_name),
            };
            if is_ready(endpoint) {
                ready.push(target);
            } else if is_ending_but_serving(endpoint) {
                ending.push(target);
            }
        }
    }
    let mut chosen = if ready.is_empty() { ending } else { ready };
    chosen.sort_by_key(|it| it.at);
    chosen.dedup();
    chosen
}

fn address(endpoint: &Endpoint) -> Option<Ipv4Addr> {
    endpoint.addresses.first()?.parse().ok()
}

/// An unknown condition counts as ready.
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|it| it.ready).unwrap_or(true)
}

fn is_ending_but_serving(endpoint: &Endpoint) -> bool {
    let Some(conditions) = &endpoint.conditions else {
        return false;
    };
    conditions.terminating == Some(true) && conditions.serving == Some(true)
}

/// Every address that some slice says is ready.
pub fn ready_addresses<'a>(slices: impl Iterator<Item = &'a EndpointSlice>) -> HashSet<Ipv4Addr> {
    slices
        .flat_map(|it| &it.endpoints)
        .filter(|it| is_ready(it))
        .filter_map(address)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(spec: serde_json::Value) -> Service {
        serde_json::from_value(json!({"metadata": {"namespace": "n", "name": "s"}, "spec": spec})).unwrap()
    }

    fn slice(endpoints: serde_json::Value) -> EndpointSlice {
        serde_json::from_value(json!({"metadata": {"namespace": "n", "name": "s-1", "labels": {SERVICE_NAME: "s"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints}))
        .unwrap()
    }

    fn run(spec: serde_json::Value, endpoints: serde_json::Value) -> Vec<ServicePort> {
        service_ports([service(spec)].iter(), [slice(endpoints)].iter(), "here")
    }

    fn ports() -> serde_json::Value {
        json!([{"name": "http", "port": 80, "nodePort": 30080}])
    }

    #[test]
    fn ready_endpoints_of_the_named_port() {
        let got = run(
            json!({"clusterIP": "10.96.0.9", "ports": ports(), "sessionAffinity": "ClientIP"}),
            json!([{"addresses": ["10.1.0.3"], "conditions": {"ready": true}}, {"addresses": ["10.1.0.2"]},
                {"addresses": ["10.1.0.4"], "conditions": {"ready": false, "serving": true, "terminating": true}}]),
        );
        assert_eq!(got.len(), 1);
        let port = &got[0];
        assert_eq!(
            (port.name.as_str(), port.port, port.node_port),
            ("n/s:http", 80, Some(30080))
        );
        assert_eq!(
            port.endpoints,
            ["10.1.0.2:8080".parse().unwrap(), "10.1.0.3:8080".parse().unwrap()]
        );
        assert_eq!(port.affinity_secs, Some(10_800));
    }

    #[test]
    fn ending_endpoints_serve_when_nobody_else_does() {
        let ending = json!([{"addresses": ["10.1.0.4"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            {"addresses": ["10.1.0.5"], "conditions": {"ready": false, "serving": false, "terminating": true}}]);
        let got = run(json!({"clusterIP": "10.96.0.9", "ports": ports()}), ending);
        assert_eq!(got[0].endpoints, ["10.1.0.4:8080".parse().unwrap()]);
        assert!(
            ready_addresses(
                [slice(
                    json!([{"addresses": ["10.1.0.4"], "conditions": {"ready": false}}])
                )]
                .iter()
            )
            .is_empty()
        );
    }

    #[test]
    fn headless_and_external_names_have_no_rules() {
        assert!(run(json!({"clusterIP": "None", "ports": [{"port": 80}]}), json!([])).is_empty());
        assert!(
            run(
                json!({"type": "ExternalName", "clusterIP": "10.96.0.9", "ports": ports()}),
                json!([])
            )
            .is_empty()
        );
        // A Service without endpoints has: connections are refused.
        assert_eq!(
            run(json!({"clusterIP": "10.96.0.9", "ports": ports()}), json!([])).len(),
            1
        );
    }

    #[test]
    fn local_policies() {
        let endpoints =
            json!([{"addresses": ["10.1.0.2"], "nodeName": "here"}, {"addresses": ["10.2.0.2"], "nodeName": "there"}]);
        let got = run(
            json!({"clusterIP": "10.96.0.9", "ports": ports(), "internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local"}),
            endpoints,
        );
        assert_eq!(got.len(), 2);
        assert_eq!(
            (got[0].endpoints.len(), got[0].cluster_ip.is_some(), got[0].node_port),
            (1, true, None)
        );
        assert_eq!(
            (got[1].endpoints.len(), got[1].cluster_ip, got[1].node_port),
            (2, None, Some(30080))
        );
        assert!(got[1].local_endpoints_only_external);
    }
}
