//! RFC 6902, within limits: a short patch must not make an object that exhausts memory (each `copy` may double it) or
//! the stack (each may deepen it). The numbers are kube-apiserver's.

use json_patch::jsonptr::Pointer;
use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use super::PatchError;
use crate::body::{MAX_DEPTH, nesting};

/// Operations of one patch.
const OPERATIONS: usize = 10_000;
/// What all copies of one patch may add, in bytes of JSON.
const COPIED_BYTES: usize = 3 << 20;
/// How many values are looked at to know what is moved.
const VISITS: usize = 10 << 20;

pub(super) fn apply(current: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations = patch.as_array().map_or(0, Vec::len);
    if operations > OPERATIONS {
        return Err(PatchError::TooLarge {
            operations,
            allowed: OPERATIONS,
        });
    }
    let patch: Patch = serde::Deserialize::deserialize(patch)
        .map_err(|error| PatchError::Malformed(format!("error decoding patch: {error}")))?;
    let mut patched = current.clone();
    let (mut copied, mut visited) = (0, 0);
    for operation in &patch.0 {
        let deepest = match operation {
            PatchOperation::Add(add) => add.path.count() + nesting(&add.value),
            PatchOperation::Replace(replace) => replace.path.count() + nesting(&replace.value),
            PatchOperation::Copy(copy) => {
                let source = part(&patched, &copy.from);
                copied += source.map_or(0, size);
                if copied > COPIED_BYTES {
                    return Err(PatchError::Unprocessable(format!(
                        "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {COPIED_BYTES}"
                    )));
                }
                copy.path.count() + source.map_or(0, nesting)
            }
            PatchOperation::Move(move_) => {
                let source = part(&patched, &move_.from);
                visited += source.map_or(0, values);
                if visited > VISITS {
                    return Err(PatchError::Unprocessable("the patch moves too much".to_owned()));
                }
                move_.path.count() + source.map_or(0, nesting)
            }
            // What is not there is null to kube, which kube's client for Rust relies on for its finalizers.
            PatchOperation::Test(test)
                if test.value.is_null()
                    && part(&patched, &test.path).is_none()
                    && test
                        .path
                        .parent()
                        .is_some_and(|parent| part(&patched, parent).is_some()) =>
            {
                continue;
            }
            PatchOperation::Remove(_) | PatchOperation::Test(_) => 0,
        };
        if deepest > MAX_DEPTH {
            return Err(PatchError::Unprocessable(format!(
                "the patched object would be nested more than {MAX_DEPTH} levels deep"
            )));
        }
        json_patch::patch(&mut patched, std::slice::from_ref(operation))
            .map_err(|error| PatchError::Unprocessable(error.to_string()))?;
    }
    Ok(patched)
}

/// The part of a document that an operation takes.
fn part<'v>(document: &'v Value, pointer: &Pointer) -> Option<&'v Value> {
    document.pointer(pointer.as_str())
}

/// About how long the text of a value is.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 2 + items.iter().map(|item| size(item) + 1).sum::<usize>(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| name.len() + size(value) + 4);
            2 + fields.sum::<usize>()
        }
        Value::String(text) => text.len() + 2,
        Value::Number(_) => 8,
        Value::Bool(_) | Value::Null => 4,
    }
}

/// How many values there are in a value, itself included.
fn values(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(values).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(values).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn copies_do_not_grow_without_bounds() {
        let copy = |n: usize| json!({"op": "copy", "from": "/a", "path": format!("/a/{n}")});
        let few = Value::Array((0..4).map(copy).collect());
        assert!(apply(&json!({"a": {"b": "x"}}), &few).is_ok());
        // Forty doublings.
        let many = Value::Array((0..40).map(copy).collect());
        let refused = apply(&json!({"a": {"b": "x".repeat(1000)}}), &many).unwrap_err();
        assert!(refused.to_string().contains("accumulated size"), "{refused}");
    }

    #[test]
    fn nothing_becomes_bottomless() {
        let nest = |op: &str| json!([{"op": op, "from": "/a", "path": "/b/c"}, {"op": op, "from": "/b", "path": "/a"}, {"op": "add", "path": "/b", "value": {}}]);
        for op in ["copy", "move"] {
            let rounds = (0..200).flat_map(|_| nest(op).as_array().unwrap().clone());
            let refused = apply(&json!({"a": 1, "b": {}}), &rounds.collect()).unwrap_err();
            assert!(refused.to_string().contains("levels deep"), "{op}: {refused}");
        }
        let deep = (0..MAX_DEPTH).fold(json!(1), |inner, _| json!([inner]));
        assert!(apply(&json!({}), &json!([{"op": "add", "path": "/a", "value": deep}])).is_err());
    }

    #[test]
    fn what_is_not_there_is_null() {
        let test = |path: &str, value: Value| {
            apply(
                &json!({"a": {"b": 1}}),
                &json!([{"op": "test", "path": path, "value": value}]),
            )
        };
        assert!(test("/a/c", json!(null)).is_ok());
        for (path, value) in [("/a/c", json!(1)), ("/x/c", json!(null)), ("/a/b", json!(null))] {
            assert!(test(path, value).is_err(), "{path}");
        }
    }

    #[test]
    fn operations_are_counted() {
        let test = json!({"op": "test", "path": "/a", "value": 1});
        let refused = apply(&json!({"a": 1}), &vec![test.clone(); OPERATIONS + 1].into()).unwrap_err();
        assert!(matches!(refused, PatchError::TooLarge { .. }));
        assert!(apply(&json!({"a": 1}), &vec![test; OPERATIONS].into()).is_ok());
    }
}
