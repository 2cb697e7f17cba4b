//! Events, stored as core/v1 has them.

mod conversion;
mod strict;

pub use conversion::CONVERSION;

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;

use crate::invalid::Invalid;
use crate::names;
use crate::path::{Errors, Path};
use crate::strategy::{Column, Strategy};
use crate::table::{text as column, wide};
use crate::value::{at, i64_at, str_at, text};
use crate::{table, time};

/// The strategy of Events.
#[derive(Debug, Clone, Copy, Default)]
pub struct Event;

impl Strategy for Event {
    fn validate(&self, new: &Value, _: Option<&Value>) -> Vec<Invalid> {
        let mut errors = Errors::new();
        let own = str_at(new, &["metadata", "namespace"]).unwrap_or("");
        let involved = str_at(new, &["involvedObject", "namespace"]).unwrap_or("");
        // Events about cluster-scoped objects live in the namespace default.
        let dated = at(new, &["eventTime"]).is_some();
        let matches = match (involved, dated) {
            ("", false) => own.is_empty() || own == "default",
            ("", true) => matches!(own, "default" | "kube-system"),
            (involved, false) => own == involved,
            (_, true) => true,
        };
        if !matches {
            errors.invalid(
                &Path::new("involvedObject.namespace"),
                involved,
                "does not match event.namespace",
            );
        }
        // Only events of the newer style carry a time with microseconds, and only they are checked closely.
        if dated {
            detailed(new, &mut errors);
        }
        errors.into_vec()
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                column("Last Seen", "When it happened last"),
                column("Type", "Normal or Warning"),
                column("Reason", "Reason in one word"),
                column("Object", "Object the event is about"),
                wide("Subobject", "Part of that object"),
                wide("Source", "Component that reports it"),
                column("Message", "What happened"),
                wide("First Seen", "When it happened first"),
                wide("Count", "How often it happened"),
                wide("Name", "Name of the event"),
            ]
        }
    }

    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        let event_time = str_at(obj, &["eventTime"]);
        let first = str_at(obj, &["firstTimestamp"]).or(event_time);
        let mut last = str_at(obj, &["lastTimestamp"]).or(first);
        let mut count = i64_at(obj, &["count"]).filter(|c| *c != 0).unwrap_or(1);
        if let Some(series) = at(obj, &["series"]) {
            last = str_at(series, &["lastObservedTime"]).or(last);
            count = i64_at(series, &["count"]).unwrap_or(count);
        }
        let involved = |key| str_at(obj, &["involvedObject", key]).unwrap_or("");
        let kind = involved("kind").to_lowercase();
        let target = match involved("name") {
            "" => kind,
            name => format!("{kind}/{name}"),
        };
        let component = str_at(obj, &["source", "component"]).or(str_at(obj, &["reportingComponent"]));
        let host = str_at(obj, &["source", "host"]).or(str_at(obj, &["reportingInstance"]));
        let source = match (component.unwrap_or(""), host) {
            (component, Some(host)) => format!("{component}, {host}"),
            (component, None) => component.to_owned(),
        };
        vec![
            time::since(last, now).into(),
            text(obj, "type").into(),
            text(obj, "reason").into(),
            target.into(),
            involved("fieldPath").into(),
            source.into(),
            text(obj, "message").trim().into(),
            time::since(first, now).into(),
            count.into(),
            table::name(obj),
        ]
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ]
    }

    fn selectable_field<'a>(&self, obj: &'a Value, name: &str) -> Option<Cow<'a, str>> {
        if !self.selectable_field_names().contains(&name) {
            return None;
        }
        let found = match name.split_once('.') {
            Some((part, key)) => str_at(obj, &[part, key]),
            None if name == "source" => str_at(obj, &["source", "component"]).or(str_at(obj, &["reportingComponent"])),
            None => str_at(obj, &[name]),
        };
        Some(found.unwrap_or("").into())
    }
}

fn detailed(event: &Value, errors: &mut Errors) {
    const LIMIT: usize = 128;
    let controller = text(event, "reportingComponent");
    let path = Path::new("reportingController");
    if controller.is_empty() {
        errors.required(&path, "");
    } else {
        errors.invalid_each(&path, controller, names::qualified_name_errors(controller));
    }
    for key in ["reportingInstance", "action", "reason"] {
        let content = text(event, key);
        let path = Path::new(key);
        if content.is_empty() {
            errors.required(&path, "");
        } else if content.len() > LIMIT {
            errors.invalid(&path, content, format!("can have at most {LIMIT} characters"));
        }
    }
    let message = text(event, "message");
    if message.len() > 1024 {
        errors.invalid(&Path::new("message"), message, "can have at most 1024 characters");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_count_and_date_events() {
        let event = json!({"metadata": {"name": "e"}, "type": "Warning", "reason": "BackOff", "message": "again\n",
            "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}"},
            "source": {"component": "kubelet", "host": "n"}, "count": 3,
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:50Z"});
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(
            Event.cells(&event, now),
            [
                json!("10s"),
                json!("Warning"),
                json!("BackOff"),
                json!("pod/p"),
                json!("spec.containers{a}"),
                json!("kubelet, n"),
                json!("again"),
                json!("60s"),
                json!(3),
                json!("e")
            ]
        );
        let fields = Event.selectable_fields(&event);
        assert!(fields.contains(&("source".into(), "kubelet".into())));
        assert!(fields.contains(&("involvedObject.name".into(), "p".into())));
    }

    #[test]
    fn namespaces_agree() {
        let event = |own: &str, involved: &str| {
            Event.validate(
                &json!({"metadata": {"namespace": own}, "involvedObject": {"namespace": involved}}),
                None,
            )
        };
        assert_eq!(event("a", "a"), vec![]);
        assert_eq!(event("default", ""), vec![]);
        assert_eq!(
            event("a", "b")[0].to_string(),
            r#"involvedObject.namespace: Invalid value: "b": does not match event.namespace"#
        );
    }
}
