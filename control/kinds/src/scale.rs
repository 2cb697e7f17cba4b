//! The scale subresource: an `autoscaling/v1` Scale read from and written to a workload.

use serde_json::{Map, Value, json};

use crate::strategy::ScalePaths;
use crate::value;

/// The Scale of an object.
pub fn render(obj: &Value, paths: &ScalePaths) -> Value {
    let metadata = obj.get("metadata").unwrap_or(&Value::Null);
    let mut head = Map::new();
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(v) = metadata.get(key) {
            head.insert(key.into(), v.clone());
        }
    }
    let mut spec = Map::new();
    let wanted = follow(obj, &paths.spec_replicas).and_then(Value::as_i64).unwrap_or(0);
    if wanted != 0 {
        spec.insert("replicas".into(), wanted.into());
    }
    let seen = follow(obj, &paths.status_replicas).and_then(Value::as_i64).unwrap_or(0);
    let mut status = json!({ "replicas": seen });
    let selector = paths
        .label_selector
        .as_ref()
        .and_then(|p| follow(obj, p))
        .map(selector_text)
        .unwrap_or_default();
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": head,
        "spec": spec,
        "status": status,
    })
}

/// Whether the object says how many replicas are wanted.
pub fn is_stated(obj: &Value, paths: &ScalePaths) -> bool {
    follow(obj, &paths.spec_replicas).is_some_and(Value::is_number)
}

/// Writes the wanted replicas of a Scale into the object; an absent number is 0.
pub fn apply(obj: &mut Value, scale: &Value, paths: &ScalePaths) {
    let wanted = value::i64_at(scale, &["spec", "replicas"]).unwrap_or(0);
    let mut keys: Vec<&str> = paths.spec_replicas.trim_start_matches('.').split('.').collect();
    let Some(last) = keys.pop() else { return };
    let mut here = obj;
    for key in keys {
        if value::object_mut(here, key).is_none() {
            return;
        }
        let Some(next) = here.get_mut(key) else { return };
        here = next;
    }
    if let Some(map) = here.as_object_mut() {
        map.insert(last.to_owned(), wanted.into());
    }
}

fn follow<'a>(obj: &'a Value, path: &str) -> Option<&'a Value> {
    path.trim_start_matches('.')
        .split('.')
        .try_fold(obj, |here, key| here.get(key))
}

/// A selector in the text form of query parameters: `a=b,c in (x,y),!d`. Takes a `LabelSelector`, a plain map, or that
/// text.
pub fn selector_text(selector: &Value) -> String {
    if let Some(text) = selector.as_str() {
        return text.to_owned();
    }
    let is_label_selector = selector.get("matchLabels").is_some_and(Value::is_object)
        || selector.get("matchExpressions").is_some_and(Value::is_array);
    let labels = if is_label_selector {
        selector.get("matchLabels")
    } else {
        Some(selector)
    };
    let mut parts: Vec<(String, String)> = Vec::new();
    for (key, v) in labels.and_then(Value::as_object).into_iter().flatten() {
        parts.push((key.clone(), format!("{key}={}", v.as_str().unwrap_or(""))));
    }
    if is_label_selector {
        for expression in value::list_at(selector, &["matchExpressions"]) {
            let key = value::text(expression, "key");
            let mut values: Vec<&str> = value::strings(expression, &["values"]).collect();
            values.sort_unstable();
            let values = values.join(",");
            let text = match value::text(expression, "operator") {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "Exists" => key.to_owned(),
                "DoesNotExist" => format!("!{key}"),
                _ => continue,
            };
            parts.push((key.to_owned(), text));
        }
    }
    parts.sort();
    parts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    const PATHS: ScalePaths = ScalePaths {
        spec_replicas: Cow::Borrowed(".spec.replicas"),
        status_replicas: Cow::Borrowed(".status.replicas"),
        label_selector: Some(Cow::Borrowed(".spec.selector")),
    };

    #[test]
    fn scale_reads_and_writes_replicas() {
        let mut obj = json!({
            "metadata": {"name": "a", "namespace": "b", "uid": "u", "resourceVersion": "7", "labels": {"x": "y"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "a"}}},
            "status": {"replicas": 2},
        });
        let scale = render(&obj, &PATHS);
        assert_eq!(scale["spec"]["replicas"], 3);
        assert_eq!(scale["status"], json!({"replicas": 2, "selector": "app=a"}));
        assert_eq!(scale["metadata"].get("labels"), None);
        apply(&mut obj, &json!({"spec": {"replicas": 5}}), &PATHS);
        assert_eq!(obj["spec"]["replicas"], 5);
        apply(&mut obj, &json!({"spec": {}}), &PATHS);
        assert_eq!(obj["spec"]["replicas"], 0);
    }

    #[test]
    fn selectors_have_their_text_form() {
        let selector = json!({
            "matchLabels": {"b": "2", "a": "1"},
            "matchExpressions": [
                {"key": "c", "operator": "In", "values": ["y", "x"]},
                {"key": "d", "operator": "DoesNotExist"},
                {"key": "e", "operator": "Exists"},
            ],
        });
        assert_eq!(selector_text(&selector), "a=1,b=2,c in (x,y),!d,e");
        assert_eq!(selector_text(&json!({"app": "x"})), "app=x");
    }
}
