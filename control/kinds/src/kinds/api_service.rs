//! APIServices.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cells::Cell;
use crate::conditions;
use crate::context::Context;
use crate::declared::{Declared, NewStatus, PLAIN};
use crate::invalid::Denied;
use crate::names::{self, NameRule};
use crate::path::{Errors, Path};
use crate::rules::{number, rule};
use crate::table::{AGE, NAME, shows};
use crate::value::{at, bool_at, i64_at, str_at, text};

const PATH: Path<'static> = Path::new("spec");

/// APIServices.
pub static API_SERVICE: Declared = Declared {
    name_rule: NameRule::PathSegment,
    new_status: NewStatus::Empty,
    status_alone: true,
    unconditional_update: false,
    columns: &[
        NAME,
        shows("Service", Cell::By(service), "Who serves the version"),
        shows("Available", Cell::By(available), "Whether the version can be reached"),
        AGE,
    ],
    defaults: &[number("spec.service.port", 443)],
    rules: &[
        rule("spec.version", crate::rules::Check::Required("")),
        rule("spec.version", crate::rules::Check::Text(names::label1035_errors)),
        rule("spec.group", crate::rules::Check::Text(names::subdomain_errors)),
    ],
    prepare: |cx: &Context<'_>, service: &mut Value, old: Option<&Value>| -> Result<(), Denied> {
        if old.is_none() && at(service, &["spec", "service"]).is_none() {
            let message = "Local APIServices are always available";
            conditions::set(service, "Available", "True", "Local", message, cx.now);
        }
        Ok(())
    },
    more_rules,
    ..PLAIN
};

fn more_rules(service: &Value, _old: Option<&Value>, errors: &mut Errors) {
    let empty = json!({});
    let spec = at(service, &["spec"]).unwrap_or(&empty);
    let expected = format!("{}.{}", text(spec, "version"), text(spec, "group"));
    let name = str_at(service, &["metadata", "name"]).unwrap_or("");
    if name != expected {
        let detail = format!("must be `spec.version+\".\"+spec.group`: {expected:?}");
        errors.invalid(&Path::new("metadata.name"), name, detail);
    }
    for (key, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let number = i64_at(spec, &[key]).unwrap_or(0);
        if number <= 0 || number > most {
            let detail = format!("must be positive and less than {most}");
            errors.invalid(&PATH.child(key), number, detail);
        }
    }
    let (bundle, skip) = (str_at(spec, &["caBundle"]), bool_at(spec, &["insecureSkipTLSVerify"]));
    match at(spec, &["service"]) {
        None => {
            if bundle.is_some() {
                let detail = "local APIServices may not have a caBundle";
                errors.invalid(&PATH.child("caBundle"), "<contents redacted>", detail);
            }
            if skip {
                let detail = "local APIServices may not have insecureSkipTLSVerify";
                errors.invalid(&PATH.child("insecureSkipTLSVerify"), true, detail);
            }
        }
        Some(target) => {
            let path = PATH.child("service");
            for key in ["namespace", "name"] {
                if text(target, key).is_empty() {
                    errors.required(&path.child(key), "");
                }
            }
            if let Some(port) = i64_at(target, &["port"])
                && let Some(detail) = names::port_errors(port)
            {
                errors.invalid(&path.child("port"), port, format!("port is not valid: {detail}"));
            }
            if bundle.is_some() && skip {
                let detail = "may not be true if caBundle is present";
                errors.invalid(&PATH.child("insecureSkipTLSVerify"), true, detail);
            }
        }
    }
}

fn service(service: &Value, _now: Timestamp) -> Value {
    match at(service, &["spec", "service"]) {
        None => "Local".into(),
        Some(target) => format!("{}/{}", text(target, "namespace"), text(target, "name")).into(),
    }
}

fn available(service: &Value, _now: Timestamp) -> Value {
    match conditions::find(service, "Available") {
        None => "Unknown".into(),
        Some(condition) if text(condition, "status") == "True" => "True".into(),
        Some(condition) => format!("{} ({})", text(condition, "status"), text(condition, "reason")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;

    #[test]
    fn names_follow_from_version_and_group() {
        let mut obj = json!({"metadata": {"name": "v1.x.io", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"group": "x.io",
            "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15, "service": {"namespace": "n", "name": "s"}}});
        API_SERVICE.default(&mut obj);
        assert_eq!(API_SERVICE.validate(&obj, None), vec![]);
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(API_SERVICE.cells(&obj, now), ["v1.x.io", "n/s", "Unknown", "1s"]);
        obj["metadata"]["name"] = json!("x");
        obj["spec"]["versionPriority"] = json!(0);
        let lines: Vec<String> = API_SERVICE
            .validate(&obj, None)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            lines,
            [
                "metadata.name: Invalid value: \"x\": must be `spec.version+\".\"+spec.group`: \"v1.x.io\"",
                "spec.versionPriority: Invalid value: 0: must be positive and less than 1000"
            ]
        );
    }
}
