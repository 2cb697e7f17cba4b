//! Services.

mod allocate;
mod families;
mod table;
mod update;
mod validate;
mod warnings;

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::networking::BALANCER;
use crate::context::Context;
use crate::invalid::{Denied, Invalid};
use crate::names::NameRule;
use crate::path::Errors;
use crate::rules;
use crate::strategy::{Column, Strategy};
use crate::value::{self, at, fill, i64_at, items_mut, list_at, str_at, text};

/// Seconds a client stays with one endpoint under session affinity.
const AFFINITY_SECONDS: i64 = 10_800;
/// The cluster address of headless Services.
const HEADLESS: &str = "None";

/// The strategy of Services.
#[derive(Debug, Clone, Copy, Default)]
pub struct Service;

impl Strategy for Service {
    fn default(&self, obj: &mut Value) {
        if let Some(spec) = obj.get_mut("spec").filter(|s| s.is_object()) {
            default_spec(spec);
        }
        if str_at(obj, &["spec", "type"]) == Some("LoadBalancer")
            && let Some(balancer) = obj.pointer_mut("/status/loadBalancer")
        {
            // A load balancer's address is one that packets arrive with, unless it says otherwise (KEP-1860).
            for ingress in items_mut(balancer, "ingress")
                .iter_mut()
                .filter(|ingress| !text(ingress, "ip").is_empty())
            {
                fill(ingress, "ipMode", "VIP");
            }
        }
    }

    fn prepare_create(&self, cx: &Context<'_>, obj: &mut Value) -> Result<(), Denied> {
        // Ports taken for a Service that turns out to be malformed would only hide the real error.
        if let Some(map) = obj.as_object_mut() {
            map.insert("status".into(), json!({"loadBalancer": {}}));
        }
        if !self.validate(obj, None).is_empty() {
            return Ok(());
        }
        families::fill(obj)?;
        allocate::allocate(cx, obj, None)
    }

    fn prepare_update(&self, cx: &Context<'_>, new: &mut Value, old: &Value) -> Result<(), Denied> {
        value::keep(new, old, "status");
        update::keep_allocated(new, old);
        update::drop_unused(new, old);
        if !self.validate(new, Some(old)).is_empty() {
            return Ok(());
        }
        families::fill(new)?;
        allocate::allocate(cx, new, Some(old))
    }

    fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Invalid> {
        validate::service(new, old)
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<Invalid> {
        let mut errors = Errors::new();
        rules::check(BALANCER, new, None, &mut errors);
        errors.into_vec()
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        warnings::service(new)
    }

    fn name_rule(&self) -> NameRule {
        NameRule::Label1035
    }

    fn serial(&self) -> bool {
        true
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        table::COLUMNS
    }

    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        table::cells(obj, now)
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }

    fn selectable_field<'a>(&self, obj: &'a Value, name: &str) -> Option<Cow<'a, str>> {
        let key = match name {
            "spec.clusterIP" => "clusterIP",
            "spec.type" => "type",
            _ => return None,
        };
        Some(str_at(obj, &["spec", key]).unwrap_or("").into())
    }
}

fn default_spec(spec: &mut Value) {
    fill(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "None" => {
            if let Some(map) = spec.as_object_mut() {
                map.remove("sessionAffinityConfig");
            }
        }
        "ClientIP" => {
            if i64_at(spec, &["sessionAffinityConfig", "clientIP", "timeoutSeconds"]).is_none()
                && let Some(map) = spec.as_object_mut()
            {
                let config = json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}});
                map.insert("sessionAffinityConfig".into(), config);
            }
        }
        _ => {}
    }
    fill(spec, "type", "ClusterIP");
    for port in items_mut(spec, "ports") {
        fill(port, "protocol", "TCP");
        if port.get("targetPort").is_none() {
            fill(port, "targetPort", i64_at(port, &["port"]).unwrap_or(0));
        }
    }
    let kind = text(spec, "type").to_owned();
    let external = kind == "NodePort"
        || kind == "LoadBalancer"
        || (kind == "ClusterIP" && !list_at(spec, &["externalIPs"]).is_empty());
    if external {
        fill(spec, "externalTrafficPolicy", "Cluster");
    }
    if has_cluster_ip(&kind) {
        fill(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        fill(spec, "allocateLoadBalancerNodePorts", true);
    }
    // `clusterIP` is the first of `clusterIPs`.
    let single = text(spec, "clusterIP").to_owned();
    if !single.is_empty() && list_at(spec, &["clusterIPs"]).is_empty() && has_cluster_ip(&kind) {
        fill(spec, "clusterIPs", json!([single]));
        if let Some(slot) = spec.get_mut("clusterIPs") {
            *slot = json!([single]);
        }
    }
}

/// Types that have an address in the Service network.
fn has_cluster_ip(kind: &str) -> bool {
    matches!(kind, "ClusterIP" | "NodePort" | "LoadBalancer")
}

/// Whether a Service takes ports of the nodes.
fn has_node_ports(service: &Value) -> bool {
    match text(at(service, &["spec"]).unwrap_or(&Value::Null), "type") {
        "NodePort" => true,
        "LoadBalancer" => at(service, &["spec", "allocateLoadBalancerNodePorts"])
            .and_then(Value::as_bool)
            .unwrap_or(true),
        _ => false,
    }
}

/// Whether a Service needs a port for health checks by load balancers.
fn needs_health_check_port(service: &Value) -> bool {
    let spec = at(service, &["spec"]).unwrap_or(&Value::Null);
    text(spec, "type") == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local"
}

#[cfg(test)]
mod tests;
