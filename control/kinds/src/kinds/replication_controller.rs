//! ReplicationControllers.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::workload::{self, SPEC};
use crate::context::Context;
use crate::delete::{self, DeleteMode, DeleteOptions, Propagation};
use crate::invalid::{Denied, Invalid};
use crate::labels;
use crate::path::Errors;
use crate::podspec::template;
use crate::strategy::{Column, ScalePaths, Strategy};
use crate::value::{at, map_at, object_mut};

/// The strategy of ReplicationControllers.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReplicationController;

impl Strategy for ReplicationController {
    /// Selector and labels come from the template where they are not given.
    fn default(&self, obj: &mut Value) {
        workload::default(obj);
        let Some(labels) = workload::labels_of_template(obj) else {
            return;
        };
        let empty = |obj: &Value, path: &[&str]| map_at(obj, path).is_none_or(Map::is_empty);
        if empty(obj, &["spec", "selector"])
            && let Some(spec) = object_mut(obj, "spec")
        {
            spec.insert("selector".into(), labels.clone().into());
        }
        if empty(obj, &["metadata", "labels"])
            && let Some(metadata) = object_mut(obj, "metadata")
        {
            metadata.insert("labels".into(), labels.into());
        }
    }

    fn prepare_create(&self, _cx: &Context<'_>, obj: &mut Value) -> Result<(), Denied> {
        workload::set_status(obj, json!({"replicas": 0}));
        Ok(())
    }

    fn validate(&self, new: &Value, _old: Option<&Value>) -> Vec<Invalid> {
        let mut errors = Errors::new();
        workload::numbers(new, &mut errors);
        let path = SPEC.child("selector");
        let selector = map_at(new, &["spec", "selector"]).filter(|s| !s.is_empty());
        if selector.is_none() {
            errors.required(&path, "");
        }
        labels::validate(selector, &path, &mut errors);
        let path = SPEC.child("template");
        match at(new, &["spec", "template"]) {
            None => errors.required(&path, ""),
            Some(template) => {
                if let Some(selector) = selector {
                    let matches = labels::map_matches(selector, template::template_labels(template));
                    template::selected(matches, template, &path, &mut errors);
                }
                template::validate(template, "ReplicationController", &path, &mut errors);
            }
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

    /// Pods of a ReplicationController stay unless the request says otherwise, as they did before garbage collection.
    fn delete(&self, obj: &Value, options: &DeleteOptions, now: Timestamp) -> DeleteMode {
        let propagation = options.propagation.or(Some(Propagation::Orphan));
        delete::generic(
            obj,
            &DeleteOptions {
                propagation,
                ..*options
            },
            now,
        )
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

    #[test]
    fn selector_and_labels_come_from_the_template() {
        let mut obj = json!({"metadata": {"name": "a"}, "spec": {"template": {"metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "a", "image": "b"}]}}}});
        ReplicationController.default(&mut obj);
        assert_eq!(obj["spec"]["selector"], json!({"app": "a"}));
        assert_eq!(obj["metadata"]["labels"], json!({"app": "a"}));
        assert_eq!(obj["spec"]["replicas"], 1);
        assert_eq!(ReplicationController.validate(&obj, None), vec![]);
        obj["spec"]["selector"] = json!({"app": "b"});
        assert_eq!(
            ReplicationController.validate(&obj, None)[0].to_string(),
            "spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`"
        );
    }

    #[test]
    fn what_is_missing_is_required() {
        let lines: Vec<String> = ReplicationController
            .validate(&json!({"spec": {}}), None)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            lines,
            ["spec.selector: Required value", "spec.template: Required value"]
        );
    }
}
