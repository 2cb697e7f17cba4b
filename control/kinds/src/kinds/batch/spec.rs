//! The specification of a job, by itself and in the template of a CronJob.

use serde_json::Value;

use crate::path::{Errors, Path};
use crate::podspec::{self, template};
use crate::rules::{Check, Rule, rule};
use crate::value::{at, i64_at, list_at, str_at, text};
use crate::warnings::Warnings;
use crate::{names, rules};

const MAX_INDEXED: i64 = 100_000;
const MAX_WITH_MANY: i64 = 10_000;
const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];

/// Checks of single fields; the same below `spec` and below a template's `spec`.
const RULES: &[Rule] = &[
    rule("spec.parallelism", Check::AtLeast(0)),
    rule("spec.completions", Check::AtLeast(0)),
    rule("spec.activeDeadlineSeconds", Check::AtLeast(0)),
    rule("spec.backoffLimit", Check::AtLeast(0)),
    rule("spec.ttlSecondsAfterFinished", Check::AtLeast(0)),
    rule("spec.backoffLimitPerIndex", Check::AtLeast(0)),
    rule("spec.maxFailedIndexes", Check::AtLeast(0)),
    rule("spec.managedBy", Check::Text(names::domain_prefixed_path_errors)),
    rule("spec.managedBy", Check::Longest(63)),
    rule("spec.completionMode", Check::AnyOf(&["Indexed", "NonIndexed"])),
];

/// Warns about the `spec` of `holder`, found at `path`.
pub(super) fn warn(holder: &Value, path: &Path<'_>, warnings: &mut Warnings) {
    let Some(spec) = at(holder, &["spec"]) else { return };
    let count = |key| i64_at(spec, &[key]).unwrap_or(0);
    let indexed = text(spec, "completionMode") == "Indexed";
    if indexed && count("completions") > MAX_INDEXED && count("parallelism") > MAX_WITH_MANY {
        let what = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, \
                    Kubernetes might not be able to track completedIndexes when a big number of indexes fail";
        warnings.at(path, what);
    }
    if let Some(template) = at(spec, &["template"]) {
        podspec::warnings::template(template, &path.child("template"), warnings);
    }
}

/// Checks everything but the selector. `holder` is the object whose `spec` this is, found at `base`.
pub(super) fn check(holder: &Value, base: Option<&Path<'_>>, errors: &mut Errors) {
    rules::check_below(base, RULES, holder, errors);
    let own = Path::new("spec");
    let below;
    let path = match base {
        Some(base) => {
            below = base.child("spec");
            &below
        }
        None => &own,
    };
    let empty = Value::Object(serde_json::Map::new());
    let spec = at(holder, &["spec"]).unwrap_or(&empty);
    indexes(spec, path, errors);
    let failure_policy = at(spec, &["podFailurePolicy"]);
    if let Some(policy) = failure_policy {
        self::failure_policy(spec, policy, &path.child("podFailurePolicy"), errors);
    }
    if let Some(policy) = at(spec, &["successPolicy"]) {
        let at = path.child("successPolicy");
        if text(spec, "completionMode") == "Indexed" {
            success_policy(spec, policy, &at, errors);
        } else {
            errors.invalid(&at, policy.clone(), "requires indexed completion mode");
        }
    }
    let replacement = spec.get("podReplacementPolicy");
    let supported: &[&str] = match failure_policy {
        Some(_) => &["Failed"],
        None => &["Failed", "TerminatingOrFailed"],
    };
    errors.optional_one_of(&path.child("podReplacementPolicy"), replacement, supported);
    let template_path = path.child("template");
    let template = at(spec, &["template"]).unwrap_or(&empty);
    template::validate_any(template, &template_path, errors);
    let restart = str_at(template, &["spec", "restartPolicy"]).unwrap_or("");
    let restart_path = template_path.child("spec.restartPolicy");
    match restart {
        "" | "Always" => errors.required(&restart_path, r#"valid values: "OnFailure", "Never""#),
        "OnFailure" if failure_policy.is_some() => errors.invalid(
            &restart_path,
            restart,
            r#"only "Never" is supported when podFailurePolicy is specified"#,
        ),
        _ => {}
    }
}

/// What index, completions and limits have to do with each other.
fn indexes(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let number = |key: &str| i64_at(spec, &[key]);
    let (completions, parallelism) = (number("completions"), number("parallelism"));
    let (per_index, max_failed) = (number("backoffLimitPerIndex"), number("maxFailedIndexes"));
    if max_failed.is_some() && per_index.is_none() {
        errors.required(
            &path.child("backoffLimitPerIndex"),
            "when maxFailedIndexes is specified",
        );
    }
    let at_most = |errors: &mut Errors, key: &str, value: Option<i64>, most: i64, when: &str| {
        if let Some(value) = value.filter(|v| *v > most) {
            let detail = format!("must be less than or equal to {most}{when}");
            errors.invalid(&path.child(key), value, detail);
        }
    };
    if text(spec, "completionMode") != "Indexed" {
        for (key, value) in [("backoffLimitPerIndex", per_index), ("maxFailedIndexes", max_failed)] {
            if let Some(value) = value {
                errors.invalid(&path.child(key), value, "requires indexed completion mode");
            }
        }
        return;
    }
    if completions.is_none() {
        errors.required(&path.child("completions"), "when completion mode is Indexed");
    }
    at_most(
        errors,
        "parallelism",
        parallelism,
        MAX_INDEXED,
        " when completion mode is Indexed",
    );
    if let (Some(completions), Some(failed)) = (completions, max_failed)
        && failed > completions
    {
        errors.invalid(
            &path.child("maxFailedIndexes"),
            failed,
            "must be less than or equal to completions",
        );
    }
    at_most(errors, "maxFailedIndexes", max_failed, MAX_INDEXED, "");
    if completions.is_some_and(|n| n > MAX_INDEXED) && per_index.is_some() {
        if max_failed.is_none() {
            let detail = format!("must be specified when completions is above {MAX_INDEXED}");
            errors.required(&path.child("maxFailedIndexes"), &detail);
        }
        let when = format!(" when completions are above {MAX_INDEXED} and used with backoff limit per index");
        at_most(errors, "parallelism", parallelism, MAX_WITH_MANY, &when);
        at_most(errors, "maxFailedIndexes", max_failed, MAX_WITH_MANY, &when);
    }
}

fn failure_policy(spec: &Value, policy: &Value, path: &Path<'_>, errors: &mut Errors) {
    let rules = list_at(policy, &["rules"]);
    let list = path.child("rules");
    if rules.len() > 20 {
        errors.too_many(&list, rules.len(), 20);
    }
    for (i, rule) in rules.iter().enumerate() {
        let item = list.index(i);
        let action = text(rule, "action");
        let action_path = item.child("action");
        match action {
            "" => errors.required(
                &action_path,
                r#"valid values: ["Count" "FailIndex" "FailJob" "Ignore"]"#,
            ),
            "FailIndex" if i64_at(spec, &["backoffLimitPerIndex"]).is_none() => {
                errors.invalid(&action_path, action, "requires the backoffLimitPerIndex to be set");
            }
            _ => errors.one_of(&action_path, action, &ACTIONS),
        }
        let codes = at(rule, &["onExitCodes"]);
        let conditions = list_at(rule, &["onPodConditions"]);
        if let Some(codes) = codes {
            exit_codes(spec, codes, &item.child("onExitCodes"), errors);
        }
        pod_conditions(conditions, &item.child("onPodConditions"), errors);
        match (codes, conditions) {
            (Some(_), [_, ..]) => errors.invalid_unshown(
                &item,
                "specifying both OnExitCodes and OnPodConditions is not supported",
            ),
            (None, []) => {
                errors.invalid_unshown(&item, "specifying one of OnExitCodes and OnPodConditions is required");
            }
            _ => {}
        }
    }
}

fn pod_conditions(conditions: &[Value], path: &Path<'_>, errors: &mut Errors) {
    if conditions.len() > 20 {
        errors.too_many(path, conditions.len(), 20);
    }
    for (i, condition) in conditions.iter().enumerate() {
        let item = path.index(i);
        let kind = text(condition, "type");
        errors.invalid_each(&item.child("type"), kind, names::qualified_name_errors(kind));
        match text(condition, "status") {
            "" => errors.required(&item.child("status"), r#"valid values: ["False" "True" "Unknown"]"#),
            status => errors.one_of(&item.child("status"), status, &["False", "True", "Unknown"]),
        }
    }
}

fn exit_codes(spec: &Value, codes: &Value, path: &Path<'_>, errors: &mut Errors) {
    let operator = text(codes, "operator");
    match operator {
        "" => errors.required(&path.child("operator"), r#"valid values: ["In" "NotIn"]"#),
        _ => errors.one_of(&path.child("operator"), operator, &["In", "NotIn"]),
    }
    if let Some(name) = at(codes, &["containerName"]).and_then(Value::as_str) {
        let lists = ["containers", "initContainers"].map(|list| list_at(spec, &["template", "spec", list]));
        if !lists.iter().flat_map(|l| l.iter()).any(|c| text(c, "name") == name) {
            let detail = "must be one of the container or initContainer names in the pod template";
            errors.invalid(&path.child("containerName"), name, detail);
        }
    }
    let values = list_at(codes, &["values"]);
    let list = path.child("values");
    if values.is_empty() {
        errors.invalid(&list, values.to_vec(), "at least one value is required");
    } else if values.len() > 255 {
        errors.too_many(&list, values.len(), 255);
    }
    for (i, value) in values.iter().enumerate() {
        if operator == "In" && value.as_i64() == Some(0) {
            errors.invalid(&list.index(i), 0, "must not be 0 for the In operator");
        }
        if values[..i].contains(value) {
            errors.duplicate(&list.index(i), value.clone());
        }
    }
    if !values.is_sorted_by_key(|v| v.as_i64().unwrap_or(0)) {
        errors.invalid(&list, values.to_vec(), "must be ordered");
    }
}

fn success_policy(spec: &Value, policy: &Value, path: &Path<'_>, errors: &mut Errors) {
    let rules = list_at(policy, &["rules"]);
    let list = path.child("rules");
    if rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.required(&list, detail);
    }
    if rules.len() > 20 {
        errors.too_many(&list, rules.len(), 20);
    }
    let completions = i64_at(spec, &["completions"]).unwrap_or(0);
    for (i, rule) in rules.iter().enumerate() {
        let item = list.index(i);
        let (count, indexes) = (i64_at(rule, &["succeededCount"]), at(rule, &["succeededIndexes"]));
        let indexes = indexes.and_then(Value::as_str);
        if count.is_none() && indexes.is_none() {
            let detail = "at least one of succeededCount or succeededIndexes must be specified";
            errors.required(&item, detail);
        }
        let mut total = 0;
        if let Some(text) = indexes {
            let at = item.child("succeededIndexes");
            if text.len() > 64 * 1024 {
                errors.too_long(&at, 64 * 1024);
            }
            match count_indexes(text, completions) {
                Ok(found) => total = found,
                Err(why) => errors.invalid(&at, text, format!("error parsing succeededIndexes: {why}")),
            }
        }
        let Some(count) = count else { continue };
        let at = item.child("succeededCount");
        errors.not_negative(&at, Some(count));
        let limits = [
            (completions, "specified completions"),
            (total, "indexes in the specified succeededIndexes field"),
        ];
        for (limit, what) in limits.into_iter().take(1 + usize::from(indexes.is_some())) {
            if count > limit {
                let detail = format!("must be less than or equal to {limit} (the number of {what})");
                errors.invalid(&at, count, detail);
            }
        }
    }
}

/// Number of indexes in a text such as `1,3-5,7`.
pub(super) fn count_indexes(text: &str, completions: i64) -> Result<i64, String> {
    let mut total = 0;
    let mut last: Option<i64> = None;
    if text.is_empty() {
        return Ok(0);
    }
    let number = |text: &str| {
        text.parse::<i64>()
            .ok()
            .filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
            .ok_or_else(|| format!("cannot convert string to integer for index: {text:?}"))
    };
    for part in text.split(',') {
        let (first, end) = match part.split_once('-') {
            Some((_, end)) if end.contains('-') => {
                return Err(format!(
                    "the fragment {part:?} violates the requirement that an index interval can have at \
                                    most two parts separated by '-'"
                ));
            }
            Some((first, end)) => (number(first)?, Some(number(end)?)),
            None => (number(part)?, None),
        };
        if last.is_some_and(|last| last >= first) {
            let last = last.unwrap_or(0);
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        let end = match end {
            Some(end) if end <= first => {
                return Err(format!("non-increasing order, previous: {first}, current: {end}"));
            }
            Some(end) => end,
            None => first,
        };
        for index in [first, end] {
            if index >= completions {
                return Err(format!("too large index: {:?}", index.to_string()));
            }
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}
