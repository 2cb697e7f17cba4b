//! Conditions in the status of objects.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{time, value};

/// The condition of a type.
pub fn find<'a>(obj: &'a Value, kind: &str) -> Option<&'a Value> {
    value::list_at(obj, &["status", "conditions"])
        .iter()
        .find(|c| value::text(c, "type") == kind)
}

/// Whether a condition is there with status `True`.
pub fn is_true(obj: &Value, kind: &str) -> bool {
    find(obj, kind).is_some_and(|c| value::text(c, "status") == "True")
}

/// Sets a condition; its transition time moves only with its status. An empty reason and message are left out.
pub fn set(obj: &mut Value, kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) {
    let before = find(obj, kind).filter(|c| value::text(c, "status") == status);
    let since = before
        .and_then(|c| value::str_at(c, &["lastTransitionTime"]))
        .map(str::to_owned);
    let mut condition = json!({
        "type": kind,
        "status": status,
        "lastTransitionTime": since.unwrap_or_else(|| time::rfc3339(now)),
    });
    if !reason.is_empty() {
        condition["reason"] = reason.into();
    }
    if !message.is_empty() {
        condition["message"] = message.into();
    }
    let Some(all) = value::object_mut(obj, "status") else {
        return;
    };
    let list = all.entry("conditions").or_insert(Value::Null);
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    if let Some(list) = list.as_array_mut() {
        match list.iter_mut().find(|c| value::text(c, "type") == kind) {
            Some(slot) => *slot = condition,
            None => list.push(condition),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transition_times_move_with_the_status_only() {
        let at = |s: &str| s.parse().unwrap();
        let mut obj = json!({});
        set(&mut obj, "Ready", "False", "Why", "because", at("2026-01-01T00:00:00Z"));
        set(&mut obj, "Ready", "False", "", "", at("2026-01-01T00:00:05Z"));
        assert_eq!(
            find(&obj, "Ready").unwrap()["lastTransitionTime"],
            "2026-01-01T00:00:00Z"
        );
        set(&mut obj, "Ready", "True", "", "", at("2026-01-01T00:00:09Z"));
        assert!(is_true(&obj, "Ready"));
        assert_eq!(obj["status"]["conditions"].as_array().unwrap().len(), 1);
        assert_eq!(
            find(&obj, "Ready").unwrap()["lastTransitionTime"],
            "2026-01-01T00:00:09Z"
        );
    }
}
