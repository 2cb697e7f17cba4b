//! ConfigMaps and Secrets.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::{Labels, ObjectMeta};

api_struct! {
    /// A ConfigMap.
    #[derive(Deserialize)]
    pub struct ConfigMap {
        metadata: ObjectMeta,
    } optional {
        data: Labels,
        binary_data: BTreeMap<String, ByteString>,
    }
}

api_struct! {
    /// A Secret.
    #[derive(Deserialize)]
    pub struct Secret {
        metadata: ObjectMeta,
    } optional {
        data: BTreeMap<String, ByteString>,
    }
}

crate::object!(ConfigMap, "", "v1", "configmaps");
crate::object!(Secret, "", "v1", "secrets");

/// Bytes, written in base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByteString(pub Vec<u8>);

impl<'de> Deserialize<'de> for ByteString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64;

        impl Visitor<'_> for Base64 {
            type Value = ByteString;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ByteString, E> {
                BASE64.decode(text).map(ByteString).map_err(E::custom)
            }

            fn visit_unit<E: Error>(self) -> Result<ByteString, E> {
                Ok(ByteString::default())
            }
        }

        deserializer.deserialize_any(Base64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        let secret: Secret =
            serde_json::from_str(r#"{"metadata": {}, "data": {"a": "AP8=", "b": null, "c": ""}}"#).unwrap();
        let data = secret.data.unwrap();
        assert_eq!(
            (&data["a"].0, &data["b"].0, &data["c"].0),
            (&vec![0, 255], &vec![], &vec![])
        );
        assert!(serde_json::from_str::<Secret>(r#"{"data": {"a": "?"}}"#).is_err());
    }
}
