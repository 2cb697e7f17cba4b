//! StatefulSets.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cells::Cell;
use crate::declared::{Declared, NewStatus, PLAIN, SPEC};
use crate::intstr::{self, Amount, amount};
use crate::kinds::{storage, workload};
use crate::labels;
use crate::meta;
use crate::names::NameRule;
use crate::path::{Errors, Path};
use crate::podspec::template;
use crate::rules::{Check, number, object, rule, text as text_default};
use crate::table::{AGE, NAME, shows};
use crate::value::{at, fill, i64_at, items_mut, keep, list_at, map_at, object_mut, str_at, text};
use crate::warnings::Warnings;

const PATH: Path<'static> = Path::new("spec");
/// What may change in the specification.
const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// StatefulSets.
pub static STATEFUL_SET: Declared = Declared {
    name_rule: NameRule::Label,
    generation: SPEC,
    new_status: NewStatus::Zeros(&["availableReplicas", "replicas"]),
    columns: &[
        NAME,
        shows("Ready", Cell::By(ready), "Ready pods of wanted pods"),
        AGE,
        workload::CONTAINERS_OF_TEMPLATE,
        workload::IMAGES_OF_TEMPLATE,
    ],
    scale: Some(&workload::SCALE),
    defaults: &[
        text_default("spec.podManagementPolicy", "OrderedReady"),
        object("spec.updateStrategy"),
        text_default("spec.updateStrategy.type", "RollingUpdate"),
        number("spec.revisionHistoryLimit", 10),
        object("spec.persistentVolumeClaimRetentionPolicy"),
        text_default("spec.persistentVolumeClaimRetentionPolicy.whenDeleted", "Retain"),
        text_default("spec.persistentVolumeClaimRetentionPolicy.whenScaled", "Retain"),
    ],
    rules: &[
        rule("spec.replicas", Check::AtLeast(0)),
        rule("spec.minReadySeconds", Check::AtLeast(0)),
        rule("spec.revisionHistoryLimit", Check::AtLeast(0)),
        rule("spec.ordinals.start", Check::AtLeast(0)),
        rule(
            "spec.persistentVolumeClaimRetentionPolicy.whenDeleted",
            Check::OneOf(&["Delete", "Retain"]),
        ),
        rule(
            "spec.persistentVolumeClaimRetentionPolicy.whenScaled",
            Check::OneOf(&["Delete", "Retain"]),
        ),
    ],
    status_rules: &[
        rule("status.replicas", Check::AtLeast(0)),
        rule("status.readyReplicas", Check::AtLeast(0)),
        rule("status.currentReplicas", Check::AtLeast(0)),
        rule("status.updatedReplicas", Check::AtLeast(0)),
        rule("status.availableReplicas", Check::AtLeast(0)),
        rule("status.observedGeneration", Check::AtLeast(0)),
        rule("status.collisionCount", Check::AtLeast(0)),
    ],
    more_defaults: default,
    more_rules,
    more_status_rules: |new, _, errors| {
        let count = |key| i64_at(new, &["status", key]).unwrap_or(0);
        let path = Path::new("status");
        for key in [
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
        ] {
            if count(key) > count("replicas") {
                errors.invalid(&path.child(key), count(key), "cannot be greater than status.replicas");
            }
        }
        if count("availableReplicas") > count("readyReplicas") {
            let detail = "cannot be greater than status.readyReplicas";
            errors.invalid(&path.child("availableReplicas"), count("availableReplicas"), detail);
        }
    },
    warn,
    ..PLAIN
};

fn warn(set: &Value, old: Option<&Value>, warnings: &mut Warnings) {
    workload::warn_of_template(set, old, warnings);
    let list = PATH.child("volumeClaimTemplates");
    for (i, claim) in list_at(set, &["spec", "volumeClaimTemplates"]).iter().enumerate() {
        if let Some(spec) = at(claim, &["spec"]).filter(|_| workload::is_news(set, old)) {
            storage::claim_warnings(spec, &list.index(i).child("Spec"), warnings);
        }
    }
}

fn default(set: &mut Value) {
    workload::default(set);
    let Some(spec) = set.get_mut("spec").filter(|s| s.is_object()) else {
        return;
    };
    if let Some(strategy) = spec.get_mut("updateStrategy")
        && text(strategy, "type") == "RollingUpdate"
    {
        let _ = object_mut(strategy, "rollingUpdate");
        if let Some(rolling) = strategy.get_mut("rollingUpdate") {
            fill(rolling, "partition", 0);
        }
    }
    for claim in items_mut(spec, "volumeClaimTemplates") {
        fill(claim, "apiVersion", "v1");
        fill(claim, "kind", "PersistentVolumeClaim");
        storage::default_claim(claim);
    }
}

fn more_rules(set: &Value, old: Option<&Value>, errors: &mut Errors) {
    let empty = json!({});
    let spec = at(set, &["spec"]).unwrap_or(&empty);
    let policy = text(spec, "podManagementPolicy");
    if policy.is_empty() {
        errors.required(&PATH.child("podManagementPolicy"), "");
    } else if !["OrderedReady", "Parallel"].contains(&policy) {
        let detail = "must be 'OrderedReady' or 'Parallel'";
        errors.invalid(&PATH.child("podManagementPolicy"), policy, detail);
    }
    strategy(spec, errors);
    selector_and_template(spec, errors);
    if let Some(old) = old {
        let mut rest = spec.clone();
        let stored = at(old, &["spec"]).unwrap_or(&empty);
        MUTABLE.iter().for_each(|key| keep(&mut rest, stored, key));
        if rest != *stored {
            errors.forbidden(
                &PATH,
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                 'minReadySeconds' are forbidden",
            );
        }
    }
}

fn strategy(spec: &Value, errors: &mut Errors) {
    let path = PATH.child("updateStrategy");
    let empty = json!({});
    let strategy = at(spec, &["updateStrategy"]).unwrap_or(&empty);
    let rolling_path = path.child("rollingUpdate");
    match (text(strategy, "type"), at(strategy, &["rollingUpdate"])) {
        ("", _) => errors.required(&path, ""),
        ("OnDelete", Some(rolling)) => errors.invalid(
            &rolling_path,
            rolling.clone(),
            "only allowed for updateStrategy 'RollingUpdate'",
        ),
        ("OnDelete" | "RollingUpdate", None) => {}
        ("RollingUpdate", Some(rolling)) => {
            errors.not_negative(&rolling_path.child("partition"), i64_at(rolling, &["partition"]));
            let at = rolling_path.child("maxUnavailable");
            let given = rolling.get("maxUnavailable");
            if amount(given, &at, errors).is_some_and(Amount::is_zero) {
                errors.invalid(&at, given.cloned().unwrap_or_default(), "cannot be 0");
            }
            intstr::at_most_all(given, &at, errors);
        }
        _ => errors.invalid(&path, strategy.clone(), "must be 'RollingUpdate' or 'OnDelete'"),
    }
}

/// The pod specification is not checked: its volumes are complete only with the claims of each pod.
fn selector_and_template(spec: &Value, errors: &mut Errors) {
    let path = PATH.child("selector");
    let empty = json!({});
    let template = at(spec, &["template"]).unwrap_or(&empty);
    let template_path = PATH.child("template");
    match at(spec, &["selector"]) {
        None => errors.required(&path, ""),
        Some(selector) => {
            labels::validate_selector(selector, &path, errors);
            if labels::is_empty(selector) {
                errors.invalid(&path, selector.clone(), "empty selector is invalid for statefulset");
            } else {
                let matches = labels::selector_matches(selector, template::template_labels(template));
                template::selected(matches, template, &template_path, errors);
            }
        }
    }
    labels::validate(
        template::template_labels(template),
        &template_path.child("labels"),
        errors,
    );
    let annotations = map_at(template, &["metadata", "annotations"]);
    meta::annotations(annotations, &template_path.child("annotations"), errors);
    let restart = str_at(template, &["spec", "restartPolicy"]).unwrap_or("");
    if restart != "Always" {
        errors.not_supported(&template_path.child("spec.restartPolicy"), restart, &["Always"]);
    }
    if at(template, &["spec", "activeDeadlineSeconds"]).is_some() {
        let detail = "activeDeadlineSeconds in StatefulSet is not Supported";
        errors.forbidden(&template_path.child("spec.activeDeadlineSeconds"), detail);
    }
}

fn ready(set: &Value, _now: Timestamp) -> Value {
    let count = |path: &[&str]| i64_at(set, path).unwrap_or(0);
    format!(
        "{}/{}",
        count(&["status", "readyReplicas"]),
        count(&["spec", "replicas"])
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;

    fn set() -> Value {
        let mut set = json!({"metadata": {"name": "s", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {
            "serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}}]}});
        STATEFUL_SET.default(&mut set);
        set
    }

    #[test]
    fn defaults_and_rows() {
        let obj = set();
        assert_eq!(obj["spec"]["podManagementPolicy"], "OrderedReady");
        assert_eq!(
            obj["spec"]["updateStrategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
        );
        let claim = &obj["spec"]["volumeClaimTemplates"][0];
        assert_eq!(
            (&claim["kind"], &claim["status"]["phase"]),
            (&json!("PersistentVolumeClaim"), &json!("Pending"))
        );
        assert_eq!(claim["spec"]["volumeMode"], "Filesystem");
        assert_eq!(STATEFUL_SET.validate(&obj, None), vec![]);
        let now = "2026-01-01T00:00:09Z".parse().unwrap();
        assert_eq!(STATEFUL_SET.cells(&obj, now), ["s", "0/1", "9s", "c", "i"]);
    }

    #[test]
    fn little_of_the_specification_changes() {
        let old = set();
        let mut new = old.clone();
        new["spec"]["replicas"] = json!(3);
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("j");
        assert_eq!(STATEFUL_SET.validate(&new, Some(&old)), vec![]);
        new["spec"]["serviceName"] = json!("t");
        let errors = STATEFUL_SET.validate(&new, Some(&old));
        assert!(
            errors[0]
                .to_string()
                .starts_with("spec: Forbidden: updates to statefulset spec for fields other than")
        );
    }

    #[test]
    fn mistakes_are_reported() {
        let lines = |change: fn(&mut Value)| {
            let mut set = set();
            change(&mut set);
            let errors = STATEFUL_SET.validate(&set, None);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            lines(|s| s["spec"]["podManagementPolicy"] = json!("Random")),
            ["spec.podManagementPolicy: Invalid value: \"Random\": must be 'OrderedReady' or 'Parallel'"]
        );
        assert_eq!(
            lines(|s| s["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = json!(0)),
            ["spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0"]
        );
        assert_eq!(
            lines(|s| s["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] = json!("Keep")),
            [
                "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"Keep\": supported values: \
                 \"Delete\", \"Retain\""
            ]
        );
    }
}
