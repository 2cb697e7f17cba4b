//! Updates of Services: what the server chose is kept, what a new type has no use for is dropped.

use serde_json::{Map, Value};

use super::{has_cluster_ip, has_node_ports, needs_health_check_port};
use crate::value::{at, i64_at, items_mut, list_at, object_mut, str_at, text};

/// Carries addresses and ports over that the request leaves out, as a manifest without them does.
pub(super) fn keep_allocated(new: &mut Value, old: &Value) {
    let kind = |obj: &Value| str_at(obj, &["spec", "type"]).unwrap_or("").to_owned();
    if has_cluster_ip(&kind(new)) && has_cluster_ip(&kind(old)) {
        let before = str_at(old, &["spec", "clusterIP"]).map(str::to_owned);
        if let (Some(before), Some(spec)) = (before, object_mut(new, "spec")) {
            let given = spec.get("clusterIP").and_then(Value::as_str).unwrap_or("");
            let listed = spec
                .get("clusterIPs")
                .and_then(Value::as_array)
                .is_some_and(|l| !l.is_empty());
            if given.is_empty() && !listed {
                spec.insert("clusterIP".into(), before.as_str().into());
            }
            if !listed && spec.get("clusterIP").and_then(Value::as_str) == Some(&before) {
                let list = at(old, &["spec", "clusterIPs"]).cloned();
                spec.insert(
                    "clusterIPs".into(),
                    list.unwrap_or_else(|| vec![Value::from(before)].into()),
                );
            }
        }
        for key in ["ipFamilies", "ipFamilyPolicy"] {
            if at(new, &["spec", key]).is_none()
                && let Some(before) = at(old, &["spec", key]).cloned()
                && let Some(spec) = object_mut(new, "spec")
            {
                spec.insert(key.into(), before);
            }
        }
    }
    if has_node_ports(new) && has_node_ports(old) {
        keep_node_ports(new, old);
    }
    if needs_health_check_port(new)
        && needs_health_check_port(old)
        && i64_at(new, &["spec", "healthCheckNodePort"]).unwrap_or(0) == 0
        && let Some(before) = at(old, &["spec", "healthCheckNodePort"]).cloned()
        && let Some(spec) = object_mut(new, "spec")
    {
        spec.insert("healthCheckNodePort".into(), before);
    }
}

type PortKey = (String, i64);

fn key(port: &Value) -> PortKey {
    (text(port, "protocol").to_owned(), i64_at(port, &["port"]).unwrap_or(0))
}

fn keep_node_ports(new: &mut Value, old: &Value) {
    let number = |p: &Value| i64_at(p, &["nodePort"]).filter(|n| *n != 0);
    let mut used: Vec<(String, i64)> = list_at(new, &["spec", "ports"])
        .iter()
        .filter_map(|p| Some((text(p, "protocol").to_owned(), number(p)?)))
        .collect();
    let before: Vec<(PortKey, i64)> = list_at(old, &["spec", "ports"])
        .iter()
        .filter_map(|p| Some((key(p), number(p)?)))
        .collect();
    let Some(spec) = new.get_mut("spec") else { return };
    for port in items_mut(spec, "ports") {
        if number(port).is_some() {
            continue;
        }
        let own = key(port);
        let Some((_, kept)) = before.iter().find(|(k, _)| *k == own) else {
            continue;
        };
        let taken = (own.0.clone(), *kept);
        if used.contains(&taken) {
            continue;
        }
        used.push(taken);
        if let Some(map) = port.as_object_mut() {
            map.insert("nodePort".into(), (*kept).into());
        }
    }
}

/// Drops fields that only the old type had, unless the request changed them (then validation speaks).
pub(super) fn drop_unused(new: &mut Value, old: &Value) {
    let kind = |obj: &Value| str_at(obj, &["spec", "type"]).unwrap_or("").to_owned();
    let (after, before) = (kind(new), kind(old));
    if after == before && has_node_ports(new) == has_node_ports(old) {
        return drop_policies(new, old);
    }
    if has_cluster_ip(&before) && !has_cluster_ip(&after) {
        let keys = [
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
        ];
        for key in keys {
            drop_if_same(new, old, key);
        }
    }
    if has_node_ports(old) && !has_node_ports(new) {
        let ports: Vec<i64> = list_at(old, &["spec", "ports"])
            .iter()
            .filter_map(|p| i64_at(p, &["nodePort"]))
            .collect();
        if let Some(spec) = new.get_mut("spec") {
            for port in items_mut(spec, "ports") {
                let same = i64_at(port, &["nodePort"]).is_some_and(|n| ports.contains(&n));
                if same && let Some(map) = port.as_object_mut() {
                    map.remove("nodePort");
                }
            }
        }
    }
    drop_policies(new, old);
    if before == "LoadBalancer" && after != "LoadBalancer" {
        for key in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            drop_if_same(new, old, key);
        }
    }
}

fn drop_policies(new: &mut Value, old: &Value) {
    let external = |obj: &Value| {
        matches!(str_at(obj, &["spec", "type"]), Some("NodePort" | "LoadBalancer"))
            || !list_at(obj, &["spec", "externalIPs"]).is_empty()
    };
    if external(old) && !external(new) {
        drop_if_same(new, old, "externalTrafficPolicy");
    }
    if needs_health_check_port(old) && !needs_health_check_port(new) {
        drop_if_same(new, old, "healthCheckNodePort");
    }
}

fn drop_if_same(new: &mut Value, old: &Value, key: &str) {
    let empty = Map::new();
    let before = old.get("spec").and_then(Value::as_object).unwrap_or(&empty).get(key);
    if let Some(spec) = object_mut(new, "spec")
        && spec.get(key) == before
    {
        spec.remove(key);
    }
}
