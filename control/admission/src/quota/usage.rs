//! What an object uses.

use std::collections::BTreeMap;

use barepod_kinds::podspec::resources::is_extended;
use barepod_kinds::value::{at, i64_at, list_at, map_at, str_at};
use barepod_kinds::{Format, Quantity};
use jiff::Timestamp;
use serde_json::Value;

/// What is behind the name of a device class where a quota limits its devices.
const DEVICES: &str = ".deviceclass.resource.k8s.io/devices";
/// How many devices an allocation holds at most.
const MOST_DEVICES: i64 = 32;

/// Amounts by the name that quotas use.
pub type Amounts = BTreeMap<String, Quantity>;

/// Core resources whose objects are counted by their plain name.
const COUNTED: [&str; 7] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];

fn number(count: usize) -> Quantity {
    Quantity::from_units(i64::try_from(count).unwrap_or(i64::MAX), Format::DecimalSi)
}

/// Whether a quota's `hard` limits anything that objects of a resource use. Cheap: decides most requests.
pub fn counts(hard: &Value, group: &str, resource: &str) -> bool {
    let Some(hard) = hard.as_object() else { return false };
    let count = match group {
        "" => format!("count/{resource}"),
        group => format!("count/{resource}.{group}"),
    };
    hard.keys().any(|key| {
        *key == count
            || (is_claim(group, resource) && key.ends_with(DEVICES))
            || (group.is_empty()
                && match resource {
                    "pods" => is_compute(key) || key == "pods",
                    "persistentvolumeclaims" => key == resource || key.contains("storage"),
                    "services" => key == "services" || key.starts_with("services."),
                    _ => key == resource && COUNTED.contains(&resource),
                })
    })
}

fn is_claim(group: &str, resource: &str) -> bool {
    (group, resource) == ("resource.k8s.io", "resourceclaims")
}

fn is_compute(key: &str) -> bool {
    matches!(key, "cpu" | "memory" | "ephemeral-storage")
        || key.starts_with("hugepages-")
        || ["requests.", "limits."]
            .iter()
            .any(|prefix| key.strip_prefix(prefix).is_some_and(|rest| rest != "storage"))
}

/// What an object uses.
pub fn usage(group: &str, resource: &str, object: &Value, now: Timestamp) -> Amounts {
    let mut used = Amounts::new();
    let count = match group {
        "" => format!("count/{resource}"),
        group => format!("count/{resource}.{group}"),
    };
    used.insert(count, number(1));
    if is_claim(group, resource) {
        devices(object, &mut used);
    }
    if !group.is_empty() {
        return used;
    }
    match resource {
        "pods" if runs(object, now) => {
            used.insert("pods".into(), number(1));
            compute(object, &mut used);
        }
        "pods" => {}
        "services" => {
            used.insert("services".into(), number(1));
            let type_ = str_at(object, &["spec", "type"]).unwrap_or("");
            let ports = list_at(object, &["spec", "ports"]);
            let balanced = type_ == "LoadBalancer";
            if balanced {
                used.insert("services.loadbalancers".into(), number(1));
            }
            let allocated = at(object, &["spec", "allocateLoadBalancerNodePorts"]) != Some(&Value::Bool(false));
            let node_ports = match type_ {
                "NodePort" => ports.len(),
                "LoadBalancer" if allocated => ports.len(),
                "LoadBalancer" => ports
                    .iter()
                    .filter(|port| i64_at(port, &["nodePort"]).is_some_and(|port| port != 0))
                    .count(),
                _ => 0,
            };
            if node_ports > 0 {
                used.insert("services.nodeports".into(), number(node_ports));
            }
        }
        "persistentvolumeclaims" => {
            used.insert(resource.into(), number(1));
            let class = str_at(object, &["spec", "storageClassName"]).or_else(|| {
                str_at(
                    object,
                    &["metadata", "annotations", "volume.beta.kubernetes.io/storage-class"],
                )
            });
            let of_class = |what: &str| class.map(|class| format!("{class}.storageclass.storage.k8s.io/{what}"));
            if let Some(key) = of_class("persistentvolumeclaims") {
                used.insert(key, number(1));
            }
            let size = |path: &[&str]| at(object, path).and_then(|value| Quantity::from_value(value).ok());
            let asked = size(&["spec", "resources", "requests", "storage"]);
            // What is given already counts, if it is more.
            let given = size(&["status", "allocatedResources", "storage"]);
            if let Some(size) = asked.into_iter().chain(given).max() {
                used.insert("requests.storage".into(), size);
                if let Some(key) = of_class("requests.storage") {
                    used.insert(key, size);
                }
            }
        }
        _ if COUNTED.contains(&resource) => {
            used.insert(resource.into(), number(1));
        }
        _ => {}
    }
    used
}

/// The devices of each class that a claim may take: of alternatives the most that any of them takes.
fn devices(claim: &Value, used: &mut Amounts) {
    let wanted = |request: &Value| {
        let class = str_at(request, &["deviceClassName"])?;
        let number = match str_at(request, &["allocationMode"]) {
            Some("All") => MOST_DEVICES,
            _ => i64_at(request, &["count"]).unwrap_or(1),
        };
        Some((
            format!("{class}{DEVICES}"),
            Quantity::from_units(number, Format::DecimalSi),
        ))
    };
    for request in list_at(claim, &["spec", "devices", "requests"]) {
        let mut most = Amounts::new();
        let alternatives = list_at(request, &["firstAvailable"]).iter();
        for (key, number) in at(request, &["exactly"])
            .into_iter()
            .chain(alternatives)
            .filter_map(wanted)
        {
            let slot = most.entry(key).or_default();
            *slot = (*slot).max(number);
        }
        for (key, number) in most {
            *used.entry(key).or_default() += number;
        }
    }
}

/// Whether a pod holds its resources: it has not ended, and is not long past its deletion.
fn runs(pod: &Value, now: Timestamp) -> bool {
    if matches!(str_at(pod, &["status", "phase"]), Some("Succeeded" | "Failed")) {
        return false;
    }
    let deleted = str_at(pod, &["metadata", "deletionTimestamp"]).and_then(|time| time.parse::<Timestamp>().ok());
    let grace = i64_at(pod, &["metadata", "deletionGracePeriodSeconds"]);
    match (deleted, grace) {
        (Some(deleted), Some(grace)) => now.as_second() <= deleted.as_second() + grace,
        _ => true,
    }
}

fn compute(pod: &Value, used: &mut Amounts) {
    for kind in ["requests", "limits"] {
        for (name, amount) in total(pod, kind) {
            if kind == "limits" {
                if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
                    used.insert(format!("limits.{name}"), amount);
                }
                continue;
            }
            if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-") {
                used.insert(format!("requests.{name}"), amount);
                used.insert(name, amount);
            } else if is_extended(&name) {
                used.insert(format!("requests.{name}"), amount);
            }
        }
    }
}

/// Requests or limits of a pod: the larger of what runs and what any init container needs, with the overhead.
fn total(pod: &Value, kind: &str) -> Amounts {
    let spec = &pod["spec"];
    let of = |container: &Value| -> Amounts {
        let entries = map_at(container, &["resources", kind]).into_iter().flatten();
        entries
            .filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value).ok()?)))
            .collect()
    };
    let add = |sum: &mut Amounts, more: Amounts| {
        for (name, amount) in more {
            *sum.entry(name).or_default() += amount;
        }
    };
    let raise = |sum: &mut Amounts, other: Amounts| {
        for (name, amount) in other {
            let slot = sum.entry(name).or_default();
            *slot = (*slot).max(amount);
        }
    };
    let (mut running, mut sidecars, mut peak) = (Amounts::new(), Amounts::new(), Amounts::new());
    for container in list_at(spec, &["containers"]) {
        add(&mut running, of(container));
    }
    for container in list_at(spec, &["initContainers"]) {
        let mut own = of(container);
        if str_at(container, &["restartPolicy"]) == Some("Always") {
            add(&mut sidecars, own);
            raise(&mut peak, sidecars.clone());
        } else {
            add(&mut own, sidecars.clone());
            raise(&mut peak, own);
        }
    }
    add(&mut running, sidecars);
    raise(&mut running, peak);
    // What is said of the pod as a whole counts instead.
    for (name, amount) in of(spec) {
        running.insert(name, amount);
    }
    for (name, value) in map_at(spec, &["overhead"]).into_iter().flatten() {
        let counted = kind == "requests" || running.contains_key(name);
        if let (true, Ok(amount)) = (counted, Quantity::from_value(value)) {
            *running.entry(name.clone()).or_default() += amount;
        }
    }
    running
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn used(resource: &str, object: Value) -> String {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let used = usage("", resource, &object, now);
        used.iter()
            .map(|(name, amount)| format!("{name}={amount}"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn pods_use_what_their_containers_need() {
        let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu, "example.com/gpu": "1"}, "limits": {"memory": "1Gi"}}});
        let pod =
            json!({"spec": {"containers": [container("1"), container("500m")], "initContainers": [container("2")]}});
        assert_eq!(
            used("pods", pod.clone()),
            "count/pods=1 cpu=2 limits.memory=2Gi pods=1 requests.cpu=2 requests.example.com/gpu=2"
        );
        let mut ended = pod.clone();
        ended["status"] = json!({"phase": "Succeeded"});
        assert_eq!(used("pods", ended), "count/pods=1");
        let mut gone = pod;
        gone["metadata"] = json!({"deletionTimestamp": "2025-12-31T00:00:00Z", "deletionGracePeriodSeconds": 30});
        assert_eq!(used("pods", gone), "count/pods=1");
    }

    #[test]
    fn services_and_claims_use_more_than_their_number() {
        let service = json!({"spec": {"type": "LoadBalancer", "ports": [{}, {}]}});
        assert_eq!(
            used("services", service),
            "count/services=1 services=1 services.loadbalancers=1 services.nodeports=2"
        );
        let claim = json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}}}});
        assert_eq!(
            used("persistentvolumeclaims", claim),
            "count/persistentvolumeclaims=1 fast.storageclass.storage.k8s.io/persistentvolumeclaims=1 \
             fast.storageclass.storage.k8s.io/requests.storage=5Gi persistentvolumeclaims=1 requests.storage=5Gi"
        );
        assert_eq!(used("secrets", json!({})), "count/secrets=1 secrets=1");
        assert_eq!(used("endpoints", json!({})), "count/endpoints=1");
    }

    #[test]
    fn claims_use_devices_of_classes() {
        let exactly = |class: &str, count: i64| json!({"exactly": {"deviceClassName": class, "count": count}});
        let any = json!({"firstAvailable": [{"deviceClassName": "gpu", "count": 2}, {"deviceClassName": "gpu", "count": 1},
            {"deviceClassName": "nic", "allocationMode": "All"}]});
        let claim = json!({"spec": {"devices": {"requests": [exactly("gpu", 3), any]}}});
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let used = usage("resource.k8s.io", "resourceclaims", &claim, now);
        let used: Vec<String> = used.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
        assert_eq!(
            used,
            [
                "count/resourceclaims.resource.k8s.io=1",
                "gpu.deviceclass.resource.k8s.io/devices=5",
                "nic.deviceclass.resource.k8s.io/devices=32"
            ]
        );
        let hard = json!({"gpu.deviceclass.resource.k8s.io/devices": "1"});
        assert!(counts(&hard, "resource.k8s.io", "resourceclaims") && !counts(&hard, "", "pods"));
    }

    #[test]
    fn what_is_not_limited_is_not_counted() {
        let hard =
            json!({"requests.cpu": "1", "count/jobs.batch": "2", "requests.storage": "1Gi", "services.nodeports": "1"});
        assert!(counts(&hard, "", "pods") && counts(&hard, "batch", "jobs") && counts(&hard, "", "services"));
        assert!(
            counts(&hard, "", "persistentvolumeclaims")
                && !counts(&hard, "", "secrets")
                && !counts(&hard, "apps", "jobs")
        );
        assert!(!counts(&json!({"requests.storage": "1"}), "", "pods"));
    }
}
