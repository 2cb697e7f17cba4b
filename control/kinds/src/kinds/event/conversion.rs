//! Events as `events.k8s.io/v1` has them: the same object with other names.

use serde_json::{Map, Value};

use super::strict;
use crate::conversion::{Conversion, rename};

/// Names in `events.k8s.io/v1` and in the stored core version.
const NAMES: [(&str, &str); 7] = [
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// The version `events.k8s.io/v1`.
pub static CONVERSION: Conversion = Conversion {
    stored: ("", "v1"),
    default: |_| {},
    to_stored: |event| {
        if let Some(map) = event.as_object_mut() {
            NAMES.iter().for_each(|(own, core)| rename(map, own, core));
            map.entry("involvedObject").or_insert_with(|| Map::new().into());
        }
    },
    from_stored: |event| {
        if let Some(map) = event.as_object_mut() {
            NAMES.iter().for_each(|(own, core)| rename(map, core, own));
            // Only the core version always has these.
            for key in ["regarding", "deprecatedSource"] {
                if map.get(key).and_then(Value::as_object).is_some_and(Map::is_empty) {
                    map.remove(key);
                }
            }
        }
    },
    selectable: &[
        ("reason", "reason"),
        ("regarding.kind", "involvedObject.kind"),
        ("regarding.namespace", "involvedObject.namespace"),
        ("regarding.name", "involvedObject.name"),
        ("regarding.uid", "involvedObject.uid"),
        ("regarding.apiVersion", "involvedObject.apiVersion"),
        ("regarding.resourceVersion", "involvedObject.resourceVersion"),
        ("regarding.fieldPath", "involvedObject.fieldPath"),
        ("reportingController", "reportingComponent"),
        ("type", "type"),
    ],
    rules: strict::rules,
};

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_change_there_and_back() {
        let own = json!({"metadata": {"name": "e"}, "note": "n", "regarding": {"kind": "Pod"}, "reason": "R", "action": "A",
            "reportingController": "c", "deprecatedCount": 2, "eventTime": "2026-01-01T00:00:00.000000Z"});
        let mut event = own.clone();
        (CONVERSION.to_stored)(&mut event);
        assert_eq!(
            event,
            json!({"metadata": {"name": "e"}, "message": "n", "involvedObject": {"kind": "Pod"}, "reason": "R",
                "action": "A", "reportingComponent": "c", "count": 2, "eventTime": "2026-01-01T00:00:00.000000Z"})
        );
        (CONVERSION.from_stored)(&mut event);
        assert_eq!(event, own);
    }
}
