//! Keys that sign tokens and keys that check them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, KeyPair, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde_json::{Value, json};

use crate::der;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text holds no PEM section with a key.
    #[error("read a key from PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// The key is damaged, or neither P-256 nor RSA of at least 2048 bits.
    #[error("use the key: it has to be ECDSA on P-256 or RSA of 2048 to 8192 bits ({0})")]
    Unusable(String),
    /// No random numbers.
    #[error("make a key")]
    Generate,
}

enum Private {
    Es256(Box<EcdsaKeyPair>),
    Rs256(Box<RsaKeyPair>),
}

/// A key that signs.
pub struct SigningKey {
    private: Private,
    random: SystemRandom,
    public: PublicKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// A key that checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: String,
    rsa: bool,
    /// The point, or an RSAPublicKey.
    bytes: Vec<u8>,
}

impl SigningKey {
    /// A new key on P-256, and its PEM text (PKCS #8).
    pub fn generate() -> Result<(Self, String), KeyError> {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| KeyError::Generate)?;
        Ok((Self::es256(pkcs8.as_ref())?, pem("PRIVATE KEY", pkcs8.as_ref())))
    }

    /// Reads a private key: PKCS #8, SEC 1 or PKCS #1.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        match PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(KeyError::Pem)? {
            PrivateKeyDer::Sec1(key) => Self::es256(&der::p256_pkcs8(key.secret_sec1_der())),
            PrivateKeyDer::Pkcs1(key) => Self::rs256(RsaKeyPair::from_der(key.secret_pkcs1_der())),
            PrivateKeyDer::Pkcs8(key) => {
                let key = key.secret_pkcs8_der();
                Self::es256(key).or_else(|_| Self::rs256(RsaKeyPair::from_pkcs8(key)))
            }
            _ => Err(KeyError::Unusable("unknown form".into())),
        }
    }

    fn es256(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .map_err(|error| KeyError::Unusable(error.to_string()))?;
        let public = PublicKey::new(false, pair.public_key().as_ref());
        Ok(SigningKey {
            private: Private::Es256(Box::new(pair)),
            random,
            public,
        })
    }

    fn rs256(pair: Result<RsaKeyPair, ring::error::KeyRejected>) -> Result<Self, KeyError> {
        let pair = pair.map_err(|error| KeyError::Unusable(error.to_string()))?;
        let public = PublicKey::new(true, pair.public_key().as_ref());
        Ok(SigningKey {
            private: Private::Rs256(Box::new(pair)),
            random: SystemRandom::new(),
            public,
        })
    }

    /// The key that checks what this one signs.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature of a message, as JSON Web Tokens have it; `None` if there are no random numbers.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.private {
            Private::Es256(pair) => pair.sign(&self.random, message).ok().map(|it| it.as_ref().to_vec()),
            Private::Rs256(pair) => {
                let mut out = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &self.random, message, &mut out)
                    .ok()?;
                Some(out)
            }
        }
    }
}

impl PublicKey {
    fn new(rsa: bool, bytes: &[u8]) -> Self {
        let spki = if rsa {
            der::rsa_spki(bytes)
        } else {
            der::p256_spki(bytes)
        };
        PublicKey {
            id: BASE64.encode(digest(&SHA256, &spki)),
            rsa,
            bytes: bytes.to_vec(),
        }
    }

    /// Reads every public key of a PEM text, or the public halves of its private ones.
    pub fn all_from_pem(text: &str) -> Result<Vec<Self>, KeyError> {
        let mut keys = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
            let (kind, bytes) = section.map_err(KeyError::Pem)?;
            if kind == SectionKind::PublicKey {
                let (rsa, key) =
                    der::open_spki(&bytes).ok_or_else(|| KeyError::Unusable("unknown algorithm".into()))?;
                keys.push(Self::new(rsa, key));
            }
        }
        if keys.is_empty() {
            keys.push(SigningKey::from_pem(text)?.public);
        }
        Ok(keys)
    }

    /// The name by which tokens say which key signed them: the digest of the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The point, or an RSAPublicKey.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is RSA, and not ECDSA on P-256.
    pub(crate) fn is_rsa(&self) -> bool {
        self.rsa
    }

    /// The algorithm, as RFC 7518 names it.
    pub fn algorithm(&self) -> &'static str {
        if self.rsa { "RS256" } else { "ES256" }
    }

    /// As PEM.
    pub fn to_pem(&self) -> String {
        let spki = if self.rsa {
            der::rsa_spki(&self.bytes)
        } else {
            der::p256_spki(&self.bytes)
        };
        pem("PUBLIC KEY", &spki)
    }

    /// As a JSON Web Key, RFC 7517.
    pub fn to_jwk(&self) -> Value {
        let mut key = json!({"use": "sig", "kid": self.id, "alg": self.algorithm()});
        if self.rsa {
            let (modulus, exponent) = der::rsa_parts(&self.bytes).unwrap_or_default();
            key["kty"] = "RSA".into();
            key["n"] = BASE64.encode(modulus).into();
            key["e"] = BASE64.encode(exponent).into();
        } else {
            key["kty"] = "EC".into();
            key["crv"] = "P-256".into();
            key["x"] = BASE64.encode(self.bytes.get(1..33).unwrap_or_default()).into();
            key["y"] = BASE64.encode(self.bytes.get(33..65).unwrap_or_default()).into();
        }
        key
    }

    /// Whether this is the signature of the message.
    pub(super) fn verifies(&self, message: &[u8], signed: &[u8]) -> bool {
        let algorithm: &dyn signature::VerificationAlgorithm = if self.rsa {
            &signature::RSA_PKCS1_2048_8192_SHA256
        } else {
            &signature::ECDSA_P256_SHA256_FIXED
        };
        signature::UnparsedPublicKey::new(algorithm, &self.bytes)
            .verify(message, signed)
            .is_ok()
    }
}

pub(crate) fn pem(label: &str, bytes: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_files() {
        let (key, text) = SigningKey::generate().unwrap();
        let again = SigningKey::from_pem(&text).unwrap();
        assert_eq!(key.public(), again.public());
        assert_eq!(
            PublicKey::all_from_pem(&key.public().to_pem()).unwrap(),
            [key.public().clone()]
        );
        assert_eq!(PublicKey::all_from_pem(&text).unwrap(), [key.public().clone()]);
        let signed = again.sign(b"x").unwrap();
        assert!(key.public().verifies(b"x", &signed) && !key.public().verifies(b"y", &signed));
        let jwk = key.public().to_jwk();
        assert_eq!(
            (jwk["kty"].as_str(), jwk["x"].as_str().map(str::len)),
            (Some("EC"), Some(43))
        );
        assert!(SigningKey::from_pem("nothing").is_err());
    }
}
