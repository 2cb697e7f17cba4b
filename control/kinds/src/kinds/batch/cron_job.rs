//! CronJobs.

use serde_json::Value;

use super::job;
use super::spec;
use crate::cells::Cell;
use crate::cron::Schedule;
use crate::declared::{Declared, NewStatus, PLAIN, SPEC};
use crate::kinds::workload;
use crate::path::{Errors, Path};
use crate::rules::{Check, flag, number, rule, text as text_default};
use crate::table::{AGE, NAME, counts, says, shows, shows_wide};
use crate::value::{at, bool_at, object_mut, str_at};

/// Jobs are named after their CronJob and eleven more characters.
const LONGEST_NAME: usize = 52;

/// CronJobs.
pub static CRON_JOB: Declared = Declared {
    generation: SPEC,
    new_status: NewStatus::Empty,
    columns: &[
        NAME,
        shows(
            "Schedule",
            Cell::Text("spec.schedule", ""),
            "When jobs are started, in cron's form",
        ),
        shows(
            "Timezone",
            Cell::Text("spec.timeZone", "<none>"),
            "Time zone of the schedule",
        ),
        says("Suspend", Cell::Said("spec.suspend"), "Whether starting is suspended"),
        counts("Active", Cell::Count("status.active"), "Jobs that run"),
        shows(
            "Last Schedule",
            Cell::Since("status.lastScheduleTime", "<none>"),
            "Time since a job was started",
        ),
        AGE,
        shows_wide(
            "Containers",
            Cell::Each("spec.jobTemplate.spec.template.spec.containers", "name"),
            "Names of the template's containers",
        ),
        shows_wide(
            "Images",
            Cell::Each("spec.jobTemplate.spec.template.spec.containers", "image"),
            "Images of the template's containers",
        ),
        shows_wide(
            "Selector",
            Cell::Selector("spec.jobTemplate.spec.selector"),
            "Label selector of the pods",
        ),
    ],
    defaults: &[
        text_default("spec.concurrencyPolicy", "Allow"),
        flag("spec.suspend", false),
        number("spec.successfulJobsHistoryLimit", 3),
        number("spec.failedJobsHistoryLimit", 1),
    ],
    rules: &[
        rule("spec.schedule", Check::Required("")),
        rule("spec.startingDeadlineSeconds", Check::AtLeast(0)),
        rule("spec.concurrencyPolicy", Check::OneOf(&["Allow", "Forbid", "Replace"])),
        rule("spec.successfulJobsHistoryLimit", Check::AtLeast(0)),
        rule("spec.failedJobsHistoryLimit", Check::AtLeast(0)),
    ],
    more_defaults: |cron| {
        if let Some(template) = cron.get_mut("spec").and_then(|s| s.get_mut("jobTemplate")) {
            let _ = object_mut(template, "metadata");
            if let Some(spec) = template.get_mut("spec") {
                job::default_spec(spec);
            }
        }
    },
    more_rules,
    warn: |cron, old, warnings| {
        workload::warn_of_name(cron, old, warnings);
        if !workload::is_news(cron, old) {
            return;
        }
        if let Some(job) = at(cron, &["spec", "jobTemplate"]) {
            spec::warn(job, &Path::new("spec.jobTemplate.spec"), warnings);
        }
        if str_at(cron, &["spec", "schedule"]).is_some_and(|schedule| schedule.contains("TZ")) {
            warnings.say(
                "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone field instead, see \
                 https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#time-zones for more details",
            );
        }
    },
    ..PLAIN
};

fn more_rules(cron: &Value, old: Option<&Value>, errors: &mut Errors) {
    let name = str_at(cron, &["metadata", "name"]).unwrap_or("");
    if old.is_none() && name.len() > LONGEST_NAME {
        errors.invalid(&Path::new("metadata.name"), name, "must be no more than 52 characters");
    }
    schedule(cron, old, errors);
    let zone = |obj: &Value| {
        at(obj, &["spec", "timeZone"])
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    if let Some(zone) = zone(cron).filter(|new| old.and_then(zone).as_ref() != Some(new)) {
        time_zone(&zone, errors);
    }
    let empty = Value::Object(serde_json::Map::new());
    let template = at(cron, &["spec", "jobTemplate"]).unwrap_or(&empty);
    let path = Path::new("spec.jobTemplate");
    spec::check(template, Some(&path), errors);
    if let Some(selector) = at(template, &["spec", "selector"]) {
        let detail = "`selector` will be auto-generated";
        errors.invalid(&path.child("spec.selector"), selector.clone(), detail);
    }
    if bool_at(template, &["spec", "manualSelector"]) {
        errors.not_supported(&path.child("spec.manualSelector"), "true", &["nil", "false"]);
    }
}

fn schedule(cron: &Value, old: Option<&Value>, errors: &mut Errors) {
    let path = Path::new("spec.schedule");
    let Some(text) = str_at(cron, &["spec", "schedule"]) else {
        return;
    };
    if let Err(error) = Schedule::parse(text) {
        errors.invalid(&path, text, error.to_string());
    }
    if !text.contains("TZ") {
        return;
    }
    let had = old
        .and_then(|old| str_at(old, &["spec", "schedule"]))
        .is_some_and(|s| s.contains("TZ"));
    if !had {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.invalid(&path, text, detail);
    } else if at(cron, &["spec", "timeZone"]).is_some() {
        let detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule";
        errors.invalid(&path, text, detail);
    }
}

fn time_zone(zone: &str, errors: &mut Errors) {
    let path = Path::new("spec.timeZone");
    if zone.is_empty() {
        errors.invalid(&path, zone, "timeZone must be nil or non-empty string");
        return;
    }
    let letters = |b: u8| b.is_ascii_alphanumeric() || b"._-+".contains(&b);
    let good = |part: &str| {
        !matches!(part, "" | "." | "..") && !part.starts_with('-') && part.len() <= 14 && part.bytes().all(letters)
    };
    if !zone.split('/').all(good) {
        errors.invalid(&path, zone, format!("unknown time zone {zone}"));
    } else if zone.eq_ignore_ascii_case("local") {
        let detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.invalid(&path, zone, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;
    use serde_json::json;

    fn cron(change: impl FnOnce(&mut Value)) -> Value {
        let mut cron = json!({"metadata": {"name": "c", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {
            "schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "OnFailure",
                "containers": [{"name": "a", "image": "b"}]}}}}}});
        change(&mut cron);
        CRON_JOB.default(&mut cron);
        cron
    }

    fn lines(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let errors = CRON_JOB.validate(&cron(change), None);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn defaults_and_rows() {
        let obj = cron(|_| {});
        assert_eq!(obj["spec"]["concurrencyPolicy"], "Allow");
        assert_eq!(obj["spec"]["jobTemplate"]["spec"].get("completions"), None);
        assert_eq!(
            obj["spec"]["jobTemplate"]["spec"]["template"]["spec"]["dnsPolicy"],
            "ClusterFirst"
        );
        assert_eq!(CRON_JOB.validate(&obj, None), vec![]);
        let now = "2026-01-01T00:00:10Z".parse().unwrap();
        assert_eq!(
            CRON_JOB.cells(&obj, now),
            [
                json!("c"),
                json!("*/5 * * * *"),
                json!("<none>"),
                json!("False"),
                json!(0),
                json!("<none>"),
                json!("10s"),
                json!("a"),
                json!("b"),
                json!("<none>")
            ]
        );
    }

    #[test]
    fn mistakes_are_reported() {
        assert_eq!(
            lines(|c| c["spec"]["schedule"] = json!("bad")),
            [r#"spec.schedule: Invalid value: "bad": expected exactly 5 fields, found 1: [bad]"#]
        );
        assert_eq!(
            lines(|c| c["spec"]["schedule"] = json!("TZ=UTC 0 * * * *")),
            [
                "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone \
                 field instead"
            ]
        );
        assert_eq!(
            lines(|c| c["spec"]["timeZone"] = json!("a b")),
            [r#"spec.timeZone: Invalid value: "a b": unknown time zone a b"#]
        );
        assert_eq!(
            lines(|c| c["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] = json!("Always")),
            [
                "spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""
            ]
        );
        assert_eq!(
            lines(|c| c["spec"]["jobTemplate"]["spec"]["backoffLimit"] = json!(-1)),
            ["spec.jobTemplate.spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0"]
        );
        assert_eq!(
            lines(|c| c["metadata"]["name"] = json!("n".repeat(53))),
            [format!(
                "metadata.name: Invalid value: \"{}\": must be no more than 52 characters",
                "n".repeat(53)
            )]
        );
    }
}
