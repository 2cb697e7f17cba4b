//! JSON with duplicate fields reported.
//!
//! Depth is limited by serde_json (128 levels), which refuses deeper documents before the stack suffers.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{DecodeError, Decoded};

/// Decodes one JSON document; anything but white space after it is an error.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let mut duplicate_fields = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Seed {
        duplicates: &mut duplicate_fields,
    }
    .deserialize(&mut deserializer)
    .map_err(DecodeError::Json)?;
    deserializer.end().map_err(DecodeError::Json)?;
    Ok(Decoded {
        value,
        duplicate_fields,
    })
}

/// Builds a value and notes every field that is given twice. Paths are built only when there is something to note: a
/// level that finds new entries below one of its children puts the name of that child before them.
pub(super) struct Seed<'d> {
    pub(super) duplicates: &'d mut Vec<String>,
}

fn prefix(duplicates: &mut [String], with: &str) {
    for path in duplicates {
        let dot = if path.starts_with('[') { "" } else { "." };
        *path = format!("{with}{dot}{path}");
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let before = self.duplicates.len();
            let Some(item) = sequence.next_element_seed(Seed {
                duplicates: &mut *self.duplicates,
            })?
            else {
                break;
            };
            if self.duplicates.len() > before {
                prefix(&mut self.duplicates[before..], &format!("[{}]", items.len()));
            }
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(Key(key)) = access.next_key::<Key>()? {
            let before = self.duplicates.len();
            let value = access.next_value_seed(Seed {
                duplicates: &mut *self.duplicates,
            })?;
            if self.duplicates.len() > before {
                prefix(&mut self.duplicates[before..], &key);
            }
            if map.contains_key(&key) && !self.duplicates.contains(&key) {
                self.duplicates.push(key.clone());
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// A key: YAML allows numbers and booleans, which become their text.
struct Key(String);

impl<'de> serde::Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }

            fn visit_str<E>(self, value: &str) -> Result<Key, E> {
                Ok(Key(value.to_owned()))
            }

            fn visit_string<E>(self, value: String) -> Result<Key, E> {
                Ok(Key(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Key, E> {
                Ok(Key(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Key, E> {
                Ok(Key(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Key, E> {
                Ok(Key(value.to_string()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Key, E> {
                Ok(Key(value.to_string()))
            }
        }
        deserializer.deserialize_any(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn duplicates_are_named_by_path_and_the_last_one_counts() {
        let decoded =
            decode(br#"{"spec":{"replicas":1,"replicas":2,"c":[{},{"name":"a","name":"b","env":{"x":1,"x":1,"x":1}}]},"spec2":1}"#).unwrap();
        assert_eq!(decoded.value["spec"]["replicas"], json!(2));
        assert_eq!(
            decoded.duplicate_fields,
            ["spec.replicas", "spec.c[1].name", "spec.c[1].env.x"]
        );
    }

    #[test]
    fn equals_plain_parsing_without_duplicates() {
        let text = br#" {"a":[1,-2,3.5,true,null,"x\u00e9"],"b":{"c":18446744073709551615}} "#;
        let decoded = decode(text).unwrap();
        assert_eq!(decoded.value, serde_json::from_slice::<Value>(text).unwrap());
        assert!(decoded.duplicate_fields.is_empty());
    }

    #[test]
    fn trailing_text_and_bottomless_nesting_are_refused() {
        assert!(decode(b"{} {}").is_err());
        assert!(decode(b"").is_err());
        assert!(decode("[".repeat(100_000).as_bytes()).is_err());
    }
}
