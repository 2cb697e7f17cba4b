//! Nodes.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::context::Context;
use crate::invalid::{Denied, Invalid};
use crate::path::{Errors, Path};
use crate::podspec::resources;
use crate::podspec::scheduling::EFFECTS;
use crate::strategy::{Column, Strategy};
use crate::table::{AGE, NAME, age, name, text as column, wide};
use crate::value::{self, at, bool_at, list_at, map_at, str_at, text};
use crate::warnings::Warnings;
use crate::{conditions, names};

const SPEC: Path<'static> = Path::new("spec");
const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";

/// The strategy of Nodes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Node;

impl Strategy for Node {
    fn default(&self, obj: &mut Value) {
        if let Some(spec) = obj.get_mut("spec").filter(|s| s.is_object()) {
            mirror_pod_cidr(spec);
        }
        if let Some(status) = obj.get_mut("status").filter(|s| s.is_object()) {
            for key in ["capacity", "allocatable"] {
                if let Some(list) = status.get_mut(key) {
                    resources::canonicalize_list(list);
                }
            }
            if let Some(capacity) = at(status, &["capacity"]).cloned() {
                value::fill(status, "allocatable", capacity);
            }
        }
    }

    /// The status stays: a node registers itself with what it measured.
    fn prepare_create(&self, _cx: &Context<'_>, _obj: &mut Value) -> Result<(), Denied> {
        Ok(())
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Warnings::default();
        if str_at(new, &["spec", "externalID"]).is_some() {
            let what = "this field is deprecated, and is unused by Kubernetes";
            warnings.at(&SPEC.child("externalID"), what);
        }
        warnings.into_vec()
    }

    fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Invalid> {
        let mut errors = Errors::new();
        taints(new, &mut errors);
        pod_cidrs(new, &mut errors);
        if let Some(old) = old {
            change(new, old, &mut errors);
        }
        quantities(new, &mut errors);
        errors.into_vec()
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<Invalid> {
        let mut errors = Errors::new();
        quantities(new, &mut errors);
        let list = Path::new("status.addresses");
        let mut seen: Vec<&Value> = Vec::new();
        for (i, address) in list_at(new, &["status", "addresses"]).iter().enumerate() {
            if seen.contains(&address) {
                errors.duplicate(&list.index(i), address.clone());
            }
            seen.push(address);
        }
        errors.into_vec()
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                NAME,
                column("Status", "Whether the node is ready and takes pods"),
                column("Roles", "Roles by label"),
                AGE,
                column("Version", "Version of the node agent"),
                wide("Internal-IP", "Address inside the cluster's network"),
                wide("External-IP", "Address outside the cluster's network"),
                wide("OS-Image", "Operating system"),
                wide("Kernel-Version", "Kernel"),
                wide("Container-Runtime", "Container runtime and its version"),
            ]
        }
    }

    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        let info = |key| str_at(obj, &["status", "nodeInfo", key]);
        let address = |kind: &str| {
            let of_kind = list_at(obj, &["status", "addresses"])
                .iter()
                .find(|a| text(a, "type") == kind);
            of_kind
                .map(|a| text(a, "address"))
                .filter(|a| !a.is_empty())
                .unwrap_or("<none>")
        };
        vec![
            name(obj),
            status_text(obj).into(),
            roles(obj).into(),
            age(obj, now),
            info("kubeletVersion").unwrap_or("").into(),
            address("InternalIP").into(),
            address("ExternalIP").into(),
            info("osImage").unwrap_or("<unknown>").into(),
            info("kernelVersion").unwrap_or("<unknown>").into(),
            info("containerRuntimeVersion").unwrap_or("<unknown>").into(),
        ]
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn selectable_field<'a>(&self, obj: &'a Value, name: &str) -> Option<Cow<'a, str>> {
        (name == "spec.unschedulable").then(|| bool_at(obj, &["spec", "unschedulable"]).to_string().into())
    }
}

/// `podCIDR` is the first of `podCIDRs`; where they differ, the single one counts.
fn mirror_pod_cidr(spec: &mut Value) {
    let first = value::strings(spec, &["podCIDRs"]).next().map(str::to_owned);
    let single = text(spec, "podCIDR").to_owned();
    let Some(map) = spec.as_object_mut() else { return };
    match first {
        Some(first) if single.is_empty() => {
            map.insert("podCIDR".into(), first.into());
        }
        first if !single.is_empty() && first.as_ref() != Some(&single) => {
            map.insert("podCIDRs".into(), json!([single]));
        }
        _ => {}
    }
}

fn taints(node: &Value, errors: &mut Errors) {
    let list = SPEC.child("taints");
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (i, taint) in list_at(node, &["spec", "taints"]).iter().enumerate() {
        let item = list.index(i);
        let (key, effect, content) = (text(taint, "key"), text(taint, "effect"), text(taint, "value"));
        errors.invalid_each(&item.child("key"), key, names::qualified_name_errors(key));
        errors.invalid_each(&item.child("value"), content, names::label_value_errors(content));
        errors.one_of(&item.child("effect"), effect, &EFFECTS);
        if seen.contains(&(key, effect)) {
            errors.duplicate(&item, taint.clone());
        }
        seen.push((key, effect));
    }
}

fn pod_cidrs(node: &Value, errors: &mut Errors) {
    let list = SPEC.child("podCIDRs");
    for (i, cidr) in value::strings(node, &["spec", "podCIDRs"]).enumerate() {
        if !names::is_cidr(cidr) {
            let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.invalid(&list.index(i), cidr, detail);
        }
    }
}

fn quantities(node: &Value, errors: &mut Errors) {
    for key in ["capacity", "allocatable"] {
        let path = Path::new("status");
        let path = path.child(key);
        for (resource, amount) in map_at(node, &["status", key]).into_iter().flatten() {
            resources::amount(resource, amount, &path.key(resource), errors);
        }
    }
}

/// Addresses and the provider's id are set once; cordoning and taints change at will; nothing else does.
fn change(new: &Value, old: &Value, errors: &mut Errors) {
    let before = list_at(old, &["spec", "podCIDRs"]);
    if !before.is_empty() && list_at(new, &["spec", "podCIDRs"]) != before {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.forbidden(&SPEC.child("podCIDRs"), detail);
    }
    let provider = |node| str_at(node, &["spec", "providerID"]).map(str::to_owned);
    if let Some(before) = provider(old)
        && provider(new).as_ref() != Some(&before)
    {
        let detail = "node updates may not change providerID except from \"\" to valid";
        errors.forbidden(&SPEC.child("providerID"), detail);
    }
    let rest = |node: &Value| {
        let mut spec = map_at(node, &["spec"]).cloned().unwrap_or_default();
        for key in ["podCIDR", "podCIDRs", "providerID", "taints", "unschedulable"] {
            spec.remove(key);
        }
        spec.retain(|_, v| !v.is_null());
        spec
    };
    if rest(new) != rest(old) {
        errors.forbidden(&SPEC, "node updates may only change labels, taints, or capacity");
    }
}

fn status_text(node: &Value) -> String {
    let mut text = match conditions::find(node, "Ready") {
        Some(ready) if text(ready, "status") == "True" => String::from("Ready"),
        Some(_) => String::from("NotReady"),
        None => String::from("Unknown"),
    };
    if bool_at(node, &["spec", "unschedulable"]) {
        text.push_str(",SchedulingDisabled");
    }
    text
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = Vec::new();
    for (key, v) in map_at(node, &["metadata", "labels"]).into_iter().flatten() {
        let role = match key.strip_prefix(ROLE_PREFIX) {
            Some(role) => role,
            None if key == ROLE_LABEL => v.as_str().unwrap_or(""),
            None => "",
        };
        if !role.is_empty() && !roles.contains(&role) {
            roles.push(role);
        }
    }
    if roles.is_empty() {
        return "<none>".into();
    }
    roles.sort_unstable();
    roles.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_show_state_and_roles() {
        let node = json!({
            "metadata": {"name": "n", "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
                "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Debian", "kernelVersion": "6.18"}},
        });
        let now = "2026-01-03T03:00:00Z".parse().unwrap();
        assert_eq!(
            Node.cells(&node, now),
            [
                "n",
                "Ready,SchedulingDisabled",
                "control-plane,worker",
                "2d3h",
                "v1.36.0",
                "192.0.2.1",
                "<none>",
                "Debian",
                "6.18",
                "<unknown>"
            ]
        );
        assert_eq!(Node.columns().len(), 10);
        assert_eq!(
            Node.selectable_fields(&node),
            [("spec.unschedulable".into(), "true".to_owned())]
        );
    }

    #[test]
    fn capacity_is_canonical_and_becomes_allocatable() {
        let mut node =
            json!({"spec": {"podCIDR": "10.244.0.0/24"}, "status": {"capacity": {"cpu": 2, "memory": "1024Mi"}}});
        Node.default(&mut node);
        assert_eq!(node["status"]["allocatable"], json!({"cpu": "2", "memory": "1Gi"}));
        assert_eq!(node["spec"]["podCIDRs"], json!(["10.244.0.0/24"]));
    }

    #[test]
    fn only_some_of_the_specification_changes() {
        let old = json!({"spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]}});
        let mut new = old.clone();
        new["spec"]["unschedulable"] = json!(true);
        new["spec"]["taints"] = json!([{"key": "a", "effect": "NoSchedule"}]);
        assert_eq!(Node.validate(&new, Some(&old)), vec![]);
        new["spec"]["podCIDRs"] = json!(["10.1.0.0/24"]);
        assert_eq!(Node.validate(&new, Some(&old)).len(), 1);
        let bad = json!({"spec": {"taints": [{"key": "a", "effect": "Go"}]}});
        assert!(
            Node.validate(&bad, None)[0]
                .to_string()
                .contains(r#"spec.taints[0].effect: Unsupported value: "Go""#)
        );
    }
}
