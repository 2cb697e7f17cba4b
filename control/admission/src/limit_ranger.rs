//! LimitRanger: fills in the defaults of a namespace's LimitRanges and holds containers, pods and claims to their
//! bounds.

use std::cmp::Ordering;

use barepod_kinds::Quantity;
use barepod_kinds::value::{at, items_mut, list_at, map_at, object_mut, str_at, text};
use serde_json::{Map, Value};

use crate::{Notes, Operation, Plugin, Refusal, Request, World};

/// The plugin.
pub(crate) struct LimitRanger;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

impl Plugin for LimitRanger {
    fn handles(&self, request: &Request<'_>) -> bool {
        match (request.group, request.resource, request.subresource) {
            ("", "pods", "") => request.operation == Operation::Create,
            ("", "pods", "resize") => request.operation == Operation::Update,
            ("", "persistentvolumeclaims", "") => request.operation != Operation::Delete,
            _ => false,
        }
    }

    fn admit(
        &self,
        world: &dyn World,
        request: &Request<'_>,
        object: &mut Value,
        _: &mut Notes,
    ) -> Result<(), Refusal> {
        if !request.is_core("pods") {
            return Ok(());
        }
        for range in world.cluster().list("", "limitranges", Some(request.namespace)) {
            fill(&range, object);
        }
        Ok(())
    }

    fn validate(&self, world: &dyn World, request: &Request<'_>, object: &Value, _: &mut Notes) -> Result<(), Refusal> {
        for range in world.cluster().list("", "limitranges", Some(request.namespace)) {
            let mut errors = Vec::new();
            for limit in list_at(&range, &["spec", "limits"]) {
                match (text(limit, "type"), request.resource) {
                    ("Container", "pods") => containers(limit, object, &mut errors),
                    ("Pod", "pods") => pod(limit, object, &mut errors),
                    ("PersistentVolumeClaim", "persistentvolumeclaims") => claim(limit, object, &mut errors),
                    _ => {}
                }
            }
            match errors.len() {
                0 => {}
                1 => return Err(Refusal::forbidden(errors.remove(0))),
                _ => return Err(Refusal::forbidden(format!("[{}]", errors.join(", ")))),
            }
        }
        Ok(())
    }
}

fn amounts<'a>(object: &'a Value, path: &[&str]) -> impl Iterator<Item = (&'a str, Quantity, &'a Value)> {
    let entries = map_at(object, path).into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.as_str(), Quantity::from_value(value).ok()?, value)))
}

fn amount(object: &Value, path: &[&str]) -> Option<Quantity> {
    Quantity::from_value(at(object, path)?).ok()
}

/// The defaults of containers: limits, and requests, which follow the limits where nothing is said.
fn defaults(range: &Value) -> (Map<String, Value>, Map<String, Value>) {
    let (mut limits, mut requests) = (Map::new(), Map::new());
    for limit in list_at(range, &["spec", "limits"])
        .iter()
        .filter(|limit| text(limit, "type") == "Container")
    {
        let add = |target: &mut Map<String, Value>, key: &str| {
            for (name, value) in map_at(limit, &[key]).into_iter().flatten() {
                target.entry(name.clone()).or_insert_with(|| value.clone());
            }
        };
        add(&mut limits, "default");
        add(&mut limits, "max");
        add(&mut requests, "defaultRequest");
        add(&mut requests, "default");
        add(&mut requests, "min");
        add(&mut requests, "max");
    }
    (limits, requests)
}

fn fill(range: &Value, pod: &mut Value) {
    let (limits, requests) = defaults(range);
    let mut said: Vec<String> = Vec::new();
    let Some(spec) = pod.get_mut("spec") else { return };
    for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
        for container in items_mut(spec, list) {
            let name = text(container, "name").to_owned();
            let Some(resources) = object_mut(container, "resources") else {
                continue;
            };
            let mut merge = |key: &str, defaults: &Map<String, Value>| -> Vec<String> {
                let slot = resources.entry(key).or_insert(Value::Null);
                if slot.is_null() {
                    *slot = Value::Object(Map::new());
                }
                let Some(own) = slot.as_object_mut() else {
                    return Vec::new();
                };
                let mut set = Vec::new();
                for (name, value) in defaults {
                    if !own.contains_key(name) {
                        own.insert(name.clone(), value.clone());
                        set.push(name.clone());
                    }
                }
                if own.is_empty() {
                    resources.remove(key);
                }
                set
            };
            let (set_limits, set_requests) = (merge("limits", &limits), merge("requests", &requests));
            for (set, kind) in [(set_requests, "request"), (set_limits, "limit")] {
                if !set.is_empty() {
                    said.push(format!("{} {kind} for {what} {name}", set.join(", ")));
                }
            }
        }
    }
    if said.is_empty() {
        return;
    }
    if let Some(metadata) = object_mut(pod, "metadata") {
        let slot = metadata.entry("annotations").or_insert(Value::Null);
        if slot.is_null() {
            *slot = Value::Object(Map::new());
        }
        if let Some(annotations) = slot.as_object_mut() {
            let text = format!("LimitRanger plugin set: {}", said.join("; "));
            annotations.insert(ANNOTATION.into(), text.into());
        }
    }
}

/// Holds one thing's requests and limits to the bounds.
fn check(
    limit: &Value,
    kind: &str,
    request_of: &dyn Fn(&str) -> Option<Quantity>,
    limit_of: &dyn Fn(&str) -> Option<Quantity>,
    errors: &mut Vec<String>,
) {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for (name, least, value) in amounts(limit, &["min"]) {
        let enforced = shown(value);
        match (request_of(name), limit_of(name)) {
            (None, _) => errors.push(format!(
                "minimum {name} usage per {kind} is {enforced}.  No request is specified"
            )),
            (Some(request), _) if request < least => {
                errors.push(format!(
                    "minimum {name} usage per {kind} is {enforced}, but request is {request}"
                ));
            }
            (_, Some(limit)) if limit < least => {
                errors.push(format!(
                    "minimum {name} usage per {kind} is {enforced}, but limit is {limit}"
                ));
            }
            _ => {}
        }
    }
    for (name, most, value) in amounts(limit, &["max"]) {
        let enforced = shown(value);
        match (request_of(name), limit_of(name)) {
            (_, None) => errors.push(format!(
                "maximum {name} usage per {kind} is {enforced}.  No limit is specified"
            )),
            (_, Some(limit)) if limit > most => {
                errors.push(format!(
                    "maximum {name} usage per {kind} is {enforced}, but limit is {limit}"
                ));
            }
            (Some(request), _) if request > most => {
                errors.push(format!(
                    "maximum {name} usage per {kind} is {enforced}, but request is {request}"
                ));
            }
            _ => {}
        }
    }
    for (name, most, value) in amounts(limit, &["maxLimitRequestRatio"]) {
        let enforced = shown(value);
        match (
            request_of(name).filter(|own| !own.is_zero()),
            limit_of(name).filter(|own| !own.is_zero()),
        ) {
            (None, _) => {
                let why = "but no request is specified or request is 0";
                errors.push(format!(
                    "{name} max limit to request ratio per {kind} is {enforced}, {why}"
                ));
            }
            (_, None) => {
                let why = "but no limit is specified or limit is 0";
                errors.push(format!(
                    "{name} max limit to request ratio per {kind} is {enforced}, {why}"
                ));
            }
            (Some(request), Some(limit)) => {
                // limit / request > most, without dividing.
                if times(request, most).cmp(&scaled(limit)) == Ordering::Less {
                    let ratio = real(limit) / real(request);
                    errors.push(format!(
                        "{name} max limit to request ratio per {kind} is {enforced}, but provided ratio is {ratio:.6}"
                    ));
                }
            }
        }
    }
}

fn times(request: Quantity, ratio: Quantity) -> i128 {
    i128::from(request.milli()) * i128::from(ratio.milli())
}

fn scaled(limit: Quantity) -> i128 {
    i128::from(limit.milli()) * 1000
}

#[expect(clippy::cast_precision_loss, reason = "only shown, with six digits")]
fn real(quantity: Quantity) -> f64 {
    quantity.milli() as f64
}

fn containers(limit: &Value, pod: &Value, errors: &mut Vec<String>) {
    for list in ["containers", "initContainers"] {
        for container in list_at(pod, &["spec", list]) {
            let of = |kind: &'static str| move |name: &str| amount(container, &["resources", kind, name]);
            check(limit, "Container", &of("requests"), &of("limits"), errors);
        }
    }
}

/// A pod needs the larger of what its containers need together and what any init container needs.
fn pod(limit: &Value, pod: &Value, errors: &mut Vec<String>) {
    let of = |kind: &'static str| {
        move |name: &str| {
            let own = |container: &Value| amount(container, &["resources", kind, name]);
            if let Some(whole) = amount(pod, &["spec", "resources", kind, name]) {
                return Some(whole);
            }
            let sidecar = |container: &&Value| str_at(container, &["restartPolicy"]) == Some("Always");
            let init = list_at(pod, &["spec", "initContainers"]);
            let running = list_at(pod, &["spec", "containers"])
                .iter()
                .chain(init.iter().filter(sidecar))
                .filter_map(own);
            let sum = running.fold(None, |sum: Option<Quantity>, one| {
                Some(sum.map_or(one, |sum| sum + one))
            });
            let most = init
                .iter()
                .filter(|container| !sidecar(container))
                .filter_map(own)
                .max();
            sum.into_iter().chain(most).max()
        }
    };
    check(limit, "Pod", &of("requests"), &of("limits"), errors);
}

fn claim(limit: &Value, claim: &Value, errors: &mut Vec<String>) {
    let Some(request) = amount(claim, &["spec", "resources", "requests", "storage"]) else {
        return;
    };
    let kind = "PersistentVolumeClaim";
    let bound =
        |key: &str| at(limit, &[key, "storage"]).and_then(|value| Some((Quantity::from_value(value).ok()?, value)));
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some((least, value)) = bound("min")
        && request < least
    {
        errors.push(format!(
            "minimum storage usage per {kind} is {}, but request is {request}",
            shown(value)
        ));
    }
    if let Some((most, value)) = bound("max")
        && request > most
    {
        errors.push(format!(
            "maximum storage usage per {kind} is {}, but request is {request}",
            shown(value)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Small, handle, request};
    use serde_json::json;

    fn with(limits: Value, resource: &str, object: Value) -> Result<Value, String> {
        let range = json!({"metadata": {"name": "r", "namespace": "ns"}, "spec": {"limits": limits}});
        let world = Small(vec![("limitranges", range)], Default::default());
        handle(
            &LimitRanger,
            &world,
            &request(Operation::Create, "", resource, None),
            object,
        )
    }

    fn pod(resources: Value) -> Value {
        json!({"metadata": {}, "spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[test]
    fn defaults_are_filled_in() {
        let limits = json!([{"type": "Container", "default": {"cpu": "500m", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}}]);
        let full = with(limits.clone(), "pods", pod(json!({}))).unwrap();
        assert_eq!(
            full["spec"]["containers"][0]["resources"],
            json!({"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "1Gi"}})
        );
        assert_eq!(
            full["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c"
        );
        let own = pod(json!({"limits": {"cpu": "1", "memory": "1"}, "requests": {"cpu": "1", "memory": "1"}}));
        assert_eq!(with(limits, "pods", own.clone()).unwrap(), own);
    }

    #[test]
    fn containers_are_held_to_their_bounds() {
        let limits = json!([{"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "2"}}]);
        let try_ = |request: &str, limit: &str| {
            with(
                limits.clone(),
                "pods",
                pod(json!({"requests": {"cpu": request}, "limits": {"cpu": limit}})),
            )
            .map(drop)
        };
        assert_eq!(try_("500m", "1"), Ok(()));
        assert_eq!(
            try_("400m", "1").unwrap_err(),
            "cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000"
        );
        assert_eq!(
            try_("2", "2").unwrap_err(),
            "maximum cpu usage per Container is 1, but limit is 2"
        );
        let low = try_("50m", "100m").unwrap_err();
        assert_eq!(low, "minimum cpu usage per Container is 100m, but request is 50m");
    }

    #[test]
    fn pods_are_held_to_sums() {
        let limits = json!([{"type": "Pod", "max": {"memory": "3Gi"}}]);
        let container = |limit: &str| json!({"resources": {"limits": {"memory": limit}}});
        let pod = |limits: &[&str], init: &str| json!({"spec": {"containers": limits.iter().map(|it| container(it)).collect::<Vec<_>>(), "initContainers": [container(init)]}});
        assert!(with(limits.clone(), "pods", pod(&["1Gi", "2Gi"], "3Gi")).is_ok());
        assert_eq!(
            with(limits.clone(), "pods", pod(&["2Gi", "2Gi"], "1Gi")).unwrap_err(),
            "maximum memory usage per Pod is 3Gi, but limit is 4Gi"
        );
        assert!(with(limits.clone(), "pods", pod(&["1Gi"], "4Gi")).is_err());
        assert!(
            with(limits, "pods", json!({"spec": {"containers": [{}]}}))
                .unwrap_err()
                .contains("No limit is specified")
        );
    }

    #[test]
    fn claims_are_held_to_sizes() {
        let limits = json!([{"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}]);
        let claim = |size: &str| {
            with(
                limits.clone(),
                "persistentvolumeclaims",
                json!({"spec": {"resources": {"requests": {"storage": size}}}}),
            )
            .map(drop)
        };
        assert_eq!(claim("1536Mi"), Ok(()));
        assert_eq!(
            claim("3Gi").unwrap_err(),
            "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"
        );
        assert!(claim("1Mi").is_err());
    }
}
