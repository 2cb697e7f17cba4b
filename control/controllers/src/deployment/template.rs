//! Pod templates: equality, and the hash that names a ReplicaSet.

use serde_json::{Map, Value};

/// The label that keeps the pods of the ReplicaSets of one Deployment apart.
pub(super) const HASH_LABEL: &str = "pod-template-hash";

/// Letters that cannot form words, as Kubernetes uses them in generated names.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Whether two templates make the same pods. The hash label and explicit nulls make no difference.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    plain(a) == plain(b)
}

/// A short name for the template; `collisions` gives another one when the first is taken.
pub(super) fn hash(template: &Value, collisions: Option<i32>) -> String {
    let mut state = Fnv(0xcbf2_9ce4_8422_2325);
    state.value(&plain(template));
    if let Some(count) = collisions.filter(|c| *c > 0) {
        state.bytes(&count.to_le_bytes());
    }
    let mut number = state.0;
    (0..10)
        .map(|_| {
            let letter = ALPHABET[usize::try_from(number % 27).unwrap_or(0)];
            number /= 27;
            char::from(letter)
        })
        .collect()
}

fn plain(template: &Value) -> Value {
    let mut plain = without_nulls(template);
    if let Some(labels) = plain.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    if let Some(metadata) = plain.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| value.as_object().is_none_or(|o| !o.is_empty()));
    }
    plain
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map
                .iter()
                .filter(|(_, v)| !v.is_null())
                .map(|(k, v)| (k.clone(), without_nulls(v)));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// FNV-1a, 64 bit: stable over releases and machines, unlike the hashers of the standard library.
struct Fnv(u64);

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(map) => {
                // The order of keys depends on how serde_json was built.
                let mut keys: Vec<&String> = map.keys().collect();
                keys.sort_unstable();
                self.bytes(b"{");
                for key in keys {
                    self.bytes(key.as_bytes());
                    self.bytes(b":");
                    self.value(&map[key]);
                }
                self.bytes(b"}");
            }
            Value::Array(items) => {
                self.bytes(b"[");
                for item in items {
                    self.value(item);
                    self.bytes(b",");
                }
                self.bytes(b"]");
            }
            scalar => self.bytes(scalar.to_string().as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ignores_its_own_label_and_nulls() {
        let a = json!({"metadata": {"labels": {"app": "a"}, "creationTimestamp": null}, "spec": {"x": [1, 2]}});
        let b = json!({"spec": {"x": [1, 2], "y": null}, "metadata": {"labels": {"app": "a", HASH_LABEL: "q"}}});
        assert!(same(&a, &b));
        assert_eq!(hash(&a, None), hash(&b, None));
        assert_eq!(hash(&a, None), hash(&a, Some(0)));
    }

    #[test]
    fn tells_templates_apart() {
        let a = json!({"spec": {"containers": [{"image": "a:1"}]}});
        let b = json!({"spec": {"containers": [{"image": "a:2"}]}});
        assert!(!same(&a, &b));
        assert_ne!(hash(&a, None), hash(&b, None));
        assert_ne!(hash(&a, None), hash(&a, Some(1)));
        assert_eq!(hash(&a, None).len(), 10);
    }
}
