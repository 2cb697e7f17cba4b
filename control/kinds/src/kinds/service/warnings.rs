//! What Services are warned about.

use serde_json::Value;

use super::HEADLESS;
use crate::path::Path;
use crate::value::{at, map_at, str_at, strings};
use crate::warnings::Warnings;

pub(super) const OLD_HINTS: &str = "service.kubernetes.io/topology-aware-hints";

/// Warnings about a Service.
pub fn service(service: &Value) -> Vec<String> {
    let mut warnings = Warnings::default();
    if map_at(service, &["metadata", "annotations"]).is_some_and(|map| map.contains_key(OLD_HINTS)) {
        warnings.say(format!(
            "annotation {OLD_HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead"
        ));
    }
    if let Some(spec) = at(service, &["spec"]) {
        self::spec(spec, &mut warnings);
    }
    warnings.into_vec()
}

fn spec(spec: &Value, warnings: &mut Warnings) {
    let path = Path::new("spec");
    let says = |key: &str| str_at(spec, &[key]).unwrap_or("");
    let (kind, cluster_ip) = (says("type"), says("clusterIP"));
    let outside = strings(spec, &["externalIPs"]).count() > 0;
    let headless = kind == "ClusterIP" && cluster_ip == HEADLESS;
    let external_name = kind == "ExternalName";
    let addresses = |key: &str, warnings: &mut Warnings| {
        let list = path.child(key);
        for (i, address) in strings(spec, &[key]).enumerate() {
            warnings.address(address, &list.index(i));
        }
    };
    addresses("clusterIPs", warnings);
    if headless {
        for (set, field) in [
            (!says("loadBalancerIP").is_empty(), "spec.loadBalancerIP"),
            (outside, "spec.externalIPs"),
            (says("sessionAffinity") != "None", "spec.SessionAffinity"),
        ] {
            if set {
                warnings.say(format!("{field} is ignored for headless services"));
            }
        }
    }
    addresses("externalIPs", warnings);
    if outside && !headless && !external_name {
        warnings.say("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    }
    warnings.address(says("loadBalancerIP"), &path.child("loadBalancerIP"));
    let ranges = path.child("loadBalancerSourceRanges");
    for (i, network) in strings(spec, &["loadBalancerSourceRanges"]).enumerate() {
        warnings.network(network, &ranges.index(i));
    }
    if external_name && outside {
        warnings.say("spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    }
    if !external_name && !says("externalName").is_empty() {
        warnings.say("spec.externalName is ignored when spec.type is not \"ExternalName\"");
    }
    if says("trafficDistribution") == "PreferClose" {
        let what = "\"PreferClose\" is deprecated; use \"PreferSameZone\"";
        warnings.at(&path.child("trafficDistribution"), what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_has_no_effect_is_named() {
        let spec = json!({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "sessionAffinity": "ClientIP",
            "externalIPs": ["192.0.2.1"], "externalName": "x.example", "trafficDistribution": "PreferClose"});
        assert_eq!(
            service(&json!({"spec": spec})),
            [
                "spec.externalIPs is ignored for headless services",
                "spec.SessionAffinity is ignored for headless services",
                "spec.externalName is ignored when spec.type is not \"ExternalName\"",
                "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
            ]
        );
        let spec = json!({"type": "ClusterIP", "clusterIP": "10.0.0.1", "externalIPs": ["192.0.2.1"]});
        assert_eq!(
            service(&json!({"spec": spec})),
            ["spec.externalIPs is deprecated and may no longer be implemented in some clusters"]
        );
    }
}
