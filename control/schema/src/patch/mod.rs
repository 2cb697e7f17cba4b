//! Patches: RFC 6902, RFC 7386 and Kubernetes' strategic merge.

mod json;
mod strategic;

use serde_json::Value;

use crate::TypeRef;

/// Why a patch could not be applied.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatchError {
    /// The patch itself is wrong; kube answers 400.
    #[error("{0}")]
    Malformed(String),
    /// The patch has more operations than are carried out; kube answers 413.
    #[error("The allowed maximum operations in a JSON patch is {allowed}, got {operations}")]
    TooLarge {
        /// How many it has.
        operations: usize,
        /// How many it may have.
        allowed: usize,
    },
    /// The patch does not fit the object (a failed test, a path that is not there); kube answers 422.
    #[error("the server rejected our request due to an error in our request: {0}")]
    Unprocessable(String),
}

/// Applies a JSON patch (RFC 6902), a list of operations.
pub fn json(current: &Value, patch: &Value) -> Result<Value, PatchError> {
    json::apply(current, patch)
}

/// Applies a JSON merge patch (RFC 7386).
pub fn merge(current: &Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        return Err(PatchError::Malformed("a merge patch must be an object".to_owned()));
    }
    let mut patched = current.clone();
    json_patch::merge(&mut patched, patch);
    Ok(patched)
}

/// Applies a strategic merge patch: lists are merged by the keys the table states, and the `$`-directives are obeyed.
pub fn strategic(ty: TypeRef, current: &Value, patch: &Value) -> Result<Value, PatchError> {
    strategic::apply(ty, current, patch)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_patches() {
        let object = json!({"a": {"b": [1, 2]}});
        let patch = json!([{"op": "test", "path": "/a/b/0", "value": 1}, {"op": "add", "path": "/a/b/-", "value": 3}, {"op": "remove", "path": "/a/b/0"}]);
        assert_eq!(json(&object, &patch), Ok(json!({"a": {"b": [2, 3]}})));
        assert!(matches!(
            json(&object, &json!([{"op": "test", "path": "/a", "value": 1}])),
            Err(PatchError::Unprocessable(_))
        ));
        assert!(matches!(
            json(&object, &json!([{"op": "remove", "path": "/x"}])),
            Err(PatchError::Unprocessable(_))
        ));
        assert!(matches!(
            json(&object, &json!({"op": "remove"})),
            Err(PatchError::Malformed(_))
        ));
    }

    #[test]
    fn merge_patches() {
        assert_eq!(
            merge(
                &json!({"a": 1, "b": {"c": [1]}}),
                &json!({"a": null, "b": {"c": [2], "d": null}})
            ),
            Ok(json!({"b": {"c": [2]}}))
        );
        assert!(merge(&json!({}), &json!([])).is_err());
    }
}
