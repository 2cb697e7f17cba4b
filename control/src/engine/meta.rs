//! What the engine itself does to `metadata`.

use barepod_kinds::time::rfc3339;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::status::{ApiError, ApiResult};
use super::{Target, registry::Kind};

/// The metadata of an object; an empty one is made if there is none.
pub fn of(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let map = object.as_object_mut().expect("an object was just put there");
    let metadata = map.entry("metadata").or_insert(Value::Null);
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut().expect("an object was just put there")
}

/// A string of the metadata, empty if absent.
pub fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object
        .get("metadata")
        .and_then(|metadata| metadata.get(key))
        .and_then(Value::as_str)
        .unwrap_or("")
}

/// The namespace in the body must be the one of the path; it is filled in.
pub fn set_namespace(object: &mut Value, target: Target<'_>) -> ApiResult<()> {
    let namespaced = target.kind.resource.namespaced;
    let metadata = of(object);
    let given = metadata.get("namespace").and_then(Value::as_str).unwrap_or("");
    if namespaced {
        if !given.is_empty() && given != target.namespace {
            let message = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(ApiError::bad_request(message));
        }
        metadata.insert("namespace".into(), target.namespace.into());
    } else {
        if !given.is_empty() {
            let message = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(ApiError::bad_request(message));
        }
        metadata.remove("namespace");
    }
    Ok(())
}

/// The system fields of a new object.
pub fn fill_new(object: &mut Value, now: Timestamp) {
    let metadata = of(object);
    for key in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
    ] {
        metadata.remove(key);
    }
    metadata.insert("uid".into(), new_uid().into());
    metadata.insert("creationTimestamp".into(), rfc3339(now).into());
}

/// Fields that an update may leave out but not change.
pub fn keep_system_fields(new: &mut Value, old: &Value) {
    let Some(before) = old.get("metadata").and_then(Value::as_object) else {
        return;
    };
    let metadata = of(new);
    metadata.remove("selfLink");
    for key in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        let absent = metadata.get(key).is_none_or(|value| value.is_null() || value == "");
        match before.get(key) {
            Some(value) if absent => {
                metadata.insert(key.into(), value.clone());
            }
            Some(_) => {}
            None if key == "deletionTimestamp" || key == "deletionGracePeriodSeconds" => {
                metadata.remove(key);
            }
            None => {}
        }
    }
    match before.get("generation") {
        Some(value) => metadata.insert("generation".into(), value.clone()),
        None => metadata.remove("generation"),
    };
    if metadata.get("managedFields").is_none_or(Value::is_null) {
        match before.get("managedFields") {
            Some(value) => metadata.insert("managedFields".into(), value.clone()),
            None => metadata.remove("managedFields"),
        };
    }
}

/// Checks `resourceVersion` and `uid` that a write carries against the stored object.
pub fn check_preconditions(new: &Value, old: &Value, kind: &Kind, name: &str) -> ApiResult<()> {
    let (uid, stored) = (text(new, "uid"), text(old, "uid"));
    if !uid.is_empty() && uid != stored {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {stored}");
        return Err(ApiError::conflict(kind, name, &why));
    }
    let revision = text(new, "resourceVersion");
    if !revision.is_empty() && revision != "0" && revision != text(old, "resourceVersion") {
        return Err(ApiError::modified(kind, name));
    }
    Ok(())
}

/// A random UUID, version 4 of RFC 9562.
pub fn new_uid() -> String {
    let mut bytes = random::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 0xf] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text
}

/// A name made from `generateName`: cut so that five random characters still fit.
pub fn generate_name(base: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    const BASE: usize = 63 - 5;
    let mut end = base.len().min(BASE);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = base[..end].to_owned();
    for byte in random::<5>() {
        name.push(char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
    }
    name
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    getrandom::fill(&mut bytes).expect("the kernel's random numbers are always available, see getrandom(2)");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_and_names() {
        let uid = new_uid();
        assert_eq!((uid.len(), &uid[14..15]), (36, "4"));
        assert_ne!(uid, new_uid());
        assert_eq!(generate_name("web-").len(), 9);
        assert_eq!(generate_name(&"x".repeat(80)).len(), 63);
    }
}
