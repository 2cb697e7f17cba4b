//! ResourceClaims and their templates.

use jiff::Timestamp;
use serde_json::Value;

use super::{configuration, driver_name, selectors};
use crate::cells::Cell;
use crate::declared::{Declared, NewStatus, PLAIN};
use crate::names;
use crate::path::{Errors, Path};
use crate::rules::{Check, rule};
use crate::table::{AGE, NAME, NAME_AND_AGE, shows};
use crate::value::{at, fill, i64_at, items_mut, list_at, str_at, strings, text};

const MOST_REQUESTS: usize = 32;
const MOST_CONSTRAINTS: usize = 32;
const MOST_ALTERNATIVES: usize = 8;
const MOST_USERS: usize = 256;

/// ResourceClaims.
pub static CLAIM: Declared = Declared {
    new_status: NewStatus::Empty,
    status_alone: true,
    columns: &[
        NAME,
        shows("State", Cell::By(state), "Whether the claim has its devices"),
        AGE,
    ],
    rules: &[rule("spec", Check::Immutable)],
    status_rules: &[
        rule("status.reservedFor", Check::Most(MOST_USERS)),
        rule("status.reservedFor", Check::Unique(&["uid"])),
        rule("status.reservedFor[*].resource", Check::Required("")),
        rule("status.reservedFor[*].name", Check::Required("")),
        rule("status.reservedFor[*].uid", Check::Required("")),
        rule("status.allocation.devices.results[*].driver", Check::Required("")),
        rule("status.allocation.devices.results[*].driver", Check::Text(driver_name)),
        rule("status.allocation.devices.results[*].pool", Check::Required("")),
        rule("status.allocation.devices.results[*].device", Check::Required("")),
    ],
    more_defaults: |claim| {
        if let Some(spec) = claim.get_mut("spec") {
            default(spec);
        }
    },
    more_rules: |claim, _, errors| check(claim, &Path::new("spec"), errors),
    more_status_rules: |new, _, errors| {
        let reserved = !list_at(new, &["status", "reservedFor"]).is_empty();
        if reserved && at(new, &["status", "allocation"]).is_none() {
            let detail = "may not be specified when `allocation` is not set";
            errors.forbidden(&Path::new("status.reservedFor"), detail);
        }
    },
    ..PLAIN
};

/// ResourceClaimTemplates.
pub static TEMPLATE: Declared = Declared {
    columns: NAME_AND_AGE,
    rules: &[rule("spec", Check::Immutable)],
    more_defaults: |template| {
        if let Some(spec) = template.get_mut("spec").and_then(|s| s.get_mut("spec")) {
            default(spec);
        }
    },
    more_rules: |template, _, errors| {
        let holder = template.get("spec").unwrap_or(&Value::Null);
        check(holder, &Path::new("spec.spec"), errors);
    },
    ..PLAIN
};

fn default(spec: &mut Value) {
    let Some(devices) = spec.get_mut("devices") else { return };
    for request in items_mut(devices, "requests") {
        if let Some(exactly) = request.get_mut("exactly").filter(|e| e.is_object()) {
            default_request(exactly);
        }
        for alternative in items_mut(request, "firstAvailable") {
            default_request(alternative);
        }
    }
}

fn default_request(request: &mut Value) {
    fill(request, "allocationMode", "ExactCount");
    if text(request, "allocationMode") == "ExactCount" {
        fill(request, "count", 1);
    }
    for toleration in items_mut(request, "tolerations") {
        fill(toleration, "operator", "Equal");
    }
}

/// Checks the `spec` of a claim, found at `path`.
fn check(holder: &Value, path: &Path<'_>, errors: &mut Errors) {
    let path = path.child("devices");
    let empty = Value::Object(serde_json::Map::new());
    let devices = at(holder, &["spec", "devices"]).unwrap_or(&empty);
    let requests = list_at(devices, &["requests"]);
    let list = path.child("requests");
    if requests.len() > MOST_REQUESTS {
        errors.too_many(&list, requests.len(), MOST_REQUESTS);
    }
    let mut known: Vec<String> = Vec::new();
    for (i, request) in requests.iter().enumerate() {
        self::request(request, &list.index(i), &mut known, errors);
    }
    let refer = |holder: &Value, path: &Path<'_>, errors: &mut Errors| {
        let list = path.child("requests");
        for (i, name) in strings(holder, &["requests"]).enumerate() {
            if !known.iter().any(|k| k == name) {
                let detail = "must be the name of a request in the claim or the name of a request and a subrequest \
                              separated by '/'";
                errors.invalid(&list.index(i), name, detail);
            }
        }
    };
    let constraints = list_at(devices, &["constraints"]);
    let list = path.child("constraints");
    if constraints.len() > MOST_CONSTRAINTS {
        errors.too_many(&list, constraints.len(), MOST_CONSTRAINTS);
    }
    for (i, constraint) in constraints.iter().enumerate() {
        let item = list.index(i);
        refer(constraint, &item, errors);
        let by = ["matchAttribute", "distinctAttribute"];
        if !by.iter().any(|key| str_at(constraint, &[key]).is_some()) {
            errors.required(&item, "matchAttribute or distinctAttribute is required");
        }
    }
    let list = path.child("config");
    for (i, config) in list_at(devices, &["config"]).iter().enumerate() {
        refer(config, &list.index(i), errors);
        configuration(config, &list.index(i), errors);
    }
}

fn request(request: &Value, path: &Path<'_>, known: &mut Vec<String>, errors: &mut Errors) {
    let own = name(request, path, known, "", errors);
    let (exactly, alternatives) = (at(request, &["exactly"]), list_at(request, &["firstAvailable"]));
    match (exactly, alternatives) {
        (None, []) => errors.required(path, "exactly one of `exactly` or `firstAvailable` is required"),
        (Some(_), [_, ..]) => errors.invalid_unshown(
            path,
            "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
        ),
        (Some(exactly), []) => devices(exactly, &path.child("exactly"), errors),
        (None, alternatives) => {
            let list = path.child("firstAvailable");
            if alternatives.len() > MOST_ALTERNATIVES {
                errors.too_many(&list, alternatives.len(), MOST_ALTERNATIVES);
            }
            for (i, alternative) in alternatives.iter().enumerate() {
                let item = list.index(i);
                name(alternative, &item, known, &format!("{own}/"), errors);
                devices(alternative, &item, errors);
            }
        }
    }
}

fn name(request: &Value, path: &Path<'_>, known: &mut Vec<String>, prefix: &str, errors: &mut Errors) -> String {
    let own = text(request, "name");
    let at = path.child("name");
    if own.is_empty() {
        errors.required(&at, "");
    } else {
        errors.invalid_each(&at, own, names::label_errors(own));
    }
    let full = format!("{prefix}{own}");
    if known.contains(&full) {
        errors.duplicate(&at, own);
    }
    known.push(full.clone());
    full
}

fn devices(wanted: &Value, path: &Path<'_>, errors: &mut Errors) {
    match text(wanted, "deviceClassName") {
        "" => errors.required(&path.child("deviceClassName"), ""),
        class => errors.invalid_each(&path.child("deviceClassName"), class, names::subdomain_errors(class)),
    }
    selectors(wanted, path, errors);
    let count = i64_at(wanted, &["count"]);
    match text(wanted, "allocationMode") {
        "All" => {
            if let Some(count) = count.filter(|n| *n != 0) {
                let detail = "must not be specified when allocationMode is 'All'";
                errors.invalid(&path.child("count"), count, detail);
            }
        }
        "ExactCount" => {
            if count.unwrap_or(0) <= 0 {
                errors.invalid(&path.child("count"), count.unwrap_or(0), "must be greater than zero");
            }
        }
        mode => errors.not_supported(&path.child("allocationMode"), mode, &["All", "ExactCount"]),
    }
}

fn state(claim: &Value, _now: Timestamp) -> Value {
    let deleted = at(claim, &["metadata", "deletionTimestamp"]).is_some();
    let mut states = Vec::new();
    if deleted {
        states.push("deleted");
    }
    if at(claim, &["status", "allocation"]).is_some() {
        states.push("allocated");
        if !list_at(claim, &["status", "reservedFor"]).is_empty() {
            states.push("reserved");
        }
    } else if !deleted {
        states.push("pending");
    }
    states.join(",").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;
    use serde_json::json;

    fn claim(request: Value) -> Value {
        let mut claim = json!({"metadata": {"name": "c", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"devices": {"requests": [request]}}});
        CLAIM.default(&mut claim);
        claim
    }

    #[test]
    fn claims_are_filled_shown_and_fixed() {
        let old = claim(json!({"name": "gpu", "exactly": {"deviceClassName": "gpu"}}));
        assert_eq!(old["spec"]["devices"]["requests"][0]["exactly"]["count"], 1);
        assert_eq!(CLAIM.validate(&old, None), vec![]);
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(CLAIM.cells(&old, now), ["c", "pending", "1s"]);
        let new = claim(json!({"name": "gpu", "exactly": {"deviceClassName": "other"}}));
        assert_eq!(CLAIM.validate(&new, Some(&old))[0].field, "spec");
    }

    #[test]
    fn mistakes_are_reported() {
        let lines = |request: Value| {
            let errors = CLAIM.validate(&claim(request), None);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            lines(json!({"name": "G"})).last().unwrap(),
            "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required"
        );
        assert_eq!(
            lines(
                json!({"name": "g", "firstAvailable": [{"name": "a", "deviceClassName": "c", "allocationMode": "Some"}]})
            ),
            [
                "spec.devices.requests[0].firstAvailable[0].allocationMode: Unsupported value: \"Some\": supported values: \
                 \"All\", \"ExactCount\""
            ]
        );
    }
}
