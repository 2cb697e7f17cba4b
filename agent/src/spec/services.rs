//! The environment variables by which containers find Services without DNS.

use barepod_client::types::{Service, ServicePort};

/// Variables with their values.
pub type Variables = Vec<(String, String)>;

/// Variables of the Services a pod in `namespace` sees: those of its own namespace when `links` is set, and always the
/// API server's.
pub fn variables<'a>(
    services: impl Iterator<Item = &'a Service>,
    namespace: &str,
    links: bool,
) -> Vec<(String, String)> {
    let mut seen: Vec<(&str, &Service)> = services
        .filter_map(|service| {
            let name = service.metadata.name.as_deref()?;
            let home = service.metadata.namespace.as_deref()?;
            let master = home == "default" && name == "kubernetes";
            ((links && home == namespace) || master).then_some((name, service))
        })
        .collect();
    // The pod's own namespace wins over a Service of the same name in `default`.
    seen.sort_by_key(|(name, service)| (*name, service.metadata.namespace.as_deref() == Some(namespace)));
    seen.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            *earlier = *later;
        }
        same
    });
    seen.into_iter()
        .flat_map(|(name, service)| of_service(name, service))
        .collect()
}

fn of_service(name: &str, service: &Service) -> Vec<(String, String)> {
    let ip = service.spec.cluster_ip.as_deref().unwrap_or_default();
    let ports = &service.spec.ports;
    let (Some(first), false) = (ports.first(), ip.is_empty() || ip == "None") else {
        return Vec::new();
    };
    let prefix = name.to_uppercase().replace('-', "_");
    let mut out = vec![
        (format!("{prefix}_SERVICE_HOST"), ip.to_owned()),
        (format!("{prefix}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in ports {
        if let Some(named) = port.name.as_deref().filter(|it| !it.is_empty()) {
            let suffix = named.to_uppercase().replace('-', "_");
            out.push((format!("{prefix}_SERVICE_PORT_{suffix}"), port.port.to_string()));
        }
    }
    for (at, port) in ports.iter().enumerate() {
        out.extend(link(&prefix, ip, port, at == 0));
    }
    out
}

/// The older variables, named after Docker's links.
fn link(prefix: &str, ip: &str, port: &ServicePort, first: bool) -> Vec<(String, String)> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let lower = protocol.to_lowercase();
    let number = port.port;
    let url = format!("{lower}://{}:{number}", bracket(ip));
    let stem = format!("{prefix}_PORT_{number}_{protocol}");
    let mut out = Vec::new();
    if first {
        out.push((format!("{prefix}_PORT"), url.clone()));
    }
    out.push((stem.clone(), url));
    out.push((format!("{stem}_PROTO"), lower));
    out.push((format!("{stem}_PORT"), number.to_string()));
    out.push((format!("{stem}_ADDR"), ip.to_owned()));
    out
}

fn bracket(ip: &str) -> String {
    if ip.contains(':') {
        format!("[{ip}]")
    } else {
        ip.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(namespace: &str, name: &str, ip: &str, ports: serde_json::Value) -> Service {
        serde_json::from_value(
            json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": ip, "ports": ports}}),
        )
        .unwrap()
    }

    #[test]
    fn own_namespace_and_the_api_server() {
        let services = [
            service(
                "default",
                "kubernetes",
                "10.96.0.1",
                json!([{"name": "https", "port": 443, "protocol": "TCP"}]),
            ),
            service("default", "other", "10.96.0.2", json!([{"port": 1}])),
            service(
                "n",
                "my-db",
                "10.96.0.3",
                json!([{"port": 6379, "protocol": "TCP"}, {"name": "m-x", "port": 9, "protocol": "UDP"}]),
            ),
            service("n", "headless", "None", json!([{"port": 1}])),
        ];
        let all = variables(services.iter(), "n", true);
        let get = |name: &str| all.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(get("MY_DB_SERVICE_HOST"), Some("10.96.0.3"));
        assert_eq!(get("MY_DB_SERVICE_PORT"), Some("6379"));
        assert_eq!(get("MY_DB_SERVICE_PORT_M_X"), Some("9"));
        assert_eq!(get("MY_DB_PORT"), Some("tcp://10.96.0.3:6379"));
        assert_eq!(get("MY_DB_PORT_9_UDP_PROTO"), Some("udp"));
        assert_eq!(get("KUBERNETES_SERVICE_HOST"), Some("10.96.0.1"));
        assert_eq!(get("KUBERNETES_SERVICE_PORT_HTTPS"), Some("443"));
        assert_eq!(get("OTHER_SERVICE_HOST"), None);
        assert_eq!(get("HEADLESS_SERVICE_HOST"), None);
        let few = variables(services.iter(), "n", false);
        assert!(few.iter().all(|(key, _)| key.starts_with("KUBERNETES_")) && !few.is_empty());
    }
}
