//! The ownership of fields: an object with its `managedFields`, a line `---`, what somebody applies or writes.

use barepod_schema::fields::{self, ApplyOptions, UpdateOptions};
use barepod_schema::{TypeRef, check, type_of};
use serde_json::Value;

use crate::{parts, value};

const NOW: &str = "2026-01-02T03:04:05Z";

/// An object and another one, as far as they fit the type.
fn both(data: &[u8], ty: TypeRef) -> Option<(Value, Value)> {
    let mut parts = parts(data);
    let mut fits = || {
        let mut object = value(parts.next())?;
        check::check(ty, &mut object).ok()?;
        let map = object.as_object_mut()?;
        map.entry("metadata")
            .or_insert_with(|| Value::Object(Default::default()));
        map.get("metadata").is_some_and(Value::is_object).then_some(object)
    };
    Some((fits()?, fits()?))
}

fn types() -> impl Iterator<Item = TypeRef> {
    [("", "Pod"), ("", "Service"), ("apps", "Deployment")]
        .into_iter()
        .filter_map(|(group, kind)| type_of(group, "v1", kind))
}

pub fn apply(data: &[u8]) {
    for ty in types() {
        let Some((live, config)) = both(data, ty) else { continue };
        for force in [false, true] {
            let options = ApplyOptions {
                manager: "fuzz",
                force,
                api_version: "v1",
                subresource: "",
                now: NOW,
                reset_fields: &["status"],
            };
            let Ok(first) = fields::apply(ty, Some(&live), &config, &options) else {
                continue;
            };
            // Entries that no server has written are dropped; then the next one begins the books.
            let Ok(once) = fields::apply(ty, Some(&first), &config, &options) else {
                continue;
            };
            let again = fields::apply(ty, Some(&once), &config, &options);
            assert_eq!(again, Ok(once), "who applies the same again changes nothing");
        }
    }
}

pub fn update(data: &[u8]) {
    for ty in types() {
        let Some((old, mut new)) = both(data, ty) else { continue };
        let options = UpdateOptions {
            manager: "fuzz",
            api_version: "v1",
            subresource: "",
            now: NOW,
            reset_fields: &[],
        };
        fields::update(ty, Some(&old), &mut new, &options);
        let entries = new.pointer("/metadata/managedFields");
        assert!(entries.is_none_or(Value::is_array), "{entries:?}");
    }
}
