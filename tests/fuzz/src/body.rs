//! Bodies in each of the formats.

use barepod_schema::body::{MAX_DEPTH, decode};
use barepod_schema::{TypeRef, check, defaults, type_of};
use serde_json::Value;

use crate::depth;

/// The types that a body is read as: the largest, one with freely formed parts, one that contains itself.
fn types() -> impl Iterator<Item = TypeRef> {
    [
        ("", "v1", "Pod"),
        ("apps", "v1", "ControllerRevision"),
        ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
    ]
    .into_iter()
    .filter_map(|(group, version, kind)| type_of(group, version, kind))
}

/// What comes of a body can be written and read again, as any kind it may claim to be.
fn body(media: &str, data: &[u8]) {
    let Ok(decoded) = decode(media, data) else { return };
    assert!(depth(&decoded.value) <= MAX_DEPTH);
    assert!(decoded.duplicate_fields.len() <= 100);
    again(&decoded.value);
    for ty in types() {
        let mut value = decoded.value.clone();
        if check::check(ty, &mut value).is_ok() {
            defaults::apply_to_object(ty, &mut value);
            again(&value);
            // What fits once fits as it is.
            let before = value.clone();
            assert_eq!(check::check(ty, &mut value), Ok(Vec::new()));
            assert_eq!(value, before);
        }
    }
}

fn again(value: &Value) {
    let text = value.to_string();
    let read = decode("application/json", text.as_bytes()).expect("what was read can be read again");
    assert_eq!(read.value, *value);
    assert!(read.duplicate_fields.is_empty());
}

pub fn json(data: &[u8]) {
    body("application/json", data);
}

pub fn yaml(data: &[u8]) {
    body("application/yaml", data);
}

pub fn protobuf(data: &[u8]) {
    let mut whole = b"k8s\0".to_vec();
    whole.extend_from_slice(data);
    body("application/vnd.kubernetes.protobuf", &whole);
}
