//! Deployments.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::workload::{self, CONTAINERS, IMAGES, SELECTOR, SPEC, count};
use crate::context::Context;
use crate::intstr::{self, Amount, amount};
use crate::invalid::{Denied, Invalid};
use crate::path::{Errors, Path};
use crate::strategy::{Column, ScalePaths, Strategy};
use crate::table::{AGE, NAME, age, name, text as column};
use crate::value::{self, at, fill, i64_at, map_at, object_mut, text};

/// The strategy of Deployments.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deployment;

impl Strategy for Deployment {
    fn default(&self, obj: &mut Value) {
        workload::default(obj);
        let Some(spec) = obj.get_mut("spec").filter(|s| s.is_object()) else {
            return;
        };
        fill(spec, "revisionHistoryLimit", 10);
        fill(spec, "progressDeadlineSeconds", 600);
        let _ = object_mut(spec, "strategy");
        let Some(strategy) = spec.get_mut("strategy").filter(|s| s.is_object()) else {
            return;
        };
        fill(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate" {
            let _ = object_mut(strategy, "rollingUpdate");
            if let Some(rolling) = strategy.get_mut("rollingUpdate") {
                fill(rolling, "maxUnavailable", "25%");
                fill(rolling, "maxSurge", "25%");
            }
        }
    }

    fn prepare_create(&self, _cx: &Context<'_>, obj: &mut Value) -> Result<(), Denied> {
        workload::set_status(obj, Value::Object(Map::new()));
        Ok(())
    }

    fn prepare_status(&self, _cx: &Context<'_>, new: &mut Value, old: &Value) -> Result<(), Denied> {
        value::keep_all_but_status(new, old);
        if let (Some(metadata), Some(before)) = (new.get_mut("metadata"), old.get("metadata")) {
            value::keep(metadata, before, "labels");
        }
        Ok(())
    }

    fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Invalid> {
        let mut errors = Errors::new();
        workload::numbers(new, &mut errors);
        workload::selector_and_template(new, "deployment", "Deployment", &mut errors);
        strategy(new, &mut errors);
        errors.not_negative(
            &SPEC.child("revisionHistoryLimit"),
            i64_at(new, &["spec", "revisionHistoryLimit"]),
        );
        deadline(new, &mut errors);
        if let Some(old) = old {
            workload::selector_is_immutable(new, old, &mut errors);
        }
        errors.into_vec()
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<Invalid> {
        let mut errors = Errors::new();
        workload::status_counts(new, &mut errors);
        let path = Path::new("status");
        for key in ["updatedReplicas", "unavailableReplicas", "collisionCount"] {
            errors.not_negative(&path.child(key), i64_at(new, &["status", key]));
        }
        let updated = count(new, &["status", "updatedReplicas"]);
        if updated > count(new, &["status", "replicas"]) {
            let detail = "cannot be greater than status.replicas";
            errors.invalid(&path.child("updatedReplicas"), updated, detail);
        }
        errors.into_vec()
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        workload::warnings(new, old)
    }

    fn generation(&self) -> bool {
        true
    }

    /// Annotations count, because some of them steer the rollout.
    fn changes_generation(&self, new: &Value, old: &Value) -> bool {
        let annotations = |obj| {
            map_at(obj, &["metadata", "annotations"])
                .filter(|a| !a.is_empty())
                .cloned()
        };
        new.get("spec") != old.get("spec") || annotations(new) != annotations(old)
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                NAME,
                column("Ready", "Ready pods of wanted pods"),
                column("Up-to-date", "Pods of the newest template"),
                column("Available", "Pods ready for long enough"),
                AGE,
                CONTAINERS,
                IMAGES,
                SELECTOR,
            ]
        }
    }

    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        let [containers, images, selector] = workload::wide_cells(obj);
        let ready = count(obj, &["status", "readyReplicas"]);
        vec![
            name(obj),
            format!("{ready}/{}", count(obj, &["spec", "replicas"])).into(),
            count(obj, &["status", "updatedReplicas"]).into(),
            count(obj, &["status", "availableReplicas"]).into(),
            age(obj, now),
            containers,
            images,
            selector,
        ]
    }

    fn scale(&self) -> Option<ScalePaths> {
        Some(workload::SCALE.clone())
    }
}

fn deadline(obj: &Value, errors: &mut Errors) {
    let Some(deadline) = i64_at(obj, &["spec", "progressDeadlineSeconds"]) else {
        return;
    };
    let path = SPEC.child("progressDeadlineSeconds");
    errors.not_negative(&path, Some(deadline));
    if deadline <= i64_at(obj, &["spec", "minReadySeconds"]).unwrap_or(0) {
        errors.invalid(&path, deadline, "must be greater than minReadySeconds");
    }
}

fn strategy(obj: &Value, errors: &mut Errors) {
    let path = SPEC.child("strategy");
    let empty = json!({});
    let strategy = at(obj, &["spec", "strategy"]).unwrap_or(&empty);
    let rolling = at(strategy, &["rollingUpdate"]);
    let rolling_path = path.child("rollingUpdate");
    match text(strategy, "type") {
        "Recreate" => {
            if rolling.is_some() {
                errors.forbidden(&rolling_path, "may not be specified when strategy `type` is 'Recreate'");
            }
        }
        "RollingUpdate" => match rolling {
            None => {
                let detail = "this should be defaulted and never be nil";
                errors.required(&rolling_path, detail);
            }
            Some(rolling) => rolling_update(rolling, &rolling_path, errors),
        },
        other => errors.not_supported(&path.child("type"), other, &["Recreate", "RollingUpdate"]),
    }
}

fn rolling_update(rolling: &Value, path: &Path<'_>, errors: &mut Errors) {
    let unavailable = amount(rolling.get("maxUnavailable"), &path.child("maxUnavailable"), errors);
    let surge = amount(rolling.get("maxSurge"), &path.child("maxSurge"), errors);
    let at = path.child("maxUnavailable");
    if unavailable.is_some_and(Amount::is_zero) && surge.is_some_and(Amount::is_zero) {
        let given = rolling.get("maxUnavailable").cloned().unwrap_or_default();
        errors.invalid(&at, given, "may not be 0 when `maxSurge` is 0");
    }
    intstr::at_most_all(rolling.get("maxUnavailable"), &at, errors);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Value {
        let mut obj = json!({"metadata": {"name": "a"}, "spec": {"selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "b"}]}}}});
        Deployment.default(&mut obj);
        obj
    }

    fn lines(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut obj = deployment();
        change(&mut obj);
        Deployment
            .validate(&obj, None)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn defaults() {
        let obj = deployment();
        assert_eq!(
            obj["spec"]["strategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
        );
        assert_eq!(obj["spec"]["replicas"], 1);
        assert_eq!(obj["spec"]["revisionHistoryLimit"], 10);
        assert_eq!(obj["spec"]["progressDeadlineSeconds"], 600);
        assert_eq!(obj["spec"]["template"]["spec"].get("enableServiceLinks"), None);
        let mut recreate = json!({"spec": {"strategy": {"type": "Recreate"}}});
        Deployment.default(&mut recreate);
        assert_eq!(recreate["spec"]["strategy"], json!({"type": "Recreate"}));
    }

    #[test]
    fn selector_and_template_agree() {
        assert_eq!(lines(|_| {}), Vec::<String>::new());
        assert_eq!(
            lines(|d| d["spec"]["template"]["metadata"]["labels"] = json!({"app": "b"})),
            [
                "spec.template.metadata.labels: Invalid value: {\"app\":\"b\"}: `selector` does not match template \
                 `labels`"
            ]
        );
        assert_eq!(
            lines(|d| d["spec"]["selector"] = json!({})),
            ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]
        );
        assert_eq!(
            lines(|d| d["spec"]["selector"] = Value::Null),
            ["spec.selector: Required value"]
        );
    }

    #[test]
    fn templates_are_checked() {
        assert_eq!(
            lines(|d| d["spec"]["template"]["spec"]["restartPolicy"] = json!("Never")),
            [r#"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#]
        );
        assert_eq!(
            lines(|d| d["spec"]["template"]["spec"]["containers"][0]["image"] = json!("")),
            ["spec.template.spec.containers[0].image: Required value"]
        );
        assert_eq!(
            lines(|d| d["spec"]["template"]["spec"]["activeDeadlineSeconds"] = json!(3)),
            [
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in Deployment is not \
                 Supported"
            ]
        );
    }

    #[test]
    fn strategies_are_checked() {
        let rolling = |unavailable: Value, surge: Value| {
            lines(|d| {
                d["spec"]["strategy"]["rollingUpdate"] = json!({"maxUnavailable": unavailable, "maxSurge": surge});
            })
        };
        assert_eq!(rolling(json!(0), json!("1%")), Vec::<String>::new());
        assert_eq!(
            rolling(json!(0), json!("0%")),
            ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"]
        );
        assert!(rolling(json!("x"), json!(1))[0].contains("a valid percent string must be"));
        assert_eq!(
            rolling(json!("101%"), json!(1)),
            ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"]
        );
        assert_eq!(
            lines(|d| d["spec"]["strategy"]["type"] = json!("Recreate")),
            ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"]
        );
        assert_eq!(
            lines(|d| d["spec"]["replicas"] = json!(-1)),
            ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]
        );
    }

    #[test]
    fn annotations_make_a_generation_and_labels_do_not() {
        let old = deployment();
        let mut new = old.clone();
        new["metadata"]["labels"] = json!({"a": "b"});
        assert!(!Deployment.changes_generation(&new, &old));
        new["metadata"]["annotations"] = json!({"a": "b"});
        assert!(Deployment.changes_generation(&new, &old));
    }

    #[test]
    fn rows() {
        let mut obj = deployment();
        obj["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        obj["status"] = json!({"readyReplicas": 1, "updatedReplicas": 1});
        let now = "2026-01-01T00:02:00Z".parse().unwrap();
        assert_eq!(
            Deployment.cells(&obj, now),
            [
                json!("a"),
                json!("1/1"),
                json!(1),
                json!(0),
                json!("2m"),
                json!("a"),
                json!("b"),
                json!("app=a")
            ]
        );
    }
}
