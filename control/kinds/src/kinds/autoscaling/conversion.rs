//! HorizontalPodAutoscalers as `autoscaling/v1` has them: one field for CPU, everything else in annotations.

use serde_json::{Map, Value, json};

use crate::conversion::{Conversion, rename};
use crate::value::{at, fill, i64_at, object_mut, text};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// The version `autoscaling/v1`.
pub static CONVERSION: Conversion = Conversion {
    stored: ("autoscaling", "v2"),
    default: |hpa| {
        if let Some(spec) = hpa.get_mut("spec").filter(|s| s.is_object()) {
            fill(spec, "minReplicas", 1);
        }
    },
    to_stored,
    from_stored,
    selectable: &[],
    rules: |_, _| Vec::new(),
};

/// Takes JSON out of an annotation; what is no JSON is lost, as nobody could read it.
fn take_annotation(hpa: &mut Value, key: &str) -> Option<Value> {
    let annotations = hpa.pointer_mut("/metadata/annotations")?.as_object_mut()?;
    let text = annotations.remove(key)?;
    if annotations.is_empty() {
        hpa.get_mut("metadata")?.as_object_mut()?.remove("annotations");
    }
    serde_json::from_str(text.as_str()?).ok()
}

fn put_annotation(hpa: &mut Value, key: &str, value: &Value) {
    let Some(metadata) = object_mut(hpa, "metadata") else {
        return;
    };
    let slot = metadata.entry("annotations").or_insert_with(|| json!({}));
    if slot.is_null() {
        *slot = json!({});
    }
    if let Some(annotations) = slot.as_object_mut() {
        annotations.insert(key.into(), value.to_string().into());
    }
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn to_stored(hpa: &mut Value) {
    let mut metrics = list(take_annotation(hpa, METRICS));
    metrics.iter_mut().for_each(spec_to_stored);
    let mut current = list(take_annotation(hpa, CURRENT));
    current.iter_mut().for_each(status_to_stored);
    let conditions = list(take_annotation(hpa, CONDITIONS));
    let behavior = take_annotation(hpa, BEHAVIOR);
    if let Some(spec) = hpa.get_mut("spec").and_then(Value::as_object_mut) {
        if let Some(percent) = spec.remove("targetCPUUtilizationPercentage").filter(|p| !p.is_null()) {
            metrics.push(json!({"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": percent}}}));
        }
        if !metrics.is_empty() {
            spec.insert("metrics".into(), metrics.into());
        }
        if let Some(behavior) = behavior {
            spec.insert("behavior".into(), behavior);
        }
    }
    let Some(status) = hpa.get_mut("status").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(percent) = status
        .remove("currentCPUUtilizationPercentage")
        .filter(|p| !p.is_null())
    {
        current
            .push(json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percent}}}));
    }
    for (key, items) in [("currentMetrics", current), ("conditions", conditions)] {
        if !items.is_empty() {
            status.insert(key.into(), items.into());
        }
    }
}

fn from_stored(hpa: &mut Value) {
    let is_cpu = |metric: &Value, side: &str| {
        at(metric, &["resource", "name"]).is_some_and(|name| name == "cpu")
            && at(metric, &["resource", side, "averageUtilization"]).is_some()
    };
    let mut percent = None;
    let mut metrics = list(hpa.pointer_mut("/spec/metrics").map(Value::take));
    if let Some(own) = metrics.iter().position(|metric| is_cpu(metric, "target")) {
        percent = i64_at(&metrics.remove(own), &["resource", "target", "averageUtilization"]);
    }
    metrics.iter_mut().for_each(spec_from_stored);
    let behavior = hpa
        .pointer_mut("/spec/behavior")
        .map(Value::take)
        .filter(|b| !b.is_null());
    if let Some(spec) = hpa.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("metrics");
        spec.remove("behavior");
        if let Some(percent) = percent {
            spec.insert("targetCPUUtilizationPercentage".into(), percent.into());
        }
    }
    let mut current = list(hpa.pointer_mut("/status/currentMetrics").map(Value::take));
    let mut used = None;
    if let Some(own) = current.iter().position(|metric| is_cpu(metric, "current")) {
        used = i64_at(&current.remove(own), &["resource", "current", "averageUtilization"]);
    }
    current.iter_mut().for_each(status_from_stored);
    let conditions = list(hpa.pointer_mut("/status/conditions").map(Value::take));
    if let Some(status) = hpa.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("currentMetrics");
        status.remove("conditions");
        for key in ["currentReplicas", "desiredReplicas"] {
            status.entry(key).or_insert_with(|| 0.into());
        }
        if let Some(used) = used {
            status.insert("currentCPUUtilizationPercentage".into(), used.into());
        }
    }
    for (key, items) in [(METRICS, metrics), (CURRENT, current), (CONDITIONS, conditions)] {
        if !items.is_empty() {
            put_annotation(hpa, key, &items.into());
        }
    }
    if let Some(behavior) = behavior {
        put_annotation(hpa, BEHAVIOR, &behavior);
    }
}

/// The field that describes a metric of a type.
fn source(metric: &Value) -> &'static str {
    match text(metric, "type") {
        "Object" => "object",
        "Pods" => "pods",
        "External" => "external",
        "ContainerResource" => "containerResource",
        _ => "resource",
    }
}

fn source_mut(metric: &mut Value) -> Option<(&'static str, &mut Map<String, Value>)> {
    let key = source(metric);
    Some((key, metric.get_mut(key)?.as_object_mut()?))
}

fn nest(map: &mut Map<String, Value>, into: &str, fields: &[(&str, &str)]) {
    let mut inner = Map::new();
    for (flat, name) in fields {
        if let Some(value) = map.remove(*flat) {
            inner.insert((*name).to_owned(), value);
        }
    }
    if !inner.is_empty() {
        map.insert(into.to_owned(), inner.into());
    }
}

fn flatten(map: &mut Map<String, Value>, from: &str, fields: &[(&str, &str)]) {
    let Some(Value::Object(mut inner)) = map.remove(from) else {
        return;
    };
    for (flat, name) in fields {
        if let Some(value) = inner.remove(*name) {
            map.insert((*flat).to_owned(), value);
        }
    }
}

/// Flat names of the metric's identity, by the field that describes it.
fn identity(kind: &str) -> &'static [(&'static str, &'static str)] {
    match kind {
        "external" => &[("metricName", "name"), ("metricSelector", "selector")],
        "object" | "pods" => &[("metricName", "name"), ("selector", "selector")],
        _ => &[],
    }
}

/// Flat names of the amounts, by the field that describes the metric.
fn amounts(kind: &str, status: bool) -> &'static [(&'static str, &'static str)] {
    match (kind, status) {
        ("object", false) => &[("targetValue", "value"), ("averageValue", "averageValue")],
        ("object", true) => &[("currentValue", "value"), ("averageValue", "averageValue")],
        ("pods", false) => &[("targetAverageValue", "averageValue")],
        ("pods", true) => &[("currentAverageValue", "averageValue")],
        ("external", false) => &[("targetValue", "value"), ("targetAverageValue", "averageValue")],
        ("external", true) => &[("currentValue", "value"), ("currentAverageValue", "averageValue")],
        (_, false) => &[
            ("targetAverageUtilization", "averageUtilization"),
            ("targetAverageValue", "averageValue"),
        ],
        (_, true) => &[
            ("currentAverageUtilization", "averageUtilization"),
            ("currentAverageValue", "averageValue"),
        ],
    }
}

fn to_nested(metric: &mut Value, status: bool) {
    let Some((kind, map)) = source_mut(metric) else {
        return;
    };
    let side = if status { "current" } else { "target" };
    if kind == "object" {
        rename(map, "target", "describedObject");
        // Absent amounts are written as zeros here.
        if map.get("averageValue").is_some() {
            map.remove(if status { "currentValue" } else { "targetValue" });
        }
    }
    nest(map, "metric", identity(kind));
    nest(map, side, amounts(kind, status));
    if !status && let Some(target) = map.get_mut("target").and_then(Value::as_object_mut) {
        let kind = if target.contains_key("averageUtilization") {
            "Utilization"
        } else if target.contains_key("averageValue") {
            "AverageValue"
        } else {
            "Value"
        };
        target.insert("type".into(), kind.into());
    }
}

fn to_flat(metric: &mut Value, status: bool) {
    let Some((kind, map)) = source_mut(metric) else {
        return;
    };
    flatten(map, "metric", identity(kind));
    flatten(map, if status { "current" } else { "target" }, amounts(kind, status));
    if kind == "object" {
        rename(map, "describedObject", "target");
        map.entry(if status { "currentValue" } else { "targetValue" })
            .or_insert_with(|| "0".into());
    }
}

fn spec_to_stored(metric: &mut Value) {
    to_nested(metric, false);
}

fn status_to_stored(metric: &mut Value) {
    to_nested(metric, true);
}

fn spec_from_stored(metric: &mut Value) {
    to_flat(metric, false);
}

fn status_from_stored(metric: &mut Value) {
    to_flat(metric, true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_a_field_and_the_rest_annotations() {
        let stored = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "behavior": {"scaleUp": {"selectPolicy": "Max"}},
            "metrics": [
                {"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "5"}}},
                {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "7"}}},
                {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"}, "metric": {"name": "o"},
                    "target": {"type": "AverageValue", "averageValue": "2"}}},
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]},
            "status": {"currentReplicas": 0, "desiredReplicas": 0, "conditions": [{"type": "AbleToScale", "status": "True"}],
                "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 40, "averageValue": "1"}}}]}});
        let mut shown = stored.clone();
        from_stored(&mut shown);
        assert_eq!(
            shown["spec"],
            json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 50})
        );
        assert_eq!(
            shown["status"],
            json!({"currentCPUUtilizationPercentage": 40, "currentReplicas": 0, "desiredReplicas": 0})
        );
        let flat: Value = serde_json::from_str(shown["metadata"]["annotations"][METRICS].as_str().unwrap()).unwrap();
        assert_eq!(
            flat[0],
            json!({"type": "Pods", "pods": {"metricName": "m", "targetAverageValue": "5"}})
        );
        assert_eq!(
            flat[1],
            json!({"type": "External", "external": {"metricName": "q", "targetValue": "7"}})
        );
        assert_eq!(
            flat[2],
            json!({"type": "Object", "object": {"target": {"kind": "Service", "name": "s"}, "metricName": "o",
                "averageValue": "2", "targetValue": "0"}})
        );
        to_stored(&mut shown);
        let mut expected = stored;
        // The amount beside the utilization has no place in this version.
        expected["status"]["currentMetrics"][0]["resource"]["current"]
            .as_object_mut()
            .unwrap()
            .remove("averageValue");
        assert_eq!(shown, expected);
    }
}
