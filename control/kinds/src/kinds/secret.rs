//! Secrets.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::config_map::{LIMIT_BYTES, base64_size, immutable};
use crate::context::Context;
use crate::invalid::{Denied, Invalid};
use crate::names;
use crate::path::{Errors, Path};
use crate::strategy::{Column, Strategy};
use crate::table::{AGE, NAME, age, name, number, text as column};
use crate::value::{self, map_at, object_mut, str_at};

const DATA: Path<'static> = Path::new("data");
const ACCOUNT_ANNOTATION: &str = "kubernetes.io/service-account.name";

/// The strategy of Secrets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Secret;

impl Strategy for Secret {
    fn default(&self, obj: &mut Value) {
        value::fill(obj, "type", "Opaque");
        string_data(obj);
    }

    fn prepare_update(&self, _cx: &Context<'_>, new: &mut Value, old: &Value) -> Result<(), Denied> {
        // An update that says nothing of the type (only the default) keeps the stored one.
        if str_at(new, &["type"]).is_none() {
            value::keep(new, old, "type");
        }
        Ok(())
    }

    fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Invalid> {
        let mut errors = Errors::new();
        let mut size = 0;
        let data = map_at(new, &["data"]);
        for (key, v) in data.into_iter().flatten() {
            errors.invalid_each(&DATA.key(key), key, names::config_key_errors(key));
            size += base64_size(key, v, &DATA, &mut errors);
        }
        if size > LIMIT_BYTES {
            errors.too_long(&DATA, LIMIT_BYTES);
        }
        by_type(new, data, &mut errors);
        if let Some(old) = old {
            errors.immutable(&Path::new("type"), new.get("type"), old.get("type"));
            immutable(new, old, &["data"], &mut errors);
        }
        errors.into_vec()
    }

    fn columns(&self) -> &[Column] {
        const {
            &[
                NAME,
                column("Type", "What the secret is for"),
                number("Data", "Number of keys"),
                AGE,
            ]
        }
    }

    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        let count = map_at(obj, &["data"]).map_or(0, Map::len);
        vec![name(obj), value::text(obj, "type").into(), count.into(), age(obj, now)]
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["type"]
    }

    fn selectable_field<'a>(&self, obj: &'a Value, name: &str) -> Option<Cow<'a, str>> {
        (name == "type").then(|| value::text(obj, "type").into())
    }
}

/// Moves the write-only `stringData` into `data`.
fn string_data(obj: &mut Value) {
    let Some(plain) = obj.as_object_mut().and_then(|m| m.remove("stringData")) else {
        return;
    };
    let Value::Object(plain) = plain else { return };
    if plain.is_empty() {
        return;
    }
    if let Some(data) = object_mut(obj, "data") {
        for (key, v) in plain {
            data.insert(key, STANDARD.encode(v.as_str().unwrap_or("")).into());
        }
    }
}

/// The keys that some types need.
fn by_type(secret: &Value, data: Option<&Map<String, Value>>, errors: &mut Errors) {
    let has = |key: &str| data.is_some_and(|d| d.contains_key(key));
    let mut need = |keys: &[&str]| {
        for key in keys {
            if !has(key) {
                errors.required(&DATA.key(key), "");
            }
        }
    };
    match value::text(secret, "type") {
        "kubernetes.io/service-account-token"
            if str_at(secret, &["metadata", "annotations", ACCOUNT_ANNOTATION]).is_none() =>
        {
            errors.required(&Path::new("metadata.annotations").key(ACCOUNT_ANNOTATION), "");
        }
        "kubernetes.io/dockercfg" => docker_config(data, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => docker_config(data, ".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => need(&["username", "password"]),
        "kubernetes.io/ssh-auth" => need(&["ssh-privatekey"]),
        "kubernetes.io/tls" => need(&["tls.crt", "tls.key"]),
        _ => {}
    }
}

fn docker_config(data: Option<&Map<String, Value>>, key: &str, errors: &mut Errors) {
    let Some(encoded) = data.and_then(|d| d.get(key)).and_then(Value::as_str) else {
        errors.required(&DATA.key(key), "");
        return;
    };
    let parsed = STANDARD
        .decode(encoded)
        .ok()
        .map(|bytes| serde_json::from_slice::<Map<String, Value>>(&bytes));
    if let Some(Err(error)) = parsed {
        errors.invalid(&DATA.key(key), "<secret contents redacted>", error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines(new: Value) -> Vec<String> {
        let mut new = new;
        Secret.default(&mut new);
        Secret.validate(&new, None).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn string_data_wins_and_is_encoded() {
        let mut secret = json!({"data": {"a": "AA==", "b": "AA=="}, "stringData": {"a": "hello"}});
        Secret.default(&mut secret);
        assert_eq!(
            secret,
            json!({"type": "Opaque", "data": {"a": "aGVsbG8=", "b": "AA=="}})
        );
    }

    #[test]
    fn types_need_their_keys() {
        assert_eq!(
            lines(json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}})),
            ["data[tls.key]: Required value"]
        );
        assert_eq!(
            lines(json!({"type": "kubernetes.io/basic-auth"})),
            ["data[username]: Required value", "data[password]: Required value"]
        );
        assert_eq!(
            lines(json!({"type": "kubernetes.io/dockerconfigjson"})),
            ["data[.dockerconfigjson]: Required value"]
        );
        let config = json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "{"}});
        assert!(lines(config)[0].contains("<secret contents redacted>"));
        assert_eq!(
            lines(json!({"type": "kubernetes.io/service-account-token"})),
            ["metadata.annotations[kubernetes.io/service-account.name]: Required value"]
        );
    }

    #[test]
    fn the_type_never_changes() {
        let old = json!({"type": "Opaque"});
        let errors = Secret.validate(&json!({"type": "other"}), Some(&old));
        assert_eq!(
            errors[0].to_string(),
            r#"type: Invalid value: "other": field is immutable"#
        );
    }
}
