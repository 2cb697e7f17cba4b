//! ReplicaSets.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::workload;
use crate::context::Context;
use crate::invalid::{Denied, Invalid};
use crate::path::Errors;
use crate::strategy::{Column, ScalePaths, Strategy};

/// The strategy of ReplicaSets.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReplicaSet;

impl Strategy for ReplicaSet {
    fn default(&self, obj: &mut Value) {
        workload::default(obj);
    }

    fn prepare_create(&self, _cx: &Context<'_>, obj: &mut Value) -> Result<(), Denied> {
        workload::set_status(obj, json!({"replicas": 0}));
        Ok(())
    }

    fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Invalid> {
        let mut errors = Errors::new();
        workload::numbers(new, &mut errors);
        workload::selector_and_template(new, "ReplicaSet", "ReplicaSet", &mut errors);
        if let Some(old) = old {
            workload::selector_is_immutable(new, old, &mut errors);
        }
        errors.into_vec()
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<Invalid> {
        let mut errors = Errors::new();
        workload::status_counts(new, &mut errors);
        errors.into_vec()
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        workload::warnings(new, old)
    }

    fn generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        workload::SET_COLUMNS
    }

    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        workload::set_cells(obj, now)
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["status.replicas"]
    }

    fn selectable_field<'a>(&self, obj: &'a Value, name: &str) -> Option<Cow<'a, str>> {
        (name == "status.replicas").then(|| workload::status_replicas(obj).into())
    }

    fn scale(&self) -> Option<ScalePaths> {
        Some(workload::SCALE.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Value {
        let mut obj = json!({"metadata": {"name": "a"}, "spec": {"selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "b"}]}}}});
        ReplicaSet.default(&mut obj);
        obj
    }

    #[test]
    fn good_sets_pass_and_selectors_stay() {
        assert_eq!(ReplicaSet.validate(&set(), None), vec![]);
        let mut other = set();
        other["spec"]["selector"]["matchLabels"] = json!({"app": "b"});
        other["spec"]["template"]["metadata"]["labels"] = json!({"app": "b"});
        let errors = ReplicaSet.validate(&other, Some(&set()));
        assert_eq!(
            errors[0].to_string(),
            r#"spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable"#
        );
    }

    #[test]
    fn counters_are_plausible() {
        let errors = ReplicaSet.validate_status(&json!({"status": {"replicas": 1, "readyReplicas": 2}}), &set());
        assert_eq!(
            errors[0].to_string(),
            "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"
        );
    }

    #[test]
    fn rows_are_wide() {
        let mut obj = set();
        obj["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        obj["status"] = json!({"replicas": 1, "readyReplicas": 1});
        let now = "2026-01-01T00:00:05Z".parse().unwrap();
        assert_eq!(
            ReplicaSet.cells(&obj, now),
            [
                json!("a"),
                json!(1),
                json!(1),
                json!(1),
                json!("5s"),
                json!("a"),
                json!("b"),
                json!("app=a")
            ]
        );
    }
}
