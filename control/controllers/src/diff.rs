//! The smallest merge patch from one JSON value to another.

use serde_json::{Map, Value};

/// The merge patch (RFC 7386) that makes `old` equal `new`; `None` if they are equal. Lists are replaced as a whole.
pub(crate) fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(from), Value::Object(to)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for (key, value) in to {
        match from.get(key) {
            Some(before) => {
                if let Some(change) = merge_patch(before, value) {
                    patch.insert(key.clone(), change);
                }
            }
            None => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_only_what_differs() {
        let old = json!({"a": 1, "b": {"c": [1], "d": 2}, "e": 3});
        let new = json!({"a": 1, "b": {"c": [1, 2], "d": 2}, "f": 4});
        assert_eq!(
            merge_patch(&old, &new),
            Some(json!({"b": {"c": [1, 2]}, "e": null, "f": 4}))
        );
        assert_eq!(merge_patch(&old, &old), None);
    }
}
