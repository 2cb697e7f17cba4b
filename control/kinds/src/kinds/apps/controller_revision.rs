//! ControllerRevisions.

use jiff::Timestamp;
use serde_json::Value;

use crate::cells::Cell;
use crate::declared::{Declared, PLAIN};
use crate::rules::{Check, rule};
use crate::table::{AGE, NAME, shows};
use crate::value::{bool_at, list_at, text};

/// ControllerRevisions.
pub static CONTROLLER_REVISION: Declared = Declared {
    columns: &[
        NAME,
        shows("Controller", Cell::By(controller), "The object whose revision this is"),
        shows("Revision", Cell::Number("revision"), "Number of the revision"),
        AGE,
    ],
    rules: &[
        rule("data", Check::Given("data is mandatory")),
        rule("data", Check::Immutable),
        rule("revision", Check::AtLeast(0)),
    ],
    ..PLAIN
};

/// `statefulset.apps/web`
fn controller(revision: &Value, _now: Timestamp) -> Value {
    let owners = list_at(revision, &["metadata", "ownerReferences"]);
    let Some(owner) = owners.iter().find(|owner| bool_at(owner, &["controller"])) else {
        return "<none>".into();
    };
    let group = text(owner, "apiVersion").split_once('/').map_or("", |(group, _)| group);
    let kind = match group {
        "" => text(owner, "kind").to_owned(),
        group => format!("{}.{group}", text(owner, "kind")),
    };
    format!("{}/{}", kind.to_lowercase(), text(owner, "name")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;
    use serde_json::json;

    #[test]
    fn revisions_name_their_controller_and_stay() {
        let old = json!({"metadata": {"name": "web-1", "creationTimestamp": "2026-01-01T00:00:00Z", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "controller": true}]}, "data": {"a": 1}, "revision": 1});
        let now = "2026-01-01T00:00:05Z".parse().unwrap();
        assert_eq!(
            CONTROLLER_REVISION.cells(&old, now),
            [json!("web-1"), json!("statefulset.apps/web"), json!(1), json!("5s")]
        );
        let mut new = old.clone();
        new["revision"] = json!(2);
        assert_eq!(CONTROLLER_REVISION.validate(&new, Some(&old)), vec![]);
        new["data"] = json!({});
        let lines = |new: &Value| {
            let errors = CONTROLLER_REVISION.validate(new, Some(&old)).into_iter();
            errors.map(|error| error.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(lines(&new), ["data: Invalid value: {}: field is immutable"]);
        new.as_object_mut().unwrap().remove("data");
        assert_eq!(lines(&new)[0], "data: Required value: data is mandatory");
    }
}
