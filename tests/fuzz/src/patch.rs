//! Patches: an object, a line `---`, a patch.

use barepod_schema::body::MAX_DEPTH;
use barepod_schema::patch::{self, PatchError};
use barepod_schema::type_of;
use serde_json::Value;

use crate::{depth, parts, value};

fn both(data: &[u8]) -> Option<(Value, Value)> {
    let mut parts = parts(data);
    Some((value(parts.next())?, value(parts.next())?))
}

/// What comes of a patch is not out of proportion to what it was made of.
fn sane(data: &[u8], result: Result<Value, PatchError>) {
    let Ok(patched) = result else { return };
    assert!(depth(&patched) <= 2 * MAX_DEPTH);
    assert!(patched.to_string().len() <= 8 * data.len() + (4 << 20));
}

pub fn json(data: &[u8]) {
    let Some((object, patch)) = both(data) else { return };
    let result = patch::json(&object, &patch);
    if let Ok(patched) = &result {
        assert!(depth(patched) <= MAX_DEPTH);
    }
    sane(data, result);
}

pub fn merge(data: &[u8]) {
    let Some((object, patch)) = both(data) else { return };
    if let Ok(once) = patch::merge(&object, &patch) {
        assert_eq!(
            patch::merge(&once, &patch),
            Ok(once),
            "a merge patch says what is to be"
        );
    }
    sane(data, patch::merge(&object, &patch));
}

pub fn strategic(data: &[u8]) {
    let Some((object, patch)) = both(data) else { return };
    for (group, kind) in [("", "Pod"), ("", "Service"), ("apps", "Deployment")] {
        if let Some(ty) = type_of(group, "v1", kind) {
            sane(data, patch::strategic(ty, &object, &patch));
        }
    }
}
