//! Jobs.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{spec, status};
use crate::cells::Cell;
use crate::conditions;
use crate::context::Context;
use crate::declared::{Declared, NewStatus, PLAIN, SPEC};
use crate::delete::{self, DeleteMode, DeleteOptions, Propagation};
use crate::invalid::Denied;
use crate::kinds::workload;
use crate::labels;
use crate::path::{Errors, Path};
use crate::podspec::template;
use crate::rules::{Check, flag, rule, text as text_default};
use crate::table::{AGE, NAME, shows};
use crate::time;
use crate::value::{at, bool_at, fill, i64_at, items_mut, map_at, object_mut, str_at};

const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";
/// The labels as they were before they had a prefix, which pods still carry.
const OLD_UID_LABEL: &str = "controller-uid";
const OLD_NAME_LABEL: &str = "job-name";

/// Jobs.
pub static JOB: Declared = Declared {
    generation: SPEC,
    new_status: NewStatus::Empty,
    columns: &[
        NAME,
        shows("Status", Cell::By(state), "What the job is doing, in one word"),
        shows(
            "Completions",
            Cell::By(completions),
            "Pods that succeeded, of those wanted",
        ),
        shows("Duration", Cell::By(duration), "How long the job has run, or took"),
        AGE,
        workload::CONTAINERS_OF_TEMPLATE,
        workload::IMAGES_OF_TEMPLATE,
        workload::SELECTOR_OF_SPEC,
    ],
    selectable: &["status.successful"],
    defaults: &[
        text_default("spec.completionMode", "NonIndexed"),
        flag("spec.suspend", false),
        flag("spec.manualSelector", false),
    ],
    rules: &[
        rule("spec.selector", Check::Required("")),
        rule("spec.selector", Check::Selector),
        rule("spec.selector", Check::Immutable),
        rule("spec.completionMode", Check::Immutable),
        rule("spec.podFailurePolicy", Check::Immutable),
        rule("spec.backoffLimitPerIndex", Check::Immutable),
        rule("spec.managedBy", Check::Immutable),
        rule("spec.successPolicy", Check::Immutable),
    ],
    status_rules: status::RULES,
    more_defaults: default,
    prepare,
    more_rules,
    warn: |job, old, warnings| {
        workload::warn_of_name(job, old, warnings);
        if workload::is_news(job, old) {
            spec::warn(job, &Path::new("spec"), warnings);
        }
    },
    more_status_rules: status::check,
    delete: orphan_pods,
    ..PLAIN
};

fn default(job: &mut Value) {
    if let Some(labels) = workload::labels_of_template(job)
        && map_at(job, &["metadata", "labels"]).is_none_or(serde_json::Map::is_empty)
        && let Some(metadata) = object_mut(job, "metadata")
    {
        metadata.insert("labels".into(), labels.into());
    }
    let Some(spec) = job.get_mut("spec").filter(|s| s.is_object()) else {
        return;
    };
    default_spec(spec);
    // One pod has to succeed, unless any number may (a work queue has only a parallelism).
    if at(spec, &["parallelism"]).is_none() {
        fill(spec, "completions", 1);
    }
    fill(spec, "parallelism", 1);
    let backoff = if at(spec, &["backoffLimitPerIndex"]).is_some() {
        i64::from(i32::MAX)
    } else {
        6
    };
    fill(spec, "backoffLimit", backoff);
    let replacement = match at(spec, &["podFailurePolicy"]) {
        Some(_) => "Failed",
        None => "TerminatingOrFailed",
    };
    fill(spec, "podReplacementPolicy", replacement);
}

/// What templates of CronJobs get, too.
pub(super) fn default_spec(spec: &mut Value) {
    if let Some(template) = spec.get_mut("template") {
        template::default(template);
    }
    if let Some(policy) = spec.get_mut("podFailurePolicy") {
        for rule in items_mut(policy, "rules") {
            for condition in items_mut(rule, "onPodConditions") {
                fill(condition, "status", "True");
            }
        }
    }
}

/// A new job selects the pods that carry its own UID, unless it brings a selector and says so.
fn prepare(_cx: &Context<'_>, job: &mut Value, old: Option<&Value>) -> Result<(), Denied> {
    if old.is_some() || bool_at(job, &["spec", "manualSelector"]) {
        return Ok(());
    }
    let own = |key: &str| str_at(job, &["metadata", key]).unwrap_or("").to_owned();
    let (uid, name) = (own("uid"), own("name"));
    let Some(spec) = job.get_mut("spec").filter(|s| s.is_object()) else {
        return Ok(());
    };
    if let Some(template) = object_mut(spec, "template") {
        let metadata = template.entry("metadata").or_insert_with(|| json!({}));
        if let Some(labels) = object_mut(metadata, "labels") {
            for (key, value) in [
                (UID_LABEL, &uid),
                (OLD_UID_LABEL, &uid),
                (NAME_LABEL, &name),
                (OLD_NAME_LABEL, &name),
            ] {
                labels.insert(key.into(), value.as_str().into());
            }
        }
    }
    if let Some(selector) = object_mut(spec, "selector") {
        let labels = selector.entry("matchLabels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(UID_LABEL.into(), uid.into());
        }
    }
    Ok(())
}

fn more_rules(job: &Value, old: Option<&Value>, errors: &mut Errors) {
    spec::check(job, None, errors);
    let labels = map_at(job, &["spec", "template", "metadata", "labels"]);
    let selector = at(job, &["spec", "selector"]);
    if let Some(selector) = selector {
        let empty = json!({});
        let template = at(job, &["spec", "template"]).unwrap_or(&empty);
        let matches = labels::selector_matches(selector, labels);
        template::selected(matches, template, &Path::new("spec.template"), errors);
    }
    match old {
        None => created(job, selector, labels, errors),
        Some(old) => updated(job, old, errors),
    }
}

/// What must hold when a job is made: generated labels are there, and the names of its pods are possible.
fn created(
    job: &Value,
    selector: Option<&Value>,
    labels: Option<&serde_json::Map<String, Value>>,
    errors: &mut Errors,
) {
    let own = |key: &str| str_at(job, &["metadata", key]).unwrap_or("");
    if !bool_at(job, &["spec", "manualSelector"])
        && let Some(selector) = selector
    {
        let path = Path::new("spec.template.metadata");
        let mut generated = serde_json::Map::new();
        for (key, value) in [
            (OLD_UID_LABEL, own("uid")),
            (OLD_NAME_LABEL, own("name")),
            (UID_LABEL, own("uid")),
            (NAME_LABEL, own("name")),
        ] {
            generated.insert(key.into(), value.into());
            match labels.and_then(|l| l.get(key)).and_then(Value::as_str) {
                None => errors.required(&path.child("labels").key(key), &format!("must be '{value}'")),
                Some(actual) if actual != value => errors.invalid(
                    &path.child("labels").key(key),
                    json!(labels),
                    format!("must be '{value}'"),
                ),
                Some(_) => {}
            }
        }
        if !labels::selector_matches(selector, Some(&generated)) {
            errors.invalid(
                &Path::new("spec.selector"),
                selector.clone(),
                "`selector` not auto-generated",
            );
        }
    }
    let completions = i64_at(job, &["spec", "completions"]).unwrap_or(0);
    if str_at(job, &["spec", "completionMode"]) == Some("Indexed") && completions > 0 {
        let hostname = format!("{}-{}", own("name"), completions - 1);
        if !crate::names::label_errors(&hostname).is_empty() {
            errors.invalid(
                &Path::new("metadata.name"),
                own("name"),
                format!("will not able to create pod with invalid DNS label: {hostname}"),
            );
        }
    }
}

fn updated(job: &Value, old: &Value, errors: &mut Errors) {
    let path = Path::new("spec.completions");
    let number = |obj: &Value, key: &str| i64_at(obj, &["spec", key]);
    let (new, before) = (number(job, "completions"), number(old, "completions"));
    if str_at(job, &["spec", "completionMode"]) != Some("Indexed") {
        errors.immutable(
            &path,
            at(job, &["spec", "completions"]),
            at(old, &["spec", "completions"]),
        );
    } else if new.is_some() && new != before && new != number(job, "parallelism") {
        errors.invalid(
            &path,
            new.unwrap_or(0),
            "can only be modified in tandem with spec.parallelism",
        );
    }
    let template = |obj: &Value| at(obj, &["spec", "template"]).cloned().unwrap_or_default();
    let (mut rest, before) = (template(job), template(old));
    // What steers scheduling may change until the job's first pod starts (KEP-2926).
    let suspended = bool_at(old, &["spec", "suspend"]) && at(old, &["status", "startTime"]).is_none();
    if suspended {
        for (part, keys) in [
            ("spec", &["nodeSelector", "tolerations", "schedulingGates"][..]),
            ("metadata", &["annotations", "labels"]),
        ] {
            let stored = before.get(part).cloned().unwrap_or_default();
            if let Some(part) = rest.get_mut(part) {
                keys.iter().for_each(|key| crate::value::keep(part, &stored, key));
            }
        }
        let stored = at(&before, &["spec", "affinity", "nodeAffinity"]).cloned();
        if let Some(spec) = rest.get_mut("spec") {
            keep_node_affinity(spec, stored);
        }
    }
    errors.immutable(&Path::new("spec.template"), Some(&rest), Some(&before));
}

/// Puts the stored node affinity in, so that it does not count as changed.
fn keep_node_affinity(spec: &mut Value, stored: Option<Value>) {
    match stored {
        Some(stored) => {
            if let Some(affinity) = object_mut(spec, "affinity") {
                affinity.insert("nodeAffinity".into(), stored);
            }
        }
        None => {
            let emptied = match spec.get_mut("affinity").and_then(Value::as_object_mut) {
                Some(affinity) => {
                    affinity.remove("nodeAffinity");
                    affinity.is_empty()
                }
                None => false,
            };
            if emptied && let Some(spec) = spec.as_object_mut() {
                spec.remove("affinity");
            }
        }
    }
}

/// Pods stay unless the request says otherwise, as they did before garbage collection.
fn orphan_pods(job: &Value, options: &DeleteOptions, now: Timestamp) -> DeleteMode {
    let propagation = options.propagation.or(Some(Propagation::Orphan));
    delete::generic(
        job,
        &DeleteOptions {
            propagation,
            ..*options
        },
        now,
    )
}

fn state(job: &Value, _now: Timestamp) -> Value {
    if conditions::is_true(job, "Complete") {
        "Complete"
    } else if conditions::is_true(job, "Failed") {
        "Failed"
    } else if at(job, &["metadata", "deletionTimestamp"]).is_some() {
        "Terminating"
    } else if conditions::is_true(job, "Suspended") {
        "Suspended"
    } else if conditions::is_true(job, "FailureTarget") {
        "FailureTarget"
    } else if conditions::is_true(job, "SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
    .into()
}

fn completions(job: &Value, _now: Timestamp) -> Value {
    let succeeded = i64_at(job, &["status", "succeeded"]).unwrap_or(0);
    let parallelism = i64_at(job, &["spec", "parallelism"]).unwrap_or(0);
    match i64_at(job, &["spec", "completions"]) {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    }
    .into()
}

fn duration(job: &Value, now: Timestamp) -> Value {
    let at = |key: &str| str_at(job, &["status", key]).and_then(time::parse);
    match (at("startTime"), at("completionTime")) {
        (None, _) => String::new(),
        (Some(start), end) => time::human(end.unwrap_or(now).as_second() - start.as_second()),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{EmptyCluster, Settings};
    use crate::strategy::Strategy;

    fn job(change: impl FnOnce(&mut Value)) -> Value {
        let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}}}});
        change(&mut job);
        let settings = Settings::default();
        let cx = Context {
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            user: "u",
            groups: &[],
            namespace: "default",
            cluster: &EmptyCluster,
            settings: &settings,
        };
        JOB.default(&mut job);
        JOB.prepare_create(&cx, &mut job).unwrap();
        job
    }

    fn lines(change: impl FnOnce(&mut Value)) -> Vec<String> {
        JOB.validate(&job(change), None)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_bare_job_is_filled() {
        let made = job(|_| {});
        let spec = &made["spec"];
        assert_eq!(
            (&spec["completions"], &spec["parallelism"], &spec["backoffLimit"]),
            (&json!(1), &json!(1), &json!(6))
        );
        assert_eq!(
            spec["selector"],
            json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}})
        );
        assert_eq!(spec["template"]["metadata"]["labels"]["job-name"], "j");
        assert_eq!(spec["podReplacementPolicy"], "TerminatingOrFailed");
        assert_eq!(JOB.validate(&made, None), vec![]);
        let queue = job(|j| j["spec"]["parallelism"] = json!(3));
        assert_eq!(queue["spec"].get("completions"), None);
        let per_index = job(|j| {
            j["spec"]["completionMode"] = json!("Indexed");
            j["spec"]["completions"] = json!(2);
            j["spec"]["backoffLimitPerIndex"] = json!(1);
        });
        assert_eq!(per_index["spec"]["backoffLimit"], 2_147_483_647);
        assert_eq!(JOB.validate(&per_index, None), vec![]);
    }

    #[test]
    fn mistakes_are_reported() {
        assert_eq!(
            lines(|j| j["spec"]["template"]["spec"]["restartPolicy"] = json!("Always")),
            [r#"spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never""#]
        );
        assert_eq!(
            lines(|j| j["spec"]["backoffLimit"] = json!(-1)),
            ["spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0"]
        );
        assert_eq!(
            lines(|j| j["spec"]["maxFailedIndexes"] = json!(1)),
            [
                "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
                "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode"
            ]
        );
        assert_eq!(
            lines(
                |j| j["spec"]["podFailurePolicy"] = json!({"rules": [{"action": "FailJob",
                "onExitCodes": {"operator": "In", "values": [3, 2]}, "onPodConditions": [{"type": "DisruptionTarget"}]}]})
            ),
            [
                "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [3,2]: must be ordered",
                "spec.podFailurePolicy.rules[0]: Invalid value: specifying both OnExitCodes and OnPodConditions is not \
                 supported"
            ]
        );
        assert_eq!(
            lines(|j| {
                j["spec"]["completionMode"] = json!("Indexed");
                j["spec"]["completions"] = json!(3);
                j["spec"]["successPolicy"] = json!({"rules": [{"succeededIndexes": "0-3"}]});
            }),
            [
                "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"0-3\": error parsing succeededIndexes: too \
                 large index: \"3\""
            ]
        );
        assert_eq!(
            lines(|j| j["spec"]["managedBy"] = json!("me")),
            ["spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")"]
        );
    }

    #[test]
    fn little_of_a_job_changes() {
        let old = job(|_| {});
        let mut new = old.clone();
        new["spec"]["parallelism"] = json!(2);
        new["spec"]["suspend"] = json!(true);
        assert_eq!(JOB.validate(&new, Some(&old)), vec![]);
        new["spec"]["completions"] = json!(2);
        new["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
        let fields: Vec<String> = JOB.validate(&new, Some(&old)).into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["spec.completions", "spec.template"]);
        let suspended = job(|j| j["spec"]["suspend"] = json!(true));
        let mut moved = suspended.clone();
        moved["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
        moved["spec"]["template"]["spec"]["affinity"] = json!({"nodeAffinity": {}});
        assert_eq!(JOB.validate(&moved, Some(&suspended)), vec![]);
    }

    #[test]
    fn rows_show_progress() {
        let mut obj = job(|_| {});
        obj["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        obj["status"] = json!({"startTime": "2026-01-01T00:00:01Z", "completionTime": "2026-01-01T00:00:08Z",
            "succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]});
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(
            JOB.cells(&obj, now),
            [
                "j",
                "Complete",
                "1/1",
                "7s",
                "60s",
                "a",
                "b",
                "batch.kubernetes.io/controller-uid=u"
            ]
        );
        let left = JOB.delete(&obj, &DeleteOptions::default(), now);
        assert!(matches!(left, DeleteMode::Keep(kept) if kept["metadata"]["finalizers"] == json!(["orphan"])));
    }
}
