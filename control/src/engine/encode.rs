//! Objects as JSON text, with a place for their revision.

use barepod_store::{Encoded, Object};
use serde_json::{Map, Value};

/// What is between kind and version, and the revision.
const BEFORE_REVISION: &[u8] = b"\"metadata\":{\"resourceVersion\":\"";

/// Writes an object so that the store can put `metadata.resourceVersion` in: it comes first in the metadata, and the
/// metadata comes right after kind and version, so that readers of the head need not go far.
pub fn encode(object: &Value) -> Encoded {
    let empty = Map::new();
    let map = object.as_object().unwrap_or(&empty);
    let mut out = Vec::with_capacity(1024);
    out.push(b'{');
    for key in ["kind", "apiVersion"] {
        if let Some(value) = map.get(key) {
            member(&mut out, key, value);
        }
    }
    separate(&mut out);
    out.extend_from_slice(BEFORE_REVISION);
    let splice = out.len();
    out.push(b'"');
    let metadata = map.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    for (key, value) in metadata.iter().filter(|(key, _)| *key != "resourceVersion") {
        member(&mut out, key, value);
    }
    out.push(b'}');
    for (key, value) in map
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "kind" | "apiVersion" | "metadata"))
    {
        member(&mut out, key, value);
    }
    out.push(b'}');
    Encoded::new(out, splice)
}

/// The text of a stored object behind its kind and version and the brace before them, as it is an item of a list that says
/// both for all. Only offsets are looked at, not the text.
pub fn without_kind(object: &Object) -> &[u8] {
    &object.bytes()[object.splice().saturating_sub(BEFORE_REVISION.len())..]
}

fn separate(out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
}

fn member(out: &mut Vec<u8>, key: &str, value: &Value) {
    separate(out);
    write(out, &key);
    out.push(b':');
    write(out, value);
}

fn write<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing to memory does not fail, and JSON values have only string keys.
    let _ = serde_json::to_writer(out, value);
}

/// JSON text of a value.
pub fn to_bytes(value: &impl serde::Serialize, pretty: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    if pretty {
        let _ = serde_json::to_writer_pretty(&mut out, value);
        out.push(b'\n');
    } else {
        write(&mut out, value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn round_trips_with_the_revision_in_front() {
        let directory = std::env::temp_dir().join(format!("barepodtest-encode-{}", std::process::id()));
        let options = barepod_store::Options::new(&directory.join("store"));
        let store = barepod_store::Embedded::open(options).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for object in [
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a\"b"}, "spec": {"x": [1, null]}}),
            json!({"metadata": {"resourceVersion": "7"}}),
            json!({}),
        ] {
            let write = barepod_store::Write {
                key: format!("/{}", object.to_string().len()),
                expect: barepod_store::Expect::Absent,
                change: barepod_store::Change::Put(encode(&object)),
                guard: None,
            };
            let stored = runtime.block_on(barepod_store::Store::write(&store, write)).unwrap();
            let mut expected = object;
            expected["metadata"]["resourceVersion"] = stored.revision().to_string().into();
            assert_eq!(serde_json::from_slice::<Value>(stored.bytes()).unwrap(), expected);
            let item = [b"{", without_kind(&stored)].concat();
            let map = expected.as_object_mut().unwrap();
            map.remove("kind");
            map.remove("apiVersion");
            assert_eq!(serde_json::from_slice::<Value>(&item).unwrap(), expected);
        }
        drop(store);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
