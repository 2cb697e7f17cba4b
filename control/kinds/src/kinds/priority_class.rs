//! PriorityClasses.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::context::{Cluster, Context};
use crate::invalid::{Denied, Invalid};
use crate::path::{Errors, Path};
use crate::strategy::{Column, Strategy};
use crate::table::{AGE, NAME, age, name, number, text as column};
use crate::value::{self, bool_at, i64_at, str_at};

const GROUP: &str = "scheduling.k8s.io";
const RESOURCE: &str = "priorityclasses";
const SYSTEM_PREFIX: &str = "system-";
const HIGHEST_USER_VALUE: i64 = 1_000_000_000;
/// Names, values and descriptions of the classes every cluster has.
const SYSTEM: [(&str, i64, &str); 2] = [
    (
        "system-node-critical",
        2_000_001_000,
        "For pods that must not be moved from their node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "For pods the cluster cannot do without, which may move to another node.",
    ),
];

/// The classes every cluster has, to be created when it starts.
pub fn system_classes() -> Vec<Value> {
    SYSTEM
        .iter()
        .map(|(name, value, description)| {
            json!({
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": name},
                "value": value,
                "preemptionPolicy": "PreemptLowerPriority",
                "description": description,
            })
        })
        .collect()
}

/// A class by name; the system's own are known even before they are stored.
pub fn find(cluster: &dyn Cluster, name: &str) -> Option<Arc<Value>> {
    cluster.get(GROUP, RESOURCE, None, name).or_else(|| {
        let own = system_classes().into_iter().find(|c| c["metadata"]["name"] == name);
        own.map(Arc::new)
    })
}

/// The class of pods that name none. Of several, the one with the lowest value counts.
pub fn global_default(cluster: &dyn Cluster) -> Option<Arc<Value>> {
    let all = cluster.list(GROUP, RESOURCE, None).into_iter();
    all.filter(|c| bool_at(c, &["globalDefault"]))
        .min_by_key(|c| i64_at(c, &["value"]).unwrap_or(0))
}

/// The strategy of PriorityClasses.
#[derive(Debug, Clone, Copy, Default)]
pub struct PriorityClass;

impl Strategy for PriorityClass {
    fn default(&self, obj: &mut Value) {
        value::fill(obj, "preemptionPolicy", "PreemptLowerPriority");
        value::fill(obj, "value", 0);
    }

    fn prepare_create(&self, cx: &Context<'_>, obj: &mut Value) -> Result<(), Denied> {
        only_one_default(cx, obj)
    }

    fn prepare_update(&self, cx: &Context<'_>, new: &mut Value, _old: &Value) -> Result<(), Denied> {
        only_one_default(cx, new)
    }

    fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Invalid> {
        let mut errors = Errors::new();
        if let Some(old) = old {
            let number = |o| i64_at(o, &["value"]).unwrap_or(0);
            if number(new) != number(old) {
                errors.forbidden(&Path::new("value"), "may not be changed in an update.");
            }
            let (after, before) = (new.get("preemptionPolicy"), old.get("preemptionPolicy"));
            errors.immutable(&Path::new("preemptionPolicy"), after, before);
            return errors.into_vec();
        }
        let own_name = str_at(new, &["metadata", "name"]).unwrap_or("");
        let number = i64_at(new, &["value"]).unwrap_or(0);
        if own_name.starts_with(SYSTEM_PREFIX) {
            if !SYSTEM
                .iter()
                .any(|(name, value, _)| *name == own_name && *value == number)
            {
                errors.forbidden(
                    &Path::new("metadata.name"),
                    "priority class names with 'system-' prefix are reserved for system use only",
                );
            }
        } else if number > HIGHEST_USER_VALUE {
            errors.forbidden(
                &Path::new("value"),
                format!("maximum allowed value of a user defined priority is {HIGHEST_USER_VALUE}"),
            );
        }
        errors.optional_one_of(
            &Path::new("preemptionPolicy"),
            new.get("preemptionPolicy"),
            &["Never", "PreemptLowerPriority"],
        );
        errors.into_vec()
    }

    fn generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                NAME,
                number("Value", "Priority of the pods that name the class"),
                column("Global-Default", "Whether pods that name no class get this one"),
                AGE,
                column("PreemptionPolicy", "Whether such pods may displace others"),
            ]
        }
    }

    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            name(obj),
            i64_at(obj, &["value"]).unwrap_or(0).into(),
            bool_at(obj, &["globalDefault"]).into(),
            age(obj, now),
            str_at(obj, &["preemptionPolicy"])
                .unwrap_or("PreemptLowerPriority")
                .into(),
        ]
    }
}

fn only_one_default(cx: &Context<'_>, obj: &Value) -> Result<(), Denied> {
    if !bool_at(obj, &["globalDefault"]) {
        return Ok(());
    }
    let own = str_at(obj, &["metadata", "name"]);
    match global_default(cx.cluster) {
        Some(other) if str_at(&other, &["metadata", "name"]) != own => Err(Denied::Forbidden(format!(
            "PriorityClass {} is already marked as default. Only one default can exist",
            str_at(&other, &["metadata", "name"]).unwrap_or("")
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(new: Value, old: Option<Value>) -> Vec<String> {
        PriorityClass
            .validate(&new, old.as_ref())
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn the_systems_names_and_values_are_reserved() {
        let class = |name: &str, value: i64| json!({"metadata": {"name": name}, "value": value});
        assert_eq!(lines(class("mine", 5), None), Vec::<String>::new());
        assert_eq!(
            lines(class("system-mine", 5), None),
            ["metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only"]
        );
        assert_eq!(
            lines(class("mine", 1_000_000_001), None),
            ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]
        );
        for own in system_classes() {
            assert_eq!(lines(own, None), Vec::<String>::new());
        }
        assert_eq!(
            lines(class("mine", 6), Some(class("mine", 5))),
            ["value: Forbidden: may not be changed in an update."]
        );
    }
}
