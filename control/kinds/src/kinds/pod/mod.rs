//! Pods.

mod bind;
mod parts;
mod status;
mod table;

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use bind::bind_with;
pub use table::status_text;

use crate::conditions;
use crate::context::Context;
use crate::delete::{self, DeleteMode, DeleteOptions};
use crate::invalid::{Denied, Invalid};
use crate::path::{Errors, Path};
use crate::podspec::{self, defaults, template, update, validate};
use crate::strategy::{Column, Strategy};
use crate::value::{self, i64_at, keep, list_at, object_mut, str_at, text};
use crate::warnings::Warnings;

/// Annotation of the API object that mirrors a static pod.
pub const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
const SPEC: Path<'static> = Path::new("spec");

/// The strategy of Pods.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pod;

impl Strategy for Pod {
    fn default(&self, obj: &mut Value) {
        if let Some(spec) = obj.get_mut("spec") {
            defaults::pod_spec(spec);
            defaults::pod_only(spec);
            template::positive_grace(spec);
        }
        if let Some(status) = obj.get_mut("status") {
            status::mirror_address(status);
        }
    }

    fn prepare_create(&self, cx: &Context<'_>, obj: &mut Value) -> Result<(), Denied> {
        let empty = Value::Object(Map::new());
        let spec = obj.get("spec").unwrap_or(&empty);
        let gated = !list_at(spec, &["schedulingGates"]).is_empty();
        let class = podspec::resources::qos_class(spec);
        if let Some(map) = obj.as_object_mut() {
            map.insert("status".into(), json!({"phase": "Pending", "qosClass": class}));
        }
        if gated {
            let message = "Scheduling is blocked due to non-empty scheduling gates";
            conditions::set(obj, "PodScheduled", "False", "SchedulingGated", message, cx.now);
        }
        Ok(())
    }

    fn prepare_update(&self, _cx: &Context<'_>, new: &mut Value, old: &Value) -> Result<(), Denied> {
        keep(new, old, "status");
        if let (Some(spec), Some(stored)) = (new.get_mut("spec"), old.get("spec")) {
            for key in ["priority", "preemptionPolicy"] {
                if value::at(spec, &[key]).is_none() {
                    keep(spec, stored, key);
                }
            }
        }
        Ok(())
    }

    fn prepare_status(&self, _cx: &Context<'_>, new: &mut Value, old: &Value) -> Result<(), Denied> {
        value::keep_all_but_status(new, old);
        if let (Some(metadata), Some(before)) = (new.get_mut("metadata"), old.get("metadata")) {
            keep(metadata, before, "ownerReferences");
        }
        if str_at(new, &["status", "qosClass"]).is_none()
            && let Some(class) = value::at(old, &["status", "qosClass"])
            && let Some(status) = object_mut(new, "status")
        {
            status.insert("qosClass".into(), class.clone());
        }
        Ok(())
    }

    fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Invalid> {
        let mut errors = Errors::new();
        let empty = Value::Object(Map::new());
        let spec = new.get("spec").unwrap_or(&empty);
        match old {
            None => {
                if !list_at(spec, &["ephemeralContainers"]).is_empty() {
                    errors.forbidden(&SPEC.child("ephemeralContainers"), "cannot be set on create");
                }
                validate::pod_spec(spec, true, &SPEC, &mut errors);
                if !text(spec, "nodeName").is_empty() && !list_at(spec, &["schedulingGates"]).is_empty() {
                    let detail = "cannot be set until all schedulingGates have been cleared";
                    errors.forbidden(&SPEC.child("nodeName"), detail);
                }
            }
            // What is stored was checked before; an update that leaves the specification alone needs no new check.
            Some(old) if old.get("spec") == new.get("spec") => {}
            Some(old) => {
                validate::pod_spec(spec, true, &SPEC, &mut errors);
                update::pod_spec(spec, old.get("spec").unwrap_or(&empty), &SPEC, &mut errors);
            }
        }
        errors.into_vec()
    }

    /// New pods only: updates are what controllers and nodes do.
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = Warnings::default();
        if old.is_none() {
            warnings.host_name(new, "the Pod's hostname");
            podspec::warnings::pod(new, &mut warnings);
        }
        warnings.into_vec()
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<Invalid> {
        let mut errors = Errors::new();
        status::check(new, old, &mut errors);
        errors.into_vec()
    }

    fn prepare_part(&self, part: &str, _cx: &Context<'_>, new: &mut Value, old: &Value) -> Result<(), Denied> {
        match part {
            "resize" => parts::take_resources(new, old),
            _ => parts::take_ephemeral(new, old),
        }
        Ok(())
    }

    fn validate_part(&self, part: &str, new: &Value, old: &Value) -> Vec<Invalid> {
        let mut errors = Errors::new();
        match part {
            "resize" => parts::resized(new, old, &mut errors),
            _ => parts::extended(new, old, &mut errors),
        }
        errors.into_vec()
    }

    fn generation(&self) -> bool {
        true
    }

    fn delete(&self, obj: &Value, options: &DeleteOptions, now: Timestamp) -> DeleteMode {
        delete::with_grace(obj, options, grace_seconds(obj, options), now)
    }

    fn columns(&self) -> &[Column] {
        table::COLUMNS
    }

    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        table::cells(obj, now)
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            // Known by name only: kube-apiserver gives it no value.
            "status.podIPs",
            "status.nominatedNodeName",
        ]
    }

    fn selectable_field<'a>(&self, obj: &'a Value, name: &str) -> Option<Cow<'a, str>> {
        if name == "spec.hostNetwork" {
            return Some(value::bool_at(obj, &["spec", "hostNetwork"]).to_string().into());
        }
        let (part, key) = name.split_once('.')?;
        let known = self.selectable_field_names().contains(&name);
        known.then(|| str_at(obj, &[part, key]).unwrap_or("").into())
    }
}

/// The grace period that a delete request gives the pod. Pods no node runs (yet, or any more) go at once.
fn grace_seconds(pod: &Value, options: &DeleteOptions) -> i64 {
    if value::at(pod, &["metadata", "deletionTimestamp"]).is_some() {
        let running_out = i64_at(pod, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0);
        return options.grace_period_seconds.unwrap_or(running_out);
    }
    let bound = str_at(pod, &["spec", "nodeName"]).is_some();
    let finished = matches!(str_at(pod, &["status", "phase"]), Some("Succeeded" | "Failed"));
    if !bound || finished {
        return 0;
    }
    let own = i64_at(pod, &["spec", "terminationGracePeriodSeconds"]).unwrap_or(30);
    options.grace_period_seconds.unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{EmptyCluster, Settings};

    pub(super) fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn created(mut pod: Value) -> Value {
        let settings = Settings::default();
        let cx = Context {
            now: now(),
            user: "u",
            groups: &[],
            namespace: "default",
            cluster: &EmptyCluster,
            settings: &settings,
        };
        Pod.default(&mut pod);
        Pod.prepare_create(&cx, &mut pod).unwrap();
        Pod.set_generation(&mut pod, None);
        assert_eq!(Pod.validate(&pod, None), vec![]);
        pod
    }

    fn plain() -> Value {
        created(json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "b"}]}}))
    }

    #[test]
    fn a_new_pod_is_pending_with_everything_filled() {
        let pod = plain();
        assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
        assert_eq!(pod["metadata"]["generation"], 1);
        assert_eq!(pod["spec"]["enableServiceLinks"], true);
    }

    #[test]
    fn status_and_specification_are_written_apart() {
        let settings = Settings::default();
        let cx = Context {
            now: now(),
            user: "u",
            groups: &[],
            namespace: "default",
            cluster: &EmptyCluster,
            settings: &settings,
        };
        let old = plain();
        let mut new = old.clone();
        new["status"]["phase"] = json!("Running");
        new["spec"]["containers"][0]["image"] = json!("c");
        let mut by_spec = new.clone();
        Pod.prepare_update(&cx, &mut by_spec, &old).unwrap();
        Pod.set_generation(&mut by_spec, Some(&old));
        assert_eq!(by_spec["status"], old["status"]);
        assert_eq!(by_spec["metadata"]["generation"], 2);
        let mut by_status = new;
        by_status["status"].as_object_mut().unwrap().remove("qosClass");
        by_status["metadata"]["generation"] = json!(9);
        Pod.prepare_status(&cx, &mut by_status, &old).unwrap();
        assert_eq!(by_status["spec"], old["spec"]);
        assert_eq!(by_status["metadata"]["generation"], 1);
        assert_eq!(
            by_status["status"],
            json!({"phase": "Running", "qosClass": "BestEffort"})
        );
    }

    #[test]
    fn deletion_gives_grace_only_to_running_pods() {
        let mut pod = plain();
        let none = DeleteOptions::default();
        assert_eq!(Pod.delete(&pod, &none, now()), DeleteMode::Remove);
        pod["spec"]["nodeName"] = json!("n");
        let DeleteMode::Keep(kept) = Pod.delete(&pod, &none, now()) else {
            panic!("kept")
        };
        assert_eq!(kept["metadata"]["deletionGracePeriodSeconds"], 30);
        assert_eq!(kept["metadata"]["deletionTimestamp"], "2026-01-01T00:00:30Z");
        assert_eq!(kept["metadata"]["generation"], 2);
        assert_eq!(Pod.delete(&kept, &none, now()), DeleteMode::Unchanged);
        let force = DeleteOptions {
            grace_period_seconds: Some(0),
            propagation: None,
        };
        assert_eq!(Pod.delete(&kept, &force, now()), DeleteMode::Remove);
        pod["status"]["phase"] = json!("Failed");
        assert_eq!(Pod.delete(&pod, &none, now()), DeleteMode::Remove);
    }

    #[test]
    fn addresses_are_mirrored() {
        let mirrored = |status: Value| {
            let mut pod = json!({"spec": {"containers": []}, "status": status});
            Pod.default(&mut pod);
            (pod["status"]["podIP"].clone(), pod["status"]["podIPs"].clone())
        };
        let both = (json!("10.0.0.1"), json!([{"ip": "10.0.0.1"}]));
        assert_eq!(mirrored(json!({"podIP": "10.0.0.1"})), both);
        assert_eq!(mirrored(json!({"podIPs": [{"ip": "10.0.0.1"}]})), both);
        assert_eq!(
            mirrored(json!({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.2"}]})),
            both
        );
    }

    #[test]
    fn fields_are_selectable() {
        let mut pod = plain();
        pod["spec"]["nodeName"] = json!("n1");
        let fields = Pod.selectable_fields(&pod);
        assert!(fields.contains(&("spec.nodeName".into(), "n1".into())));
        assert!(fields.contains(&("spec.hostNetwork".into(), "false".into())));
        assert!(fields.contains(&("status.phase".into(), "Pending".into())));
        assert!(fields.contains(&("status.podIPs".into(), "".into())));
        assert_eq!(fields.len(), 9);
        assert_eq!(Pod.selectable_field(&pod, "spec.nope"), None);
    }
}
