//! Namespaces.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::context::Context;
use crate::delete::{self, DeleteMode, DeleteOptions};
use crate::invalid::{Denied, Invalid};
use crate::meta;
use crate::names::NameRule;
use crate::path::{Errors, Path};
use crate::strategy::{Column, Strategy};
use crate::table::{AGE, NAME, age, name, text as column};
use crate::value::{self, object_mut, str_at, strings};

/// The finalizer in `spec.finalizers` that the namespace controller removes when the namespace is empty.
pub const FINALIZER: &str = "kubernetes";
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
const IMMORTAL: [&str; 3] = ["default", "kube-public", "kube-system"];

/// The strategy of Namespaces.
#[derive(Debug, Clone, Copy, Default)]
pub struct Namespace;

impl Strategy for Namespace {
    fn default(&self, obj: &mut Value) {
        if let Some(own) = str_at(obj, &["metadata", "name"]).map(str::to_owned)
            && let Some(metadata) = object_mut(obj, "metadata")
        {
            let labels = metadata.entry("labels").or_insert_with(|| json!({}));
            if labels.is_null() {
                *labels = json!({});
            }
            if let Some(labels) = labels.as_object_mut() {
                labels.insert(NAME_LABEL.into(), own.into());
            }
        }
        if let Some(status) = obj.get_mut("status").filter(|s| s.is_object()) {
            value::fill(status, "phase", "Active");
        }
    }

    fn prepare_create(&self, _cx: &Context<'_>, obj: &mut Value) -> Result<(), Denied> {
        // A generated name is known only now.
        self.default(obj);
        if let Some(map) = obj.as_object_mut() {
            map.insert("status".into(), json!({"phase": "Active"}));
        }
        if !strings(obj, &["spec", "finalizers"]).any(|f| f == FINALIZER)
            && let Some(spec) = object_mut(obj, "spec")
        {
            match spec.get_mut("finalizers").and_then(Value::as_array_mut) {
                Some(list) => list.push(FINALIZER.into()),
                None => {
                    spec.insert("finalizers".into(), json!([FINALIZER]));
                }
            }
        }
        Ok(())
    }

    fn prepare_update(&self, _cx: &Context<'_>, new: &mut Value, old: &Value) -> Result<(), Denied> {
        value::keep(new, old, "spec");
        value::keep(new, old, "status");
        Ok(())
    }

    fn validate(&self, new: &Value, _old: Option<&Value>) -> Vec<Invalid> {
        let mut errors = Errors::new();
        let path = Path::new("spec.finalizers");
        for finalizer in strings(new, &["spec", "finalizers"]) {
            meta::finalizer_name(finalizer, &path, &mut errors);
        }
        errors.into_vec()
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<Invalid> {
        let mut errors = Errors::new();
        let phase = str_at(new, &["status", "phase"]).unwrap_or("");
        let path = Path::new("status.phase");
        let deleted = value::at(new, &["metadata", "deletionTimestamp"]).is_some();
        if !deleted && phase != "Active" {
            errors.invalid(&path, phase, "may only be 'Active' if `deletionTimestamp` is empty");
        }
        if deleted && phase != "Terminating" {
            errors.invalid(
                &path,
                phase,
                "may only be 'Terminating' if `deletionTimestamp` is not empty",
            );
        }
        errors.into_vec()
    }

    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn may_delete(&self, obj: &Value) -> Result<(), Denied> {
        match str_at(obj, &["metadata", "name"]) {
            Some(own) if IMMORTAL.contains(&own) => Err(Denied::Forbidden("this namespace may not be deleted".into())),
            _ => Ok(()),
        }
    }

    fn delete(&self, obj: &Value, options: &DeleteOptions, now: Timestamp) -> DeleteMode {
        let marked = value::at(obj, &["metadata", "deletionTimestamp"]).is_some();
        let waiting = strings(obj, &["spec", "finalizers"]).next().is_some();
        if marked && waiting {
            return DeleteMode::Unchanged;
        }
        if !waiting {
            return delete::generic(obj, options, now);
        }
        let mut next = obj.clone();
        delete::mark(&mut next, now, 0);
        if let Some(metadata) = object_mut(&mut next, "metadata") {
            metadata.remove("deletionGracePeriodSeconds");
        }
        if let Some(status) = object_mut(&mut next, "status") {
            status.insert("phase".into(), "Terminating".into());
        }
        DeleteMode::Keep(next)
    }

    fn finished(&self, obj: &Value) -> bool {
        strings(obj, &["spec", "finalizers"]).next().is_none() && delete::finished(obj)
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                NAME,
                column("Status", "Whether the namespace is active or being deleted"),
                AGE,
            ]
        }
    }

    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            name(obj),
            str_at(obj, &["status", "phase"]).unwrap_or("").into(),
            age(obj, now),
        ]
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["status.phase"]
    }

    fn selectable_field<'a>(&self, obj: &'a Value, name: &str) -> Option<Cow<'a, str>> {
        (name == "status.phase").then(|| str_at(obj, &["status", "phase"]).unwrap_or("").into())
    }
}

/// What a write to the `finalize` subresource stores: the stored namespace with the request's `spec.finalizers`.
pub fn finalize(stored: &Value, request: &Value) -> Value {
    let mut next = stored.clone();
    if let Some(spec) = object_mut(&mut next, "spec") {
        match value::at(request, &["spec", "finalizers"]) {
            Some(list) if !value::list_at(request, &["spec", "finalizers"]).is_empty() => {
                spec.insert("finalizers".into(), list.clone());
            }
            _ => {
                spec.remove("finalizers");
            }
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{EmptyCluster, Settings};

    fn created() -> Value {
        let settings = Settings::default();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let cx = Context {
            now,
            user: "u",
            groups: &[],
            namespace: "",
            cluster: &EmptyCluster,
            settings: &settings,
        };
        let mut obj = json!({"metadata": {"name": "a"}});
        Namespace.default(&mut obj);
        Namespace.prepare_create(&cx, &mut obj).unwrap();
        obj
    }

    #[test]
    fn a_new_namespace_is_active_and_finalized_by_the_controller() {
        assert_eq!(
            created(),
            json!({"metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
        );
    }

    #[test]
    fn deletion_waits_for_the_controller() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let none = DeleteOptions::default();
        let DeleteMode::Keep(going) = Namespace.delete(&created(), &none, now) else {
            panic!("kept")
        };
        assert_eq!(going["status"]["phase"], "Terminating");
        assert_eq!(going["metadata"]["deletionTimestamp"], "2026-01-01T00:00:00Z");
        assert_eq!(Namespace.delete(&going, &none, now), DeleteMode::Unchanged);
        assert!(!Namespace.finished(&going));
        let emptied = finalize(&going, &json!({"spec": {"finalizers": []}}));
        assert!(Namespace.finished(&emptied));
        assert_eq!(Namespace.delete(&emptied, &none, now), DeleteMode::Remove);
    }

    #[test]
    fn three_namespaces_never_go() {
        assert!(Namespace.may_delete(&json!({"metadata": {"name": "default"}})).is_err());
        assert!(Namespace.may_delete(&json!({"metadata": {"name": "mine"}})).is_ok());
    }
}
