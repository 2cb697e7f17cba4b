//! Tokens: JSON web tokens whole, in their parts and with a true signature below what they claim.

use std::sync::OnceLock;

use barepod_auth::token::{Claims, SigningKey, bootstrap, issuer_of, sign, verify};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

fn key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate().expect("a key").0)
}

pub fn jwt(data: &[u8]) {
    let keys = [key().public().clone()];
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(verify(&keys, text).is_err(), "nobody signed it");
        let _ = (issuer_of(text), bootstrap::split(text));
    }
    let mut parts = crate::parts(data).map(|part| URL_SAFE_NO_PAD.encode(part));
    let mut next = || parts.next().unwrap_or_default();
    let token = format!("{}.{}.{}", next(), next(), next());
    assert!(verify(&keys, &token).is_err(), "nobody signed it");
    let _ = issuer_of(&token);
    if let Ok(claims) = serde_json::from_slice(data)
        && let Ok(signed) = sign(key(), &claims)
        && let Ok(verified) = verify(&keys, &signed)
    {
        assert_eq!(verified, claims);
        if let Some(claims) = Claims::from_value(&verified) {
            let _ = (claims.is_in_time(0), claims.user());
            assert_eq!(Claims::from_value(&claims.to_value()).as_ref(), Some(&claims));
        }
    }
}
