//! Tokens of nodes that are about to join: `ID.SECRET`, kept in Secrets of `kube-system`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::user::User;

/// The type of the Secrets.
pub const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
/// The namespace of the Secrets.
pub const NAMESPACE: &str = "kube-system";
/// The group of all who come with such a token.
pub const GROUP: &str = "system:bootstrappers";

/// The two parts of a token that has its form.
pub fn split(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let good = |text: &str, length| {
        text.len() == length
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    (good(id, 6) && good(secret, 16)).then_some((id, secret))
}

/// The name of the Secret of a token.
pub fn secret_name(id: &str) -> String {
    format!("bootstrap-token-{id}")
}

fn data(secret: &Value, key: &str) -> Option<String> {
    let text = secret.get("data")?.get(key)?.as_str()?;
    String::from_utf8(BASE64.decode(text).ok()?).ok()
}

/// Whether two texts are the same, without telling by the time it takes where they differ.
fn same(a: &str, b: &str) -> bool {
    let (a, b) = (digest(&SHA256, a.as_bytes()), digest(&SHA256, b.as_bytes()));
    let differing = a.as_ref().iter().zip(b.as_ref()).fold(0, |sum, (a, b)| sum | (a ^ b));
    differing == 0
}

/// The user that comes with a token, if its Secret says so.
pub fn user(id: &str, token_secret: &str, secret: &Value, now: Timestamp) -> Option<User> {
    let is = |key: &str, wanted: &str| data(secret, key).is_some_and(|value| same(&value, wanted));
    let typed = secret.get("type").and_then(Value::as_str) == Some(SECRET_TYPE);
    let deleted = secret
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|time| !time.is_null());
    if !typed
        || deleted
        || !is("token-id", id)
        || !is("token-secret", token_secret)
        || !is("usage-bootstrap-authentication", "true")
    {
        return None;
    }
    if let Some(expiration) = data(secret, "expiration") {
        let ends: Timestamp = expiration.parse().ok()?;
        if ends <= now {
            return None;
        }
    }
    let mut user = User::new(format!("system:bootstrap:{id}"), vec![GROUP.into()]);
    let extra = data(secret, "auth-extra-groups").unwrap_or_default();
    for group in extra.split(',').map(str::trim).filter(|group| !group.is_empty()) {
        let rest = group.strip_prefix("system:bootstrappers:")?;
        let part = |part: &str| {
            let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b':';
            !part.is_empty() && part.bytes().all(inside) && !part.starts_with(['-', ':']) && !part.ends_with(['-', ':'])
        };
        if !part(rest) {
            return None;
        }
        user.join(group);
    }
    Some(user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(more: &[(&str, &str)]) -> Value {
        let mut secret = json!({"type": SECRET_TYPE, "data": {}});
        let usual = [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
        ];
        for (key, value) in usual.iter().chain(more) {
            secret["data"][*key] = BASE64.encode(value).into();
        }
        secret
    }

    #[test]
    fn a_token_is_good_as_its_secret_says() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let (id, token) = split("abcdef.0123456789abcdef").unwrap();
        let of = |secret: &Value| user(id, token, secret, now);
        let good = of(&secret(&[(
            "auth-extra-groups",
            "system:bootstrappers:a,system:bootstrappers:b-c",
        )]))
        .unwrap();
        assert_eq!(good.name, "system:bootstrap:abcdef");
        assert!(good.is_in(GROUP) && good.is_in("system:bootstrappers:b-c"));
        assert!(of(&secret(&[("expiration", "2026-01-02T00:00:00Z")])).is_some());
        for wrong in [
            ("expiration", "2025-12-31T00:00:00Z"),
            ("expiration", "soon"),
            ("token-secret", "0123456789abcdeX"),
            ("usage-bootstrap-authentication", "false"),
            ("auth-extra-groups", "system:masters"),
            ("auth-extra-groups", "system:bootstrappers:"),
        ] {
            assert_eq!(of(&secret(&[wrong])), None, "{wrong:?}");
        }
        for form in [
            "abcdef",
            "abcde.0123456789abcdef",
            "ABCDEF.0123456789abcdef",
            "abcdef.0123456789abcde.f",
        ] {
            assert_eq!(split(form), None, "{form}");
        }
    }
}
