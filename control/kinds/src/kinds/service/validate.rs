//! Validation of Services.

use serde_json::{Value, json};

use super::warnings::OLD_HINTS;
use super::{HEADLESS, has_cluster_ip, needs_health_check_port};
use crate::invalid::Invalid;
use crate::labels;
use crate::names;
use crate::path::{Errors, IMMUTABLE, Path};
use crate::value::{at, i64_at, list_at, map_at, strings, text};

const SPEC: Path<'static> = Path::new("spec");
const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const DAY_SECONDS: i64 = 86_400;

pub(super) fn service(new: &Value, old: Option<&Value>) -> Vec<Invalid> {
    let mut errors = Errors::new();
    topology(new, &mut errors);
    let empty = json!({});
    let spec = at(new, &["spec"]).unwrap_or(&empty);
    let kind = text(spec, "type");
    let headless = text(spec, "clusterIP") == HEADLESS;
    if let Some(old) = old {
        is_kept(new, old, &mut errors);
    }
    if list_at(spec, &["ports"]).is_empty() && !headless && kind != "ExternalName" {
        errors.required(&SPEC.child("ports"), "");
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.invalid(&SPEC.child("clusterIPs").index(0), HEADLESS, detail);
        }
        "ExternalName" => {
            let addressed = !text(spec, "clusterIP").is_empty() || !list_at(spec, &["clusterIPs"]).is_empty();
            for (key, set) in [
                ("clusterIPs", addressed),
                ("ipFamilies", !list_at(spec, &["ipFamilies"]).is_empty()),
                ("ipFamilyPolicy", at(spec, &["ipFamilyPolicy"]).is_some()),
            ] {
                if set {
                    errors.forbidden(&SPEC.child(key), "may not be set for ExternalName services");
                }
            }
            let target = text(spec, "externalName");
            let target = target.strip_suffix('.').unwrap_or(target);
            if target.is_empty() {
                errors.required(&SPEC.child("externalName"), "");
            } else {
                errors.invalid_each(&SPEC.child("externalName"), target, names::subdomain_errors(target));
            }
        }
        _ => {}
    }
    ports(spec, kind, &mut errors);
    labels::validate(map_at(spec, &["selector"]), &SPEC.child("selector"), &mut errors);
    affinity(spec, &mut errors);
    cluster_ips(spec, kind, &mut errors);
    errors.one_of(&SPEC.child("type"), kind, &TYPES);
    external_ips(spec, &mut errors);
    policies(new, spec, kind, &mut errors);
    load_balancer(spec, kind, &mut errors);
    errors.into_vec()
}

/// The old and the new annotation about topology say the same.
fn topology(service: &Value, errors: &mut Errors) {
    let says = |key: &str| at(service, &["metadata", "annotations", key]).and_then(Value::as_str);
    let (hints, mode) = (says(OLD_HINTS), says("service.kubernetes.io/topology-mode"));
    if let (Some(_), Some(given)) = (hints, mode.filter(|_| mode != hints)) {
        let path = Path::new("metadata.annotations");
        let detail = format!("must match annotations[{OLD_HINTS}] when both are specified");
        errors.invalid(&path.key("service.kubernetes.io/topology-mode"), given, detail);
    }
}

/// What an update may not change (kube's ValidateServiceUpdate), unless the Service is or becomes an alias.
fn is_kept(new: &Value, old: &Value, errors: &mut Errors) {
    let empty = json!({});
    let (now, before) = (new.get("spec").unwrap_or(&empty), old.get("spec").unwrap_or(&empty));
    let headless = |spec| text(spec, "clusterIP") == HEADLESS;
    if has_cluster_ip(text(now, "type")) && has_cluster_ip(text(before, "type")) {
        if !headless(now) || !headless(before) {
            first_is_kept("clusterIPs", now, before, errors);
        }
        if !headless(now) && !headless(before) {
            first_is_kept("ipFamilies", now, before, errors);
        }
    }
    let balanced = |spec| text(spec, "type") == "LoadBalancer";
    let class = |spec| at(spec, &["loadBalancerClass"]);
    if balanced(now) && balanced(before) && class(now) != class(before) {
        let class = class(now).cloned().unwrap_or_default();
        errors.invalid(&SPEC.child("loadBalancerClass"), class, "may not change once set");
    }
    let port = |spec| i64_at(spec, &["healthCheckNodePort"]).unwrap_or(0);
    if needs_health_check_port(new) && needs_health_check_port(old) && port(now) != port(before) {
        errors.forbidden(&SPEC.child("healthCheckNodePort"), IMMUTABLE);
    }
}

fn first_is_kept(key: &str, now: &Value, before: &Value, errors: &mut Errors) {
    let given: Vec<&str> = strings(now, &[key]).collect();
    let first = strings(before, &[key]).next();
    if first.is_some() && given.first().copied() != first {
        errors.invalid(&SPEC.child(key).index(0), given, "may not change once set");
    }
}

fn ports(spec: &Value, kind: &str, errors: &mut Errors) {
    let all = list_at(spec, &["ports"]);
    let list = SPEC.child("ports");
    let mut port_names: Vec<&str> = Vec::new();
    let mut numbers: Vec<(i64, &str)> = Vec::new();
    let mut node_ports: Vec<(i64, &str)> = Vec::new();
    for (i, port) in all.iter().enumerate() {
        let item = list.index(i);
        let own = text(port, "name");
        let name_path = item.child("name");
        if own.is_empty() {
            if all.len() > 1 {
                errors.required(&name_path, "");
            }
        } else {
            errors.invalid_each(&name_path, own, names::label_errors(own));
            if port_names.contains(&own) {
                errors.duplicate(&name_path, own);
            }
            port_names.push(own);
        }
        let number = i64_at(port, &["port"]).unwrap_or(0);
        if let Some(detail) = names::port_errors(number) {
            errors.invalid(&item.child("port"), number, detail);
        }
        let protocol = text(port, "protocol");
        errors.one_of(&item.child("protocol"), protocol, &["SCTP", "TCP", "UDP"]);
        target_port(port, &item.child("targetPort"), errors);
        if let Some(application) = port.get("appProtocol").and_then(Value::as_str) {
            let messages = names::qualified_name_errors(application);
            errors.invalid_each(&item.child("appProtocol"), application, messages);
        }
        if numbers.contains(&(number, protocol)) {
            errors.duplicate(&item, json!({"protocol": protocol, "port": number}));
        }
        numbers.push((number, protocol));
        let node_port = i64_at(port, &["nodePort"]).unwrap_or(0);
        if node_port == 0 {
            continue;
        }
        let at = item.child("nodePort");
        if kind == "ClusterIP" {
            errors.forbidden(&at, "may not be used when `type` is 'ClusterIP'");
        } else if !(0..=65_535).contains(&node_port) {
            errors.invalid(&at, node_port, names::PORT_MESSAGE);
        }
        if node_ports.contains(&(node_port, protocol)) {
            errors.duplicate(&at, node_port);
        }
        node_ports.push((node_port, protocol));
    }
}

fn target_port(port: &Value, path: &Path<'_>, errors: &mut Errors) {
    match port.get("targetPort") {
        Some(Value::String(name)) => errors.invalid_each(path, name, names::port_name_errors(name)),
        other => {
            let target = other.and_then(Value::as_i64).unwrap_or(0);
            if let Some(detail) = names::port_errors(target) {
                errors.invalid(path, target, detail);
            }
        }
    }
}

fn affinity(spec: &Value, errors: &mut Errors) {
    let kind = text(spec, "sessionAffinity");
    errors.one_of(&SPEC.child("sessionAffinity"), kind, &["ClientIP", "None"]);
    if kind != "ClientIP" {
        return;
    }
    let seconds = i64_at(spec, &["sessionAffinityConfig", "clientIP", "timeoutSeconds"]).unwrap_or(0);
    if seconds <= 0 || seconds > DAY_SECONDS {
        errors.invalid(
            &SPEC.child("sessionAffinityConfig.clientIP.timeoutSeconds"),
            seconds,
            format!("must be greater than 0 and less than {DAY_SECONDS}"),
        );
    }
}

fn cluster_ips(spec: &Value, kind: &str, errors: &mut Errors) {
    if !has_cluster_ip(kind) {
        return;
    }
    let path = SPEC.child("clusterIPs");
    let all: Vec<&str> = strings(spec, &["clusterIPs"]).collect();
    match (text(spec, "clusterIP"), all.first()) {
        ("", Some(_)) => errors.invalid(&path, all.clone(), "must be empty when `clusterIP` is not specified"),
        (single, Some(first)) if *first != single => {
            errors.invalid(&path, all.clone(), "first value must match `clusterIP`");
        }
        _ => {}
    }
    if all.first() == Some(&HEADLESS) {
        if all.len() > 1 {
            errors.invalid(&path, all, "'None' must be the first and only value");
        }
        return;
    }
    let families: Vec<Option<&str>> = all
        .iter()
        .map(|address| names::ip(address).map(|ip| if ip.is_ipv4() { "IPv4" } else { "IPv6" }))
        .collect();
    for (i, address) in all.iter().enumerate().filter(|(i, _)| families[*i].is_none()) {
        errors.invalid(&path.index(i), *address, names::IP_MESSAGE);
    }
    if all.len() > 2 {
        errors.invalid(&path, all.clone(), "may only hold up to 2 values");
    }
    if families.contains(&None) {
        return;
    }
    if all.len() > 2 || (all.len() == 2 && families[0] == families[1]) {
        errors.invalid(&path, all.clone(), "may specify no more than one IP for each IP family");
    }
    let wanted: Vec<&str> = strings(spec, &["ipFamilies"]).collect();
    for (i, family) in families.iter().flatten().enumerate() {
        let other = wanted.get(i).filter(|wanted| *wanted != family);
        if let Some(wanted) = other.filter(|wanted| matches!(**wanted, "IPv4" | "IPv6")) {
            let detail = format!("expected an {wanted} value as indicated by `ipFamilies[{i}]`");
            errors.invalid(&path.index(i), all[i], detail);
        } else if *family == "IPv6" {
            errors.invalid(&path.index(i), all[i], "not configured on this cluster");
        }
    }
}

fn external_ips(spec: &Value, errors: &mut Errors) {
    let list = SPEC.child("externalIPs");
    for (i, address) in strings(spec, &["externalIPs"]).enumerate() {
        super::super::endpoints::endpoint_ip(address, &list.index(i), errors);
    }
}

fn policies(service: &Value, spec: &Value, kind: &str, errors: &mut Errors) {
    let external = text(spec, "externalTrafficPolicy");
    let path = SPEC.child("externalTrafficPolicy");
    let accessible = kind == "NodePort"
        || kind == "LoadBalancer"
        || (kind == "ClusterIP" && !list_at(spec, &["externalIPs"]).is_empty());
    if !accessible {
        if !external.is_empty() {
            errors.invalid(&path, external, "may only be set for externally-accessible services");
        }
    } else {
        errors.one_of(&path, external, &["Cluster", "Local"]);
    }
    if let Some(port) = i64_at(spec, &["healthCheckNodePort"]).filter(|p| *p != 0)
        && !needs_health_check_port(service)
    {
        errors.invalid(
            &SPEC.child("healthCheckNodePort"),
            port,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        );
    }
    errors.not_negative(
        &SPEC.child("healthCheckNodePort"),
        i64_at(spec, &["healthCheckNodePort"]),
    );
    if has_cluster_ip(kind) {
        let internal = SPEC.child("internalTrafficPolicy");
        match spec.get("internalTrafficPolicy") {
            None => errors.required(&internal, ""),
            given => errors.optional_one_of(&internal, given, &["Cluster", "Local"]),
        }
    }
    let distribution = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    errors.optional_one_of(
        &SPEC.child("trafficDistribution"),
        spec.get("trafficDistribution"),
        &distribution,
    );
    let families = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    errors.optional_one_of(&SPEC.child("ipFamilyPolicy"), spec.get("ipFamilyPolicy"), &families);
    let list = SPEC.child("ipFamilies");
    let mut seen: Vec<&str> = Vec::new();
    for (i, family) in strings(spec, &["ipFamilies"]).enumerate() {
        errors.one_of(&list.index(i), family, &["IPv4", "IPv6"]);
        if seen.contains(&family) {
            errors.duplicate(&list.index(i), family);
        }
        seen.push(family);
    }
}

fn load_balancer(spec: &Value, kind: &str, errors: &mut Errors) {
    if kind == "LoadBalancer" {
        let list = SPEC.child("loadBalancerSourceRanges");
        for (i, range) in strings(spec, &["loadBalancerSourceRanges"]).enumerate() {
            if !names::is_cidr(range.trim()) {
                let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                errors.invalid(&list.index(i), range, detail);
            }
        }
        if at(spec, &["allocateLoadBalancerNodePorts"]).is_none() {
            errors.required(&SPEC.child("allocateLoadBalancerNodePorts"), "");
        }
        if let Some(class) = spec.get("loadBalancerClass").and_then(Value::as_str) {
            let messages = names::qualified_name_errors(class);
            errors.invalid_each(&SPEC.child("loadBalancerClass"), class, messages);
        }
        return;
    }
    if !list_at(spec, &["loadBalancerSourceRanges"]).is_empty() {
        let detail = "may only be used when `type` is 'LoadBalancer'";
        errors.forbidden(&SPEC.child("loadBalancerSourceRanges"), detail);
    }
    for key in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if at(spec, &[key]).is_some() {
            errors.forbidden(&SPEC.child(key), "may only be used when `type` is 'LoadBalancer'");
        }
    }
}
