//! What a container may learn about its pod: `fieldRef` and `resourceFieldRef`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::kinds::{Container, Pod, ResourceFieldSelector};
use barepod_client::types::Quantity;

use crate::pods::shape;

/// What is known of the pod's place beside its object.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The pod's address; unknown while the network is being set up.
    pub pod_ip: Option<Ipv4Addr>,
    /// The node's address.
    pub host_ip: Option<Ipv4Addr>,
    /// The node's name.
    pub node_name: String,
    /// What limits default to: the node's CPU, in thousandths.
    pub allocatable_cpu_milli: i64,
    /// What limits default to: the node's memory, in bytes.
    pub allocatable_memory: i64,
    /// What limits default to: the node's disk, in bytes.
    pub allocatable_storage: i64,
}

/// A reference that cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such field.
    #[error("field path {0:?} is not supported")]
    Field(String),
    /// There is no such resource.
    #[error("resource {0:?} is not supported")]
    Resource(String),
    /// The divisor is not a quantity.
    #[error("divisor {0:?} of resource {1:?} is not a quantity above zero")]
    Divisor(String, String),
}

/// The value of a field of the pod.
pub fn field(pod: &Pod, path: &str, facts: &Facts) -> Result<String, Error> {
    let text = |value: Option<&str>| Ok(value.unwrap_or_default().to_owned());
    let ip = |ip: Option<Ipv4Addr>| Ok(ip.map(|ip| ip.to_string()).unwrap_or_default());
    let meta = &pod.metadata;
    match path {
        "metadata.name" => text(meta.name.as_deref()),
        "metadata.namespace" => text(meta.namespace.as_deref()),
        "metadata.uid" => text(meta.uid.as_deref()),
        "metadata.labels" => Ok(lines(meta.labels.as_ref())),
        "metadata.annotations" => Ok(lines(meta.annotations.as_ref())),
        "spec.nodeName" => Ok(facts.node_name.clone()),
        "spec.serviceAccountName" => text(shape::spec(pod).service_account_name.as_deref()),
        "status.hostIP" | "status.hostIPs" => ip(facts.host_ip),
        "status.podIP" | "status.podIPs" => ip(facts.pod_ip),
        _ => subscript(path, "metadata.labels")
            .map(|key| value(meta.labels.as_ref(), key))
            .or_else(|| subscript(path, "metadata.annotations").map(|key| value(meta.annotations.as_ref(), key)))
            .ok_or_else(|| Error::Field(path.to_owned())),
    }
}

fn value(map: Option<&BTreeMap<String, String>>, key: &str) -> String {
    map.and_then(|map| map.get(key)).cloned().unwrap_or_default()
}

/// `key` of `prefix['key']`.
fn subscript<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let inner = path.strip_prefix(prefix)?.strip_prefix('[')?.strip_suffix(']')?;
    let quoted = |quote| inner.strip_prefix(quote)?.strip_suffix(quote);
    quoted('\'').or_else(|| quoted('"'))
}

/// `key="escaped value"` on a line each, by key.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let line = |(key, value): (&String, &String)| format!("{key}={value:?}");
    map.into_iter().flatten().map(line).collect::<Vec<_>>().join("\n")
}

/// The value of a container's limit or request, divided and rounded up.
pub fn resource(container: &Container, selector: &ResourceFieldSelector, facts: &Facts) -> Result<String, Error> {
    let unsupported = || Error::Resource(selector.resource.clone());
    let (list, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    let resources = container.resources.as_ref();
    let of = |map: Option<&BTreeMap<String, Quantity>>| map.and_then(|map| map.get(name)).cloned();
    let limit = || resources.and_then(|it| of(it.limits.as_ref()));
    let request = || resources.and_then(|it| of(it.requests.as_ref()));
    let found = match list {
        "limits" => limit(),
        "requests" => request().or_else(limit),
        _ => return Err(unsupported()),
    };
    let divisor = selector
        .divisor
        .as_ref()
        .filter(|it| !matches!(it.0.as_str(), "" | "0"));
    let bad = |divisor: &Quantity| Error::Divisor(divisor.0.clone(), selector.resource.clone());
    let default = |amount: i64| if list == "limits" { amount } else { 0 };
    let (amount, unit, per) = match name {
        "cpu" => {
            let amount = found
                .and_then(|it| it.milli())
                .unwrap_or(default(facts.allocatable_cpu_milli));
            (amount, divisor.map(|it| (it.milli(), bad(it))), 1_000)
        }
        "memory" | "ephemeral-storage" => {
            let node = if name == "memory" {
                facts.allocatable_memory
            } else {
                facts.allocatable_storage
            };
            let amount = found.and_then(|it| it.units()).unwrap_or(default(node));
            (amount, divisor.map(|it| (it.units(), bad(it))), 1)
        }
        _ if name.starts_with("hugepages-") => {
            let amount = found.and_then(|it| it.units()).unwrap_or(0);
            (amount, divisor.map(|it| (it.units(), bad(it))), 1)
        }
        _ => return Err(unsupported()),
    };
    let unit = match unit {
        None => per,
        Some((Some(unit), _)) if unit > 0 => unit,
        Some((_, error)) => return Err(error),
    };
    Ok((amount.div_euclid(unit) + i64::from(amount.rem_euclid(unit) != 0)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a/b": "x \"y\"", "c": "d"}, "annotations": {"k": "v"}},
            "spec": {"serviceAccountName": "sa", "containers": []}
        }))
        .unwrap()
    }

    #[test]
    fn fields_of_the_pod() {
        let facts = Facts {
            pod_ip: Some(Ipv4Addr::new(10, 0, 0, 2)),
            host_ip: Some(Ipv4Addr::new(1, 2, 3, 4)),
            node_name: "node".into(),
            ..Facts::default()
        };
        for (path, want) in [
            ("metadata.name", "p"),
            ("metadata.namespace", "n"),
            ("metadata.uid", "u"),
            ("metadata.labels['c']", "d"),
            ("metadata.labels['a/b']", "x \"y\""),
            ("metadata.annotations['k']", "v"),
            ("metadata.annotations['none']", ""),
            ("metadata.labels", "a/b=\"x \\\"y\\\"\"\nc=\"d\""),
            ("spec.nodeName", "node"),
            ("spec.serviceAccountName", "sa"),
            ("status.podIP", "10.0.0.2"),
            ("status.podIPs", "10.0.0.2"),
            ("status.hostIP", "1.2.3.4"),
        ] {
            assert_eq!(field(&pod(), path, &facts).unwrap(), want, "{path}");
        }
        assert!(field(&pod(), "spec.containers", &facts).is_err());
    }

    #[test]
    fn resources_of_a_container() {
        let container: Container = serde_json::from_value(json!({"name": "c", "resources":
            {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}}}))
        .unwrap();
        let facts = Facts {
            allocatable_cpu_milli: 4000,
            allocatable_memory: 1 << 30,
            ..Facts::default()
        };
        let get = |container: &Container, resource: &str, divisor: Option<&str>| {
            let selector = ResourceFieldSelector {
                resource: resource.into(),
                divisor: divisor.map(|it| Quantity(it.into())),
                container_name: None,
            };
            super::resource(container, &selector, &facts)
        };
        assert_eq!(get(&container, "limits.cpu", None).unwrap(), "2");
        assert_eq!(get(&container, "limits.cpu", Some("1m")).unwrap(), "1500");
        assert_eq!(get(&container, "requests.cpu", Some("1m")).unwrap(), "250");
        assert_eq!(get(&container, "limits.memory", Some("1Mi")).unwrap(), "64");
        assert_eq!(
            get(&container, "requests.memory", None).unwrap(),
            (64 << 20).to_string()
        );
        assert_eq!(get(&Container::default(), "limits.cpu", None).unwrap(), "4");
        assert_eq!(
            get(&Container::default(), "limits.memory", Some("0")).unwrap(),
            (1 << 30).to_string()
        );
        assert_eq!(get(&Container::default(), "requests.cpu", None).unwrap(), "0");
        assert!(get(&container, "limits.gpu", None).is_err());
        assert!(get(&container, "limits.cpu", Some("x")).is_err());
    }
}
