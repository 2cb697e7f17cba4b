//! JSON with duplicate fields reported.
//!
//! Depth is limited, see [`MAX_DEPTH`](super::MAX_DEPTH), before the stack suffers.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{DecodeError, Decoded, MAX_DEPTH};

/// How many fields given twice are named at most, as in kube: more help nobody, and each is looked for among the others.
const MAX_DUPLICATES: usize = 100;

/// Decodes one JSON document; anything but white space after it is an error.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let mut duplicate_fields = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Seed::new(&mut duplicate_fields)
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
    duplicates: &'d mut Vec<String>,
    /// How many levels there may be below.
    left: usize,
}

impl<'d> Seed<'d> {
    pub(super) fn new(duplicates: &'d mut Vec<String>) -> Self {
        Seed {
            duplicates,
            left: MAX_DEPTH,
        }
    }

    /// The same for the entries of a list or an object.
    fn enter<E: serde::de::Error>(self) -> Result<Self, E> {
        let left = self.left.checked_sub(1);
        let left = left.ok_or_else(|| E::custom(format_args!("nested more than {MAX_DEPTH} levels deep")))?;
        Ok(Seed { left, ..self })
    }

    fn again(&mut self) -> Seed<'_> {
        Seed {
            duplicates: &mut *self.duplicates,
            left: self.left,
        }
    }
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
        let mut seed = self.enter()?;
        let mut items = Vec::new();
        loop {
            let before = seed.duplicates.len();
            let Some(item) = sequence.next_element_seed(seed.again())? else {
                break;
            };
            if seed.duplicates.len() > before {
                prefix(&mut seed.duplicates[before..], &format!("[{}]", items.len()));
            }
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut seed = self.enter()?;
        let mut map = Map::new();
        while let Some(Key(key)) = access.next_key::<Key>()? {
            let before = seed.duplicates.len();
            let value = access.next_value_seed(seed.again())?;
            if seed.duplicates.len() > before {
                prefix(&mut seed.duplicates[before..], &key);
            }
            if map.contains_key(&key) && seed.duplicates.len() < MAX_DUPLICATES && !seed.duplicates.contains(&key) {
                seed.duplicates.push(key.clone());
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
        let nested = |depth: usize| format!("{}1{}", "{\"a\":[".repeat(depth / 2), "]}".repeat(depth / 2));
        assert!(decode(nested(MAX_DEPTH).as_bytes()).is_ok());
        let refused = decode(nested(MAX_DEPTH + 2).as_bytes()).unwrap_err();
        assert!(matches!(refused, DecodeError::Json(source) if source.to_string().contains("levels deep")));
    }

    #[test]
    fn no_more_duplicates_are_named_than_anybody_reads() {
        let fields: Vec<String> = (0..50_000).map(|n| format!("\"a{n}\":1,\"a{n}\":2")).collect();
        let decoded = decode(format!("{{{}}}", fields.join(",")).as_bytes()).unwrap();
        assert_eq!(decoded.duplicate_fields.len(), MAX_DUPLICATES);
        assert_eq!(decoded.value["a49999"], json!(2));
    }
}
