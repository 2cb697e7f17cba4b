//! Small helpers to read and change JSON objects.

use serde_json::{Map, Value};

/// The value at a path of object keys; `null` counts as absent.
pub fn at<'a>(obj: &'a Value, path: &[&str]) -> Option<&'a Value> {
    let mut here = obj;
    for key in path {
        here = here.get(*key)?;
    }
    (!here.is_null()).then_some(here)
}

/// The string at a path; an empty string counts as absent.
pub fn str_at<'a>(obj: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(obj, path).and_then(Value::as_str).filter(|s| !s.is_empty())
}

/// The integer at a path.
pub fn i64_at(obj: &Value, path: &[&str]) -> Option<i64> {
    at(obj, path).and_then(Value::as_i64)
}

/// The boolean at a path; absent is false.
pub fn bool_at(obj: &Value, path: &[&str]) -> bool {
    at(obj, path).and_then(Value::as_bool).unwrap_or(false)
}

/// The items of the list at a path; absent is empty.
pub fn list_at<'a>(obj: &'a Value, path: &[&str]) -> &'a [Value] {
    at(obj, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The entries of the object at a path, if it is one.
pub fn map_at<'a>(obj: &'a Value, path: &[&str]) -> Option<&'a Map<String, Value>> {
    at(obj, path).and_then(Value::as_object)
}

/// The strings of the list at a path.
pub fn strings<'a>(obj: &'a Value, path: &[&str]) -> impl Iterator<Item = &'a str> {
    list_at(obj, path).iter().filter_map(Value::as_str)
}

/// A key's value as a string, empty when absent.
pub fn text<'a>(obj: &'a Value, key: &str) -> &'a str {
    obj.get(key).and_then(Value::as_str).unwrap_or("")
}

/// The object under `key`, made when absent or null; `None` when either is something else.
pub fn object_mut<'a>(obj: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    let slot = obj.as_object_mut()?.entry(key).or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut()
}

/// The items under `key` for changing; absent is empty.
pub fn items_mut<'a>(obj: &'a mut Value, key: &str) -> &'a mut [Value] {
    obj.get_mut(key)
        .and_then(Value::as_array_mut)
        .map_or(&mut [], Vec::as_mut_slice)
}

/// Sets `key` where it is absent or null.
pub fn fill(obj: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(map) = obj.as_object_mut() {
        match map.get_mut(key) {
            Some(slot) if slot.is_null() => *slot = value.into(),
            Some(_) => {}
            None => {
                map.insert(key.to_owned(), value.into());
            }
        }
    }
}

/// Replaces what `new` has under `key` by what `old` has.
pub fn keep(new: &mut Value, old: &Value, key: &str) {
    if let Some(map) = new.as_object_mut() {
        match old.get(key) {
            Some(value) => {
                map.insert(key.to_owned(), value.clone());
            }
            None => {
                map.remove(key);
            }
        }
    }
}

/// Empties the status of a new object.
pub fn reset_status(obj: &mut Value) {
    if let Some(map) = obj.as_object_mut()
        && let Some(status) = map.get_mut("status")
    {
        *status = Value::Object(Map::new());
    }
}

/// Restores the metadata of `old` in `new`, except the books of who owns what and the resource version.
pub fn keep_metadata(new: &mut Value, old: &Value) {
    let Some(mut metadata) = old.get("metadata").cloned() else {
        return;
    };
    if let (Some(written), Some(map)) = (new.get_mut("metadata"), metadata.as_object_mut()) {
        for key in ["managedFields", "resourceVersion"] {
            match written.get_mut(key).map(Value::take) {
                Some(value) => map.insert(key.to_owned(), value),
                None => map.remove(key),
            };
        }
        *written = metadata;
    }
}

/// Restores everything of `old` in `new`, except status, and metadata's managed fields and resource version.
pub fn keep_all_but_status(new: &mut Value, old: &Value) {
    let (Some(map), Some(stored)) = (new.as_object_mut(), old.as_object()) else {
        return;
    };
    map.retain(|key, _| key == "status" || key == "metadata" || stored.contains_key(key));
    for (key, value) in stored {
        if key != "status" && key != "metadata" {
            map.insert(key.clone(), value.clone());
        }
    }
    let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    // Labels, annotations, finalizers and owners may be written along with the status; what the system owns may not.
    let Some(before) = stored.get("metadata").and_then(Value::as_object) else {
        return;
    };
    for key in [
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ] {
        match before.get(key) {
            Some(value) => {
                metadata.insert(key.to_owned(), value.clone());
            }
            None => {
                metadata.remove(key);
            }
        }
    }
}
