//! Metrics of autoscalers: their checks and their cell.

use serde_json::Value;

use crate::names;
use crate::path::{Errors, Path};
use crate::podspec::resources;
use crate::quantity::Quantity;
use crate::value::{at, i64_at, list_at, str_at, text};
use crate::{labels, rules};

/// Types of metrics with the field that describes each.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];
const SHOWN: usize = 2;

/// Checks one metric.
pub(super) fn check(metric: &Value, path: &Path<'_>, errors: &mut Errors) {
    let kind = text(metric, "type");
    let types: Vec<&str> = SOURCES.iter().map(|(kind, _)| *kind).collect();
    if kind.is_empty() {
        errors.required(&path.child("type"), "must specify a metric source type");
    } else {
        errors.one_of(&path.child("type"), kind, &types);
    }
    let expected = SOURCES
        .iter()
        .find(|(known, _)| *known == kind)
        .map(|(_, field)| *field);
    if let Some(field) = expected
        && at(metric, &[field]).is_none()
    {
        let detail = "must populate information for the given metric source";
        errors.required(&path.child(field), detail);
    }
    for (_, field) in SOURCES {
        let Some(source) = at(metric, &[field]) else { continue };
        if Some(field) == expected {
            self::source(field, source, &path.child(field), errors);
        } else {
            errors.forbidden(&path.child(field), "must populate the given metric source only");
        }
    }
}

fn source(kind: &str, source: &Value, path: &Path<'_>, errors: &mut Errors) {
    let target = path.child("target");
    let given = |key: &str| at(source, &["target", key]).is_some();
    match kind {
        "resource" | "containerResource" => {
            let name = text(source, "name");
            if name.is_empty() {
                errors.required(&path.child("name"), "must specify a resource name");
            } else if kind == "containerResource" {
                resources::container_resource_name(name, &path.child("name"), errors);
            }
            if kind == "containerResource" {
                match text(source, "container") {
                    "" => errors.required(&path.child("container"), "must specify a container"),
                    name => errors.invalid_each(&path.child("container"), name, names::label_errors(name)),
                }
            }
            self::target(source, &target, errors);
            match (given("averageUtilization"), given("averageValue")) {
                (false, false) => errors.required(
                    &target.child("averageUtilization"),
                    "must set either a target raw value or a target utilization",
                ),
                (true, true) => errors.forbidden(
                    &target.child("averageValue"),
                    "may not set both a target raw value and a target utilization",
                ),
                _ => {}
            }
            return;
        }
        "object" => {
            let described = path.child("describedObject");
            for key in ["kind", "name"] {
                match str_at(source, &["describedObject", key]) {
                    None => errors.required(&described.child(key), ""),
                    Some(name) => errors.invalid_each(&described.child(key), name, rules::segment(name)),
                }
            }
        }
        _ => {}
    }
    let name = str_at(source, &["metric", "name"]).unwrap_or("");
    let at_metric = path.child("metric");
    if name.is_empty() {
        errors.required(&at_metric.child("name"), "must specify a metric name");
    } else {
        errors.invalid_each(&at_metric.child("name"), name, rules::segment(name));
    }
    if let Some(selector) = at(source, &["metric", "selector"]) {
        labels::validate_selector(selector, &at_metric.child("selector"), errors);
    }
    self::target(source, &target, errors);
    let (value, average) = (given("value"), given("averageValue"));
    match kind {
        "pods" if !average => {
            errors.required(
                &target.child("averageValue"),
                "must specify a positive target averageValue",
            );
        }
        "object" if !value && !average => {
            let detail = "must set either a target value or averageValue";
            errors.required(&target.child("averageValue"), detail);
        }
        "external" if !value && !average => {
            let detail = "must set either a target value for metric or a per-pod target";
            errors.required(&target.child("averageValue"), detail);
        }
        "external" if value && average => {
            let detail = "may not set both a target value for metric and a per-pod target";
            errors.forbidden(&target.child("value"), detail);
        }
        _ => {}
    }
}

fn target(source: &Value, path: &Path<'_>, errors: &mut Errors) {
    let kind = str_at(source, &["target", "type"]).unwrap_or("");
    if kind.is_empty() {
        errors.required(&path.child("type"), "must specify a metric target type");
    }
    if !["AverageValue", "Utilization", "Value"].contains(&kind) {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.invalid(&path.child("type"), kind, detail);
    }
    for key in ["value", "averageValue"] {
        let amount = at(source, &["target", key]).and_then(|v| Quantity::from_value(v).ok());
        if let Some(amount) = amount.filter(|q| q.sign() <= 0) {
            errors.invalid(&path.child(key), amount.to_string(), "must be positive");
        }
    }
    if let Some(share) = i64_at(source, &["target", "averageUtilization"]).filter(|n| *n < 1) {
        errors.invalid(&path.child("averageUtilization"), share, "must be greater than 0");
    }
}

/// What the metrics are and should be, of the first few.
pub(super) fn shown(hpa: &Value) -> String {
    let specs = list_at(hpa, &["spec", "metrics"]);
    if specs.is_empty() {
        return "<none>".into();
    }
    let statuses = list_at(hpa, &["status", "currentMetrics"]);
    let all = specs
        .iter()
        .enumerate()
        .take(SHOWN)
        .map(|(i, spec)| one(spec, statuses.get(i)));
    let list = all.collect::<Vec<_>>().join(", ");
    match specs.len().saturating_sub(SHOWN) {
        0 => list,
        more => format!("{list} + {more} more..."),
    }
}

fn one(spec: &Value, status: Option<&Value>) -> String {
    let kind = text(spec, "type");
    let Some((_, field)) = SOURCES.iter().find(|(known, _)| *known == kind) else {
        return "<unknown type>".into();
    };
    let part = |from: Option<&Value>, side: &str, key: &str| {
        let value = at(from?, &[field, side, key])?;
        value
            .as_str()
            .map(str::to_owned)
            .or_else(|| value.as_i64().map(|n| n.to_string()))
    };
    let target = |key: &str| part(Some(spec), "target", key);
    let current = |key: &str| part(status, "current", key).unwrap_or_else(|| "<unknown>".into());
    let average = target("averageValue");
    match *field {
        "resource" | "containerResource" => {
            let name = str_at(spec, &[field, "name"]).unwrap_or("");
            match average {
                Some(average) => format!("{name}: {}/{average}", current("averageValue")),
                None => {
                    let percent =
                        |text: Option<String>, absent: &str| text.map_or(absent.to_owned(), |t| format!("{t}%"));
                    let now = percent(part(status, "current", "averageUtilization"), "<unknown>");
                    format!("{name}: {now}/{}", percent(target("averageUtilization"), "<auto>"))
                }
            }
        }
        "pods" => format!("{}/{}", current("averageValue"), average.unwrap_or_default()),
        _ => match average {
            Some(average) => format!("{}/{average} (avg)", current("averageValue")),
            None => format!("{}/{}", current("value"), target("value").unwrap_or_default()),
        },
    }
}
