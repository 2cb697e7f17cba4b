//! What a written status of a job must be.

use serde_json::Value;

use super::spec::count_indexes;
use crate::conditions::is_true;
use crate::path::{Errors, Path};
use crate::rules::{Check, Rule, rule};
use crate::value::{at, i64_at, str_at};

pub(super) const RULES: &[Rule] = &[
    rule("status.active", Check::AtLeast(0)),
    rule("status.succeeded", Check::AtLeast(0)),
    rule("status.failed", Check::AtLeast(0)),
    rule("status.ready", Check::AtLeast(0)),
    rule("status.terminating", Check::AtLeast(0)),
    rule("status.uncountedTerminatedPods.succeeded", Check::Unique(&[])),
    rule("status.uncountedTerminatedPods.failed", Check::Unique(&[])),
    rule("status.completionTime", Check::SetOnce),
];

/// Conditions that exclude each other.
const EXCLUSIVE: [(&str, &str); 4] = [
    ("Complete", "Failed"),
    ("Complete", "FailureTarget"),
    ("SuccessCriteriaMet", "Failed"),
    ("SuccessCriteriaMet", "FailureTarget"),
];
/// Conditions that come only after another one.
const AFTER: [(&str, &str); 2] = [("Failed", "FailureTarget"), ("Complete", "SuccessCriteriaMet")];

pub(super) fn check(new: &Value, old: &Value, errors: &mut Errors) {
    let conditions = Path::new("status.conditions");
    for (one, other) in EXCLUSIVE {
        if is_true(new, one) && is_true(new, other) {
            errors.invalid_unshown(
                &conditions,
                format!("cannot set {one}=True and {other}=true conditions"),
            );
        }
    }
    for (late, early) in AFTER {
        if is_true(new, late) && !is_true(new, early) && !is_true(old, late) {
            errors.invalid_unshown(
                &conditions,
                format!("cannot set {late}=True condition without the {early}=true condition"),
            );
        }
    }
    for kind in ["Failed", "Complete", "FailureTarget", "SuccessCriteriaMet"] {
        if is_true(old, kind) && !is_true(new, kind) {
            errors.invalid_unshown(
                &conditions,
                format!("cannot disable the terminal {kind}=True condition"),
            );
        }
    }
    let complete = is_true(new, "Complete");
    let ended = Path::new("status.completionTime");
    match str_at(new, &["status", "completionTime"]) {
        Some(time) if !complete => errors.invalid(
            &ended,
            time,
            "cannot set completionTime when there is no Complete=True condition",
        ),
        None if complete => errors.required(&ended, "completionTime is required for Complete jobs"),
        _ => {}
    }
    finished(new, old, complete || is_true(new, "Failed"), errors);
    for key in ["failed", "succeeded"] {
        let count = |obj| i64_at(obj, &["status", key]).unwrap_or(0);
        if count(new) < count(old) {
            let detail = format!("cannot decrease the {key} counter");
            errors.invalid(&Path::new("status").child(key), count(new), detail);
        }
    }
    let completed = str_at(new, &["status", "completedIndexes"]);
    if let (Some(text), Some(limit)) = (completed, i64_at(new, &["spec", "completions"]))
        && let Err(why) = count_indexes(text, limit)
    {
        let detail = format!("error parsing completedIndexes: {why}");
        errors.invalid(&Path::new("status.completedIndexes"), text, detail);
    }
}

fn finished(new: &Value, old: &Value, finished: bool, errors: &mut Errors) {
    let was = is_true(old, "Complete") || is_true(old, "Failed");
    if !finished || was {
        return;
    }
    for key in ["active", "terminating"] {
        if let Some(count) = i64_at(new, &["status", key]).filter(|n| *n > 0) {
            let detail = format!("{key}>0 is invalid for finished job");
            errors.invalid(&Path::new("status").child(key), count, detail);
        }
    }
    if at(new, &["status", "startTime"]).is_none() {
        errors.required(&Path::new("status.startTime"), "startTime is required for finished job");
    }
}
