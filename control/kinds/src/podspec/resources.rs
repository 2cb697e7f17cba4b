//! Resource requirements: canonical quantities, checks, and the quality-of-service class that follows from them.

use serde_json::{Map, Value};

use super::is_sidecar;
use crate::names;
use crate::path::{Errors, Path};
use crate::quantity::Quantity;
use crate::value::{self, list_at, map_at};

/// Writes every quantity of `limits` and `requests` in canonical form, rounded up to thousandths.
pub fn canonicalize(resources: &mut Value) {
    for key in ["limits", "requests"] {
        if let Some(list) = resources.get_mut(key) {
            canonicalize_list(list);
        }
    }
}

/// Writes every quantity of a resource list in canonical form, rounded up to thousandths.
pub fn canonicalize_list(list: &mut Value) {
    for quantity in list.as_object_mut().into_iter().flat_map(Map::values_mut) {
        canonicalize_one(quantity);
    }
}

/// Writes one quantity in canonical form; what is no quantity stays for validation to report.
pub fn canonicalize_one(quantity: &mut Value) {
    if let Ok(parsed) = Quantity::from_value(quantity) {
        let text = parsed.round_up_to_milli().to_string();
        if quantity.as_str() != Some(&text) {
            *quantity = text.into();
        }
    }
}

/// Whether a resource name is one of Kubernetes' own (no domain, or one of kubernetes.io).
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether a resource comes from a device plugin, such as `example.com/gpu`.
pub fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.")
}

/// Whether more may be promised than there is: not for huge pages and devices.
fn overcommit_allowed(name: &str) -> bool {
    is_native(name) && !name.starts_with("hugepages-")
}

fn is_standard_for_containers(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

/// Checks the name of a resource that a container asks for.
pub fn container_resource_name(name: &str, path: &Path<'_>, errors: &mut Errors) {
    errors.invalid_each(path, name, names::qualified_name_errors(name));
    if !name.contains('/') {
        if !is_standard_for_containers(name) {
            errors.invalid(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(path, name, "doesn't follow extended resource name standard");
    }
}

/// Checks an amount: a quantity, not negative, whole for things that cannot be divided.
pub fn amount(name: &str, amount: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Quantity> {
    let parsed = match Quantity::from_value(amount) {
        Ok(parsed) => parsed,
        Err(error) => {
            errors.invalid(path, amount.clone(), error.to_string());
            return None;
        }
    };
    if parsed.sign() < 0 {
        errors.invalid(path, parsed.to_string(), "must be greater than or equal to 0");
    }
    if (is_extended(name) || name == "pods" || name.starts_with("hugepages-")) && !parsed.is_integer() {
        errors.invalid(path, parsed.to_string(), "must be an integer");
    }
    Some(parsed)
}

/// Checks the `resources` of a container.
pub fn requirements(resources: &Value, claims: &[Value], path: &Path<'_>, errors: &mut Errors) {
    let limits = map_at(resources, &["limits"]);
    let requests = map_at(resources, &["requests"]);
    let (limits_path, requests_path) = (path.child("limits"), path.child("requests"));
    let mut huge_pages = false;
    let mut cpu_or_memory = false;
    for (name, limit) in limits.into_iter().flatten() {
        let at = limits_path.key(name);
        container_resource_name(name, &at, errors);
        amount(name, limit, &at, errors);
        huge_pages |= name.starts_with("hugepages-");
        cpu_or_memory |= name == "cpu" || name == "memory";
    }
    for (name, request) in requests.into_iter().flatten() {
        let at = requests_path.key(name);
        container_resource_name(name, &at, errors);
        huge_pages |= name.starts_with("hugepages-");
        cpu_or_memory |= name == "cpu" || name == "memory";
        let Some(request) = amount(name, request, &at, errors) else {
            continue;
        };
        match limits.and_then(|l| l.get(name)) {
            Some(limit) => {
                let Ok(limit) = Quantity::from_value(limit) else {
                    continue;
                };
                if request > limit {
                    let detail = format!("must be less than or equal to {name} limit of {limit}");
                    errors.invalid(&requests_path, request.to_string(), detail);
                } else if !overcommit_allowed(name) && request != limit {
                    let detail = format!("must be equal to {name} limit of {limit}");
                    errors.invalid(&requests_path, request.to_string(), detail);
                }
            }
            None if !overcommit_allowed(name) => {
                errors.required(&limits_path, "Limit must be set for non overcommitable resources");
            }
            None => {}
        }
    }
    if huge_pages && !cpu_or_memory {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
    let list = path.child("claims");
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (i, claim) in list_at(resources, &["claims"]).iter().enumerate() {
        let item = list.index(i);
        let key = (value::text(claim, "name"), value::text(claim, "request"));
        if key.0.is_empty() {
            errors.required(&item.child("name"), "");
        } else if seen.contains(&key) {
            errors.duplicate(&item, key.0);
        } else if !claims.iter().any(|c| value::text(c, "name") == key.0) {
            errors.not_found(&item, key.0);
        }
        seen.push(key);
    }
}

/// The quality-of-service class of a pod: Guaranteed, Burstable or BestEffort.
///
/// Only CPU and memory count, of init and regular containers; pod-level resources, where set, decide alone.
pub fn qos_class(spec: &Value) -> &'static str {
    let pod = spec.get("resources").filter(|r| {
        ["limits", "requests"]
            .iter()
            .any(|k| map_at(r, &[k]).is_some_and(|m| !m.is_empty()))
    });
    let everyone: Vec<Option<&Value>> = match pod {
        Some(resources) => vec![Some(resources)],
        None => {
            let lists = ["initContainers", "containers"]
                .into_iter()
                .flat_map(|l| list_at(spec, &[l]));
            lists.map(|c| c.get("resources")).collect()
        }
    };
    let positive = |resources: Option<&Value>, list: &str, name: &str| {
        let value = value::at(resources?, &[list, name])?;
        Quantity::from_value(value).ok().filter(|q| q.sign() > 0)
    };
    let mut any = false;
    let mut guaranteed = !everyone.is_empty();
    for resources in everyone {
        for name in ["cpu", "memory"] {
            let limit = positive(resources, "limits", name);
            let request = positive(resources, "requests", name);
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (_, true) => "Guaranteed",
        (true, false) => "Burstable",
        (false, false) => "BestEffort",
    }
}

/// What a pod needs of a resource for scheduling: the larger of its running containers and its init phase, plus
/// overhead; pod-level requests, where set, decide alone. Zero when nothing asks for it.
pub fn pod_request(spec: &Value, name: &str) -> Quantity {
    let parse = |v: Option<&Value>| v.and_then(|v| Quantity::from_value(v).ok());
    let overhead = parse(value::at(spec, &["overhead", name])).unwrap_or_default();
    if let Some(own) = parse(value::at(spec, &["resources", "requests", name])) {
        return own + overhead;
    }
    let of = |c: &Value| parse(value::at(c, &["resources", "requests", name])).unwrap_or_default();
    let running: Quantity = list_at(spec, &["containers"]).iter().map(of).sum();
    let (mut sidecars, mut peak) = (Quantity::ZERO, Quantity::ZERO);
    for container in list_at(spec, &["initContainers"]) {
        if is_sidecar(container) {
            sidecars += of(container);
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sidecars + of(container));
        }
    }
    (running + sidecars).max(peak) + overhead
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines(resources: Value) -> Vec<String> {
        let mut errors = Errors::new();
        requirements(&resources, &[], &Path::new("r"), &mut errors);
        errors.into_vec().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn amounts_are_checked() {
        assert_eq!(
            lines(json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1000m"}})),
            Vec::<String>::new()
        );
        assert_eq!(
            lines(json!({"limits": {"cpu": "1"}, "requests": {"cpu": "2"}})),
            [r#"r.requests: Invalid value: "2": must be less than or equal to cpu limit of 1"#]
        );
        assert_eq!(
            lines(json!({"limits": {"memory": "-1Gi"}})),
            [r#"r.limits[memory]: Invalid value: "-1Gi": must be greater than or equal to 0"#]
        );
        assert!(
            lines(json!({"limits": {"memory": "1 GB"}}))[0].contains("quantities must match the regular expression")
        );
        assert_eq!(
            lines(json!({"limits": {"gpu": "1"}})),
            [r#"r.limits[gpu]: Invalid value: "gpu": must be a standard resource for containers"#]
        );
        assert_eq!(
            lines(json!({"requests": {"example.com/gpu": "1"}})),
            ["r.limits: Required value: Limit must be set for non overcommitable resources"]
        );
        assert_eq!(
            lines(json!({"limits": {"example.com/gpu": "1500m"}})),
            [r#"r.limits[example.com/gpu]: Invalid value: "1500m": must be an integer"#]
        );
    }

    #[test]
    fn quality_of_service() {
        let pod = |resources: Value| json!({"containers": [{"resources": resources}]});
        assert_eq!(qos_class(&pod(json!({}))), "BestEffort");
        assert_eq!(qos_class(&pod(json!({"requests": {"cpu": "1"}}))), "Burstable");
        assert_eq!(qos_class(&pod(json!({"limits": {"cpu": "1"}}))), "Burstable");
        let full = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}});
        assert_eq!(qos_class(&pod(full.clone())), "Guaranteed");
        assert_eq!(
            qos_class(&json!({"containers": [{"resources": full}, {}]})),
            "Burstable"
        );
        assert_eq!(
            qos_class(&pod(json!({"limits": {"ephemeral-storage": "1Gi"}}))),
            "BestEffort"
        );
    }

    #[test]
    fn init_containers_raise_the_request() {
        let spec = json!({"initContainers": [{"resources": {"requests": {"cpu": "3"}}}],
            "containers": [{"resources": {"requests": {"cpu": "1"}}}, {"resources": {"requests": {"cpu": "1"}}}],
            "overhead": {"cpu": "100m"}});
        assert_eq!(pod_request(&spec, "cpu").milli(), 3100);
        assert!(pod_request(&spec, "memory").is_zero());
    }
}
