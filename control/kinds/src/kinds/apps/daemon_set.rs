//! DaemonSets.

use serde_json::{Value, json};

use crate::cells::Cell;
use crate::context::Context;
use crate::declared::{Declared, NewStatus, PLAIN, SPEC};
use crate::intstr::{self, Amount, amount};
use crate::invalid::Denied;
use crate::kinds::workload;
use crate::path::{Errors, Path};
use crate::podspec::template;
use crate::rules::{Check, number, object, rule, text as text_default};
use crate::table::{AGE, NAME, counts, shows};
use crate::value::{at, fill, object_mut, str_at, text};

/// Counts changes of the template; older clients and controllers read it.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// DaemonSets.
pub static DAEMON_SET: Declared = Declared {
    generation: SPEC,
    new_status: NewStatus::Zeros(&[
        "currentNumberScheduled",
        "desiredNumberScheduled",
        "numberMisscheduled",
        "numberReady",
    ]),
    columns: &[
        NAME,
        counts(
            "Desired",
            Cell::Number("status.desiredNumberScheduled"),
            "Nodes that are to run the pod",
        ),
        counts(
            "Current",
            Cell::Number("status.currentNumberScheduled"),
            "Nodes of those that run it",
        ),
        counts("Ready", Cell::Number("status.numberReady"), "Nodes with a ready pod"),
        counts(
            "Up-to-date",
            Cell::Number("status.updatedNumberScheduled"),
            "Nodes with a pod of the newest template",
        ),
        counts(
            "Available",
            Cell::Number("status.numberAvailable"),
            "Nodes with a pod ready for long enough",
        ),
        shows(
            "Node Selector",
            Cell::Labels("spec.template.spec.nodeSelector"),
            "Labels of the nodes that are to run the pod",
        ),
        AGE,
        workload::CONTAINERS_OF_TEMPLATE,
        workload::IMAGES_OF_TEMPLATE,
        workload::SELECTOR_OF_SPEC,
    ],
    defaults: &[
        number("spec.revisionHistoryLimit", 10),
        object("spec.updateStrategy"),
        text_default("spec.updateStrategy.type", "RollingUpdate"),
    ],
    rules: &[
        rule("spec.minReadySeconds", Check::AtLeast(0)),
        rule("spec.revisionHistoryLimit", Check::AtLeast(0)),
        rule("spec.selector", Check::Immutable),
    ],
    status_rules: &[
        rule("status.currentNumberScheduled", Check::AtLeast(0)),
        rule("status.numberMisscheduled", Check::AtLeast(0)),
        rule("status.desiredNumberScheduled", Check::AtLeast(0)),
        rule("status.numberReady", Check::AtLeast(0)),
        rule("status.observedGeneration", Check::AtLeast(0)),
        rule("status.updatedNumberScheduled", Check::AtLeast(0)),
        rule("status.numberAvailable", Check::AtLeast(0)),
        rule("status.numberUnavailable", Check::AtLeast(0)),
        rule("status.collisionCount", Check::AtLeast(0)),
    ],
    more_defaults: default,
    prepare,
    more_rules: |set, _, errors| {
        workload::selector_and_template(set, "daemonset", "DaemonSet", errors);
        strategy(set, errors);
    },
    warn: workload::warn_of_template,
    ..PLAIN
};

fn default(set: &mut Value) {
    let Some(spec) = set.get_mut("spec").filter(|s| s.is_object()) else {
        return;
    };
    if let Some(template) = spec.get_mut("template") {
        template::default(template);
    }
    if let Some(strategy) = spec.get_mut("updateStrategy")
        && text(strategy, "type") == "RollingUpdate"
    {
        let _ = object_mut(strategy, "rollingUpdate");
        if let Some(rolling) = strategy.get_mut("rollingUpdate") {
            fill(rolling, "maxUnavailable", 1);
            fill(rolling, "maxSurge", 0);
        }
    }
}

fn prepare(_cx: &Context<'_>, set: &mut Value, old: Option<&Value>) -> Result<(), Denied> {
    let template = |set: &Value| at(set, &["spec", "template"]).cloned();
    let counted = |set: &Value| {
        let text = str_at(set, &["metadata", "annotations", TEMPLATE_GENERATION]);
        text.and_then(|text| text.parse::<u64>().ok())
    };
    let next = match old {
        None => counted(set).unwrap_or(0).max(1),
        Some(old) => counted(old).unwrap_or(0) + u64::from(template(set) != template(old)),
    };
    if let Some(metadata) = object_mut(set, "metadata") {
        let annotations = metadata.entry("annotations").or_insert(Value::Null);
        if annotations.is_null() {
            *annotations = json!({});
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(TEMPLATE_GENERATION.into(), next.to_string().into());
        }
    }
    Ok(())
}

fn strategy(set: &Value, errors: &mut Errors) {
    let path = Path::new("spec.updateStrategy");
    let empty = json!({});
    let strategy = at(set, &["spec", "updateStrategy"]).unwrap_or(&empty);
    let rolling_path = path.child("rollingUpdate");
    match (text(strategy, "type"), at(strategy, &["rollingUpdate"])) {
        ("OnDelete", _) => {}
        ("RollingUpdate", None) => errors.required(&rolling_path, ""),
        ("RollingUpdate", Some(rolling)) => rolling_update(rolling, &rolling_path, errors),
        (other, _) => errors.not_supported(&path, other, &["RollingUpdate", "OnDelete"]),
    }
}

fn rolling_update(rolling: &Value, path: &Path<'_>, errors: &mut Errors) {
    let mut share = |key| {
        let at = path.child(key);
        let found = amount(rolling.get(key), &at, errors);
        intstr::at_most_all(rolling.get(key), &at, errors);
        found.is_some_and(|amount: Amount| !amount.is_zero())
    };
    let (unavailable, surge) = (share("maxUnavailable"), share("maxSurge"));
    if unavailable && surge {
        let given = rolling.get("maxSurge").cloned().unwrap_or_default();
        let detail = "may not be set when maxUnavailable is non-zero";
        errors.invalid(&path.child("maxSurge"), given, detail);
    } else if !unavailable && !surge {
        errors.required(&path.child("maxUnavailable"), "cannot be 0 when maxSurge is 0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{EmptyCluster, Settings};
    use crate::strategy::Strategy;

    fn set() -> Value {
        let mut set = json!({"metadata": {"name": "d", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {
            "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"nodeSelector": {"x": "y"}, "containers": [{"name": "c", "image": "i"}]}}}});
        DAEMON_SET.default(&mut set);
        set
    }

    fn lines(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut set = set();
        change(&mut set);
        DAEMON_SET
            .validate(&set, None)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn defaults_counting_and_rows() {
        let settings = Settings::default();
        let cx = Context {
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            user: "u",
            groups: &[],
            namespace: "default",
            cluster: &EmptyCluster,
            settings: &settings,
        };
        let mut made = set();
        DAEMON_SET.prepare_create(&cx, &mut made).unwrap();
        assert_eq!(made["metadata"]["annotations"][TEMPLATE_GENERATION], "1");
        assert_eq!(
            made["spec"]["updateStrategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}})
        );
        assert_eq!(DAEMON_SET.validate(&made, None), vec![]);
        let mut new = made.clone();
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("j");
        new["metadata"].as_object_mut().unwrap().remove("annotations");
        DAEMON_SET.prepare_update(&cx, &mut new, &made).unwrap();
        assert_eq!(new["metadata"]["annotations"][TEMPLATE_GENERATION], "2");
        let now = "2026-01-01T00:00:09Z".parse().unwrap();
        assert_eq!(
            DAEMON_SET.cells(&made, now),
            [
                json!("d"),
                json!(0),
                json!(0),
                json!(0),
                json!(0),
                json!(0),
                json!("x=y"),
                json!("9s"),
                json!("c"),
                json!("i"),
                json!("a=b")
            ]
        );
    }

    #[test]
    fn strategies_are_checked() {
        let rolling = |unavailable: Value, surge: Value| {
            lines(|s| {
                s["spec"]["updateStrategy"]["rollingUpdate"] = json!({"maxUnavailable": unavailable, "maxSurge": surge})
            })
        };
        assert_eq!(rolling(json!(0), json!("10%")), Vec::<String>::new());
        assert_eq!(
            rolling(json!(0), json!(0)),
            ["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"]
        );
        assert_eq!(
            rolling(json!(1), json!(1)),
            [
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is \
                 non-zero"
            ]
        );
        assert_eq!(
            lines(|s| s["spec"]["selector"] = json!({})),
            ["spec.selector: Invalid value: {}: empty selector is invalid for daemonset"]
        );
    }
}
