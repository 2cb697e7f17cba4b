//! Signed tokens in compact form, RFC 7515.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

use super::key::{PublicKey, SigningKey};

/// Longer tokens are not looked at.
const LONGEST: usize = 64 << 10;

/// Why a token is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not three parts of base64 with JSON in them.
    #[error("the token is malformed")]
    Malformed,
    /// No key of the cluster signed it.
    #[error("the signature of the token is not valid")]
    Signature,
    /// It could not be signed.
    #[error("the token cannot be signed")]
    Sign,
}

fn part(text: &str) -> Result<Value, TokenError> {
    let bytes = BASE64.decode(text).map_err(|_| TokenError::Malformed)?;
    match serde_json::from_slice(&bytes) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => Err(TokenError::Malformed),
    }
}

/// Signs claims.
pub fn sign(key: &SigningKey, claims: &Value) -> Result<String, TokenError> {
    let header = json!({"alg": key.public().algorithm(), "kid": key.public().id()});
    let mut token = format!(
        "{}.{}",
        BASE64.encode(header.to_string()),
        BASE64.encode(claims.to_string())
    );
    let signed = key.sign(token.as_bytes()).ok_or(TokenError::Sign)?;
    token.push('.');
    token.push_str(&BASE64.encode(signed));
    Ok(token)
}

/// The claims of a token that one of the keys signed. Whether it is still good is for others to say.
pub fn verify(keys: &[PublicKey], token: &str) -> Result<Value, TokenError> {
    let (message, signed) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(TokenError::Malformed)?;
    if token.len() > LONGEST || claims.contains('.') {
        return Err(TokenError::Malformed);
    }
    let header = part(header)?;
    let signed = BASE64.decode(signed).map_err(|_| TokenError::Malformed)?;
    let id = header.get("kid").and_then(Value::as_str);
    let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or("");
    // The key says which algorithm it is for; what the header says may only agree (RFC 8725 section 3.1).
    let fits = |key: &&PublicKey| key.algorithm() == algorithm && id.is_none_or(|id| id == key.id());
    let known = keys
        .iter()
        .filter(fits)
        .any(|key| key.verifies(message.as_bytes(), &signed));
    if !known {
        return Err(TokenError::Signature);
    }
    part(claims)
}

/// Who says to have issued a token, unchecked: tells whose token it is before it is checked.
pub fn issuer_of(token: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (_, claims, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    if token.len() > LONGEST {
        return None;
    }
    let claims = part(claims).ok()?;
    claims.get("iss").and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_tokens_of_known_keys_are_good() {
        let (key, _) = SigningKey::generate().unwrap();
        let (other, _) = SigningKey::generate().unwrap();
        let keys = [other.public().clone(), key.public().clone()];
        let claims = json!({"iss": "me", "sub": "x"});
        let token = sign(&key, &claims).unwrap();
        assert_eq!(verify(&keys, &token), Ok(claims));
        assert_eq!(issuer_of(&token).as_deref(), Some("me"));
        assert_eq!(verify(&keys[..1], &token), Err(TokenError::Signature));
        let parts: Vec<&str> = token.split('.').collect();
        let forged = BASE64.encode(r#"{"iss":"me","sub":"y"}"#);
        let forged = format!("{}.{forged}.{}", parts[0], parts[2]);
        assert_eq!(verify(&keys, &forged), Err(TokenError::Signature));
        let none = format!("{}.{}.", BASE64.encode(r#"{"alg":"none"}"#), parts[1]);
        assert_eq!(verify(&keys, &none), Err(TokenError::Signature));
        for cut in 0..token.len() {
            assert!(verify(&keys, &token[..cut]).is_err());
        }
        for wrong in ["", ".", "..", "a.b.c", "....", "é.é.é"] {
            assert_eq!(verify(&keys, wrong), Err(TokenError::Malformed), "{wrong}");
            assert_eq!(issuer_of(wrong), None);
        }
    }
}
