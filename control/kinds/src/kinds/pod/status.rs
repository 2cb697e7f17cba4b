//! What must hold of a pod's status as its node writes it (kube's ValidatePodStatusUpdate).

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::names;
use crate::path::{Errors, Path};
use crate::podspec::{is_sidecar, security::ID_RANGE};
use crate::rules::{self, Check, Rule, rule};
use crate::value::{at, i64_at, list_at, str_at, text};

const STATUS: Path<'static> = Path::new("status");
const HEALTH: Check = Check::OneOf(&["Healthy", "Unhealthy", "Unknown"]);
const RULES: &[Rule] = &[
    rule("status.qosClass", Check::Immutable),
    rule(
        "status.containerStatuses[*].allocatedResourcesStatus[*].resources[*].health",
        HEALTH,
    ),
    rule(
        "status.containerStatuses[*].allocatedResourcesStatus[*].resources",
        Check::Unique(&["resourceID"]),
    ),
    rule(
        "status.initContainerStatuses[*].allocatedResourcesStatus[*].resources[*].health",
        HEALTH,
    ),
    rule(
        "status.initContainerStatuses[*].allocatedResourcesStatus[*].resources",
        Check::Unique(&["resourceID"]),
    ),
    rule(
        "status.ephemeralContainerStatuses[*].allocatedResourcesStatus",
        Check::Forbidden("must not be specified in container status"),
    ),
];

/// Makes `podIP` the first of `podIPs`; where they differ, the single one is meant, as older nodes know no other (kube's
/// conversion of pod statuses).
pub(super) fn mirror_address(status: &mut Value) {
    let first = list_at(status, &["podIPs"]).first().map_or("", |e| text(e, "ip"));
    let alone = text(status, "podIP");
    if first == alone {
        return;
    }
    let (key, value) = match alone {
        "" => ("podIP", json!(first)),
        alone => ("podIPs", json!([{"ip": alone}])),
    };
    if let Some(map) = status.as_object_mut() {
        map.insert(key.into(), value);
    }
}

/// Checks a written status.
pub(super) fn check(new: &Value, old: &Value, errors: &mut Errors) {
    let kinds = list_at(new, &["status", "conditions"])
        .iter()
        .map(|it| text(it, "type"));
    // kube's validatePodConditions names them so.
    let list = Path::new("metadata.conditions");
    for (i, kind) in kinds.enumerate() {
        errors.invalid_each(&list.index(i).child("Type"), kind, names::qualified_name_errors(kind));
    }
    let nominated = str_at(new, &["status", "nominatedNodeName"]);
    if let Some(nominated) = nominated.filter(|_| nominated != str_at(old, &["status", "nominatedNodeName"])) {
        let path = STATUS.child("nominatedNodeName");
        errors.invalid_each(&path, nominated, names::subdomain_errors(nominated));
    }
    rules::check(RULES, new, Some(old), errors);
    let policy = str_at(old, &["spec", "restartPolicy"]).unwrap_or("Always");
    for (key, containers, policy) in [
        ("containerStatuses", "containers", policy),
        ("initContainerStatuses", "initContainers", policy),
        // A node never starts these again.
        ("ephemeralContainerStatuses", "", "Never"),
    ] {
        let containers = list_at(new, &["spec", containers]);
        ended(key, new, old, policy, errors);
        users(key, new, errors);
        allocated(key, new, containers, errors);
    }
    claims(new, errors);
    addresses("podIPs", new, errors);
    let first = list_at(new, &["status", "hostIPs"])
        .first()
        .map(|entry| text(entry, "ip"));
    if let Some(first) = first.filter(|first| *first != str_at(new, &["status", "hostIP"]).unwrap_or("")) {
        let path = STATUS.child("hostIPs");
        errors.invalid(&path.index(0).child("ip"), first, "must be equal to `hostIP`");
    }
    addresses("hostIPs", new, errors);
}

/// A container that ended stays so, unless its pod starts such ones again.
fn ended(key: &str, new: &Value, old: &Value, policy: &str, errors: &mut Errors) {
    let over = |status: &Value| at(status, &["state", "terminated"]).is_some();
    let written = list_at(new, &["status", key]);
    for (i, before) in list_at(old, &["status", key]).iter().enumerate() {
        let failed = i64_at(before, &["state", "terminated", "exitCode"]) != Some(0);
        let may_restart = policy == "Always" || (policy == "OnFailure" && failed);
        let name = text(before, "name");
        let sidecar = || {
            let inits = list_at(old, &["spec", "initContainers"]);
            key == "initContainerStatuses" && inits.iter().any(|c| text(c, "name") == name && is_sidecar(c))
        };
        if !over(before) || may_restart || sidecar() {
            continue;
        }
        for _ in written.iter().filter(|it| text(it, "name") == name && !over(it)) {
            let list = STATUS.child(key);
            let path = list.index(i);
            errors.forbidden(&path.child("state"), "may not be transitioned to non-terminated state");
        }
    }
}

/// kube-apiserver names users of containers without the `user` that they are below.
fn users(key: &str, pod: &Value, errors: &mut Errors) {
    let list = STATUS.child(key);
    for (i, status) in list_at(pod, &["status", key]).iter().enumerate() {
        let Some(user) = at(status, &["user", "linux"]) else {
            continue;
        };
        let item = list.index(i);
        let path = item.child("linux");
        let mut id = |path: &Path<'_>, id: Option<i64>| {
            if let Some(id) = id.filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
                errors.invalid(path, id, ID_RANGE);
            }
        };
        id(&path.child("uid"), i64_at(user, &["uid"]));
        id(&path.child("gid"), i64_at(user, &["gid"]));
        for (g, group) in list_at(user, &["supplementalGroups"]).iter().enumerate() {
            id(&path.child("supplementalGroups").index(g), group.as_i64());
        }
    }
}

/// What a container was given is what it asked for (KEP-4680).
fn allocated(key: &str, pod: &Value, containers: &[Value], errors: &mut Errors) {
    let list = STATUS.child(key);
    for (i, status) in list_at(pod, &["status", key]).iter().enumerate() {
        let own = containers.iter().find(|c| text(c, "name") == text(status, "name"));
        let Some(own) = own else { continue };
        let item = list.index(i);
        let given = item.child("allocatedResourcesStatus");
        for (j, resource) in list_at(status, &["allocatedResourcesStatus"]).iter().enumerate() {
            let name = text(resource, "name");
            let (known, detail) = match name.strip_prefix("claim:") {
                Some(claim) => (
                    list_at(own, &["resources", "claims"])
                        .iter()
                        .any(|it| match text(it, "request") {
                            "" => claim == text(it, "name"),
                            request => claim.split_once('/') == Some((text(it, "name"), request)),
                        }),
                    "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or \
                     'claim:<claimName>' if request is empty",
                ),
                None => (
                    at(own, &["resources", "requests", name]).is_some(),
                    "must match one of the container's resource requests",
                ),
            };
            if !known {
                errors.invalid(&given.index(j).child("name"), name, detail);
            }
        }
    }
}

fn claims(pod: &Value, errors: &mut Errors) {
    let list = STATUS.child("resourceClaimStatuses");
    let mut seen: Vec<&str> = Vec::new();
    for (i, status) in list_at(pod, &["status", "resourceClaimStatuses"]).iter().enumerate() {
        let item = list.index(i);
        let (path, name) = (item.child("name"), text(status, "name"));
        if !list_at(pod, &["spec", "resourceClaims"])
            .iter()
            .any(|claim| text(claim, "name") == name)
        {
            errors.invalid(&path, name, "must match the name of an entry in `spec.resourceClaims`");
        }
        if seen.contains(&name) {
            errors.duplicate(&path, name);
        }
        seen.push(name);
        if let Some(claim) = status.get("resourceClaimName").and_then(Value::as_str) {
            errors.invalid_each(&path, claim, names::subdomain_errors(claim));
        }
    }
}

/// At most one address of a family.
fn addresses(key: &str, pod: &Value, errors: &mut Errors) {
    let list = STATUS.child(key);
    let given: Vec<&str> = list_at(pod, &["status", key]).iter().map(|e| text(e, "ip")).collect();
    for (i, address) in given.iter().enumerate() {
        if names::ip(address).is_none() {
            errors.invalid(&list.index(i), *address, names::IP_MESSAGE);
        }
    }
    if given.len() < 2 {
        return;
    }
    let of_version_6 = |address: &&str| names::ip(address).map(|ip| IpAddr::is_ipv6(&ip));
    if given.len() > 2 || of_version_6(&given[0]) == of_version_6(&given[1]) {
        let shown: Vec<Value> = given.iter().map(|ip| json!({"IP": ip})).collect();
        errors.invalid(&list, shown, "may specify no more than one IP for each IP family");
    }
    for (i, address) in given.iter().enumerate() {
        if given[..i].contains(address) {
            errors.duplicate(&list.index(i), json!({"IP": address}));
        }
    }
}
