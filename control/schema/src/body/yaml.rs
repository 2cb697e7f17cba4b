//! YAML, read as kubectl and the API server read it: YAML 1.1 booleans, octal numbers with a leading zero, merge keys.

use serde::de::DeserializeSeed;
use serde_json::Value;
use serde_saphyr::options::DuplicateKeyPolicy;

use super::json::Seed;
use super::{DecodeError, Decoded, json};

/// Decodes the first document. Text that begins like JSON is tried as JSON first, which is far faster and what kubectl
/// sends as `application/apply-patch+yaml`.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
        && let Ok(decoded) = json::decode(bytes)
    {
        return Ok(decoded);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| DecodeError::Yaml {
        message: error.to_string(),
    })?;
    match parse(text, DuplicateKeyPolicy::Error) {
        Ok(value) => Ok(Decoded {
            value,
            duplicate_fields: Vec::new(),
        }),
        Err(error) => match duplicate(&error) {
            Some(key) => {
                let value = parse(text, DuplicateKeyPolicy::LastWins).map_err(invalid)?;
                Ok(Decoded {
                    value,
                    duplicate_fields: vec![key],
                })
            }
            None => Err(invalid(error)),
        },
    }
}

/// Writes a value as one document.
pub(super) fn encode(value: &Value) -> Option<String> {
    serde_saphyr::to_string(value).ok()
}

fn parse(text: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Value, serde_saphyr::Error> {
    let options = serde_saphyr::options! { duplicate_keys: duplicate_keys, legacy_octal_numbers: true };
    let mut duplicates = Vec::new();
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        Seed::new(&mut duplicates).deserialize(deserializer)
    })
}

fn invalid(error: serde_saphyr::Error) -> DecodeError {
    DecodeError::Yaml {
        message: error.without_snippet().to_string(),
    }
}

/// The key that is given twice, when that is what the error says.
fn duplicate(error: &serde_saphyr::Error) -> Option<String> {
    match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key, .. } => Some(key.clone().unwrap_or_default()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> Value {
        decode(text.as_bytes()).unwrap().value
    }

    #[test]
    fn scalars_are_read_as_kubectl_reads_them() {
        assert_eq!(
            value(
                "mode: 0644\non: yes\nport: 80\nversion: 1.5\nquoted: \"080\"\nname: ~\nempty:\ntime: 2024-01-02T03:04:05Z\n"
            ),
            json!({"mode": 420, "true": true, "port": 80, "version": 1.5, "quoted": "080", "name": null, "empty": null,
                   "time": "2024-01-02T03:04:05Z"})
        );
    }

    #[test]
    fn keys_become_strings_and_anchors_are_merged() {
        assert_eq!(
            value("a: &x {k: 1}\nb:\n  <<: *x\n  80: web\n  c: |\n    two\n    lines\n"),
            json!({"a": {"k": 1}, "b": {"k": 1, "80": "web", "c": "two\nlines\n"}})
        );
    }

    #[test]
    fn duplicates_are_reported_and_the_last_one_counts() {
        let decoded = decode(b"a: 1\nspec:\n  x: 1\n  x: 2\n").unwrap();
        assert_eq!(decoded.value["spec"]["x"], json!(2));
        assert_eq!(decoded.duplicate_fields, ["x"]);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let object = json!({"a": "yes", "b": "0644", "c": "1e3", "d": null, "e": "~", "f": "two\nlines\n", "80": "x", "g": [1,
            {"h": "- x"}, []], "y": "n", "k": "a: b # c", "t": "", "u": {}, "v": 1.5, "w": "true", "x": " x ", "z": "0x1f"});
        let text = encode(&object).unwrap();
        assert!(text.contains("g:\n"), "{text}");
        assert_eq!(value(&text), object, "{text}");
    }

    #[test]
    fn flow_and_json_bodies_work() {
        assert_eq!(value("{\"a\": [1, 2]}"), json!({"a": [1, 2]}));
        assert_eq!(value("{a: [1, b]}"), json!({"a": [1, "b"]}));
        assert!(decode(b"a: [1").is_err());
        assert!(decode(b"a: \xff").is_err());
    }
}
