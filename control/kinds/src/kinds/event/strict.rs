//! What `events.k8s.io/v1` asks of events beyond what core/v1 does. Errors name the fields as they are stored, as
//! kube-apiserver's do.

use serde_json::Value;

use crate::invalid::Invalid;
use crate::path::{Errors, Path};
use crate::value::{at, i64_at, str_at, text};

/// Fields that an update leaves alone.
const FIXED: [&str; 13] = [
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
];

/// What is wrong with an event that was written in this version.
pub(super) fn rules(new: &Value, old: Option<&Value>) -> Vec<Invalid> {
    let mut errors = Errors::new();
    match old {
        None => {
            series(new, &mut errors);
            created(new, &mut errors);
        }
        Some(old) => {
            if at(new, &["series"]) != at(old, &["series"]) {
                series(new, &mut errors);
            }
            for field in FIXED {
                let shown = if field == "reportingComponent" {
                    "reportingController"
                } else {
                    field
                };
                errors.immutable(&Path::new(shown), at(new, &[field]), at(old, &[field]));
            }
        }
    }
    errors.into_vec()
}

fn series(event: &Value, errors: &mut Errors) {
    let Some(series) = at(event, &["series"]).filter(|series| series.is_object()) else {
        return;
    };
    if i64_at(series, &["count"]).unwrap_or(0) < 2 {
        errors.invalid(&Path::new("series.count"), "", "should be at least 2");
    }
    if str_at(series, &["lastObservedTime"]).is_none() {
        errors.required(&Path::new("series.lastObservedTime"), "");
    }
}

/// What only older clients say, they say through core/v1.
fn created(event: &Value, errors: &mut Errors) {
    if str_at(event, &["eventTime"]).is_none() {
        errors.required(&Path::new("eventTime"), "");
    }
    let type_ = text(event, "type");
    if !matches!(type_, "Normal" | "Warning") {
        errors.invalid(&Path::new("type"), "", format!("has invalid value: {type_}"));
    }
    let mut unset = |field: &str, given: bool| {
        if given {
            errors.invalid(&Path::new(field), "", "needs to be unset");
        }
    };
    for time in ["firstTimestamp", "lastTimestamp"] {
        unset(time, str_at(event, &[time]).is_some());
    }
    unset("count", i64_at(event, &["count"]).unwrap_or(0) != 0);
    let source = |key: &str| str_at(event, &["source", key]).is_some_and(|text| !text.is_empty());
    unset("source", source("component") || source("host"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(new: &Value, old: Option<&Value>) -> Vec<String> {
        rules(new, old).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_older_clients_say_is_not_taken() {
        let good = json!({"eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "source": {}});
        assert_eq!(shown(&good, None), [""; 0]);
        let old = json!({"type": "Odd", "count": 2, "firstTimestamp": "2026-01-01T00:00:00Z",
            "source": {"component": "x"}, "series": {"count": 1}});
        let expected = [
            r#"series.count: Invalid value: "": should be at least 2"#,
            "series.lastObservedTime: Required value",
            "eventTime: Required value",
            r#"type: Invalid value: "": has invalid value: Odd"#,
            r#"firstTimestamp: Invalid value: "": needs to be unset"#,
            r#"count: Invalid value: "": needs to be unset"#,
            r#"source: Invalid value: "": needs to be unset"#,
        ];
        assert_eq!(shown(&old, None), expected);
    }

    #[test]
    fn only_the_series_goes_on() {
        let event = json!({"reason": "R", "type": "Normal"});
        let mut next = event.clone();
        next["series"] = json!({"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"});
        assert_eq!(shown(&next, Some(&event)), [""; 0]);
        next["reason"] = json!("S");
        assert_eq!(
            shown(&next, Some(&event)),
            [r#"reason: Invalid value: "S": field is immutable"#]
        );
    }
}
