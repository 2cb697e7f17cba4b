//! The cluster's tokens: the key that signs them, the keys that check them, and those seen of late.

use std::collections::HashMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use barepod_auth::token::{Claims, KeyError, LEGACY_ISSUER, PublicKey, SigningKey, TokenError, sign, verify};
use serde_json::{Value, json};

/// The issuer and the audience where nothing else is said.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// Tokens whose signature is remembered to be good.
const REMEMBERED: usize = 4096;

/// Why the key of the service accounts cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The file cannot be read or made.
    #[error("use the key of service accounts {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// What is in it is no key.
    #[error("use the key of service accounts {path}: remove the file to have a new key made, which ends all tokens")]
    Key {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: KeyError,
    },
    /// No key could be made.
    #[error("make a key for service accounts")]
    Generate(#[source] KeyError),
}

/// Signs and checks tokens.
pub struct Tokens {
    key: SigningKey,
    checking: Vec<PublicKey>,
    issuer: String,
    /// Where the keys are served.
    jwks_uri: String,
    /// Certificates of the authority that signed the API server's, as PEM; may be empty.
    authority: String,
    /// Tokens that were found to be signed by the cluster, by the tokens themselves.
    verified: Mutex<HashMap<Box<str>, Option<Arc<Claims>>>>,
}

impl Tokens {
    /// With a key of its own, so that nobody else's tokens are good and its own end with the process.
    pub fn ephemeral() -> Result<Self, SigningError> {
        let (key, _) = SigningKey::generate().map_err(SigningError::Generate)?;
        Ok(Self::new(key, String::new()))
    }

    /// With the key in a file, which is made if there is none. The public half is put beside it, ending in `.pub`.
    /// `server` is the host and port under which clients outside of the cluster reach the API server.
    pub fn load(path: &Path, server: &str) -> Result<Self, SigningError> {
        let file = |source| SigningError::File {
            path: path.into(),
            source,
        };
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let (key, text) = SigningKey::generate().map_err(SigningError::Generate)?;
                let public = path.with_extension("pub");
                write(&public, &key.public().to_pem(), 0o644).map_err(file)?;
                match write(path, &text, 0o600) {
                    // Another replica with the same directory was faster.
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                        std::fs::read_to_string(path).map_err(file)?
                    }
                    Err(error) => return Err(file(error)),
                    Ok(()) => text,
                }
            }
            read => read.map_err(file)?,
        };
        let key = SigningKey::from_pem(&text).map_err(|source| SigningError::Key {
            path: path.into(),
            source,
        })?;
        Ok(Self::new(key, format!("https://{server}/openid/v1/jwks")))
    }

    fn new(key: SigningKey, jwks_uri: String) -> Self {
        Tokens {
            checking: vec![key.public().clone()],
            key,
            issuer: ISSUER.into(),
            jwks_uri,
            authority: String::new(),
            verified: Mutex::default(),
        }
    }

    /// The same, with the certificates that are put beside tokens in Secrets.
    pub fn with_authority(mut self, pem: String) -> Self {
        self.authority = pem;
        self
    }

    /// Certificates of the authority that signed the API server's, as PEM; may be empty.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Who issues the tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The audience of the API server.
    pub fn audience(&self) -> &str {
        &self.issuer
    }

    /// Signs claims.
    pub fn issue(&self, claims: &Claims) -> Result<String, TokenError> {
        sign(&self.key, &claims.to_value())
    }

    /// The claims of a token of this cluster, or `None` if it is not one. Neither time nor audience is looked at.
    pub fn claims(&self, token: &str) -> Option<Arc<Claims>> {
        let remembered = || self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = remembered().get(token) {
            return known.clone();
        }
        let claims = verify(&self.checking, token).ok().as_ref().and_then(Claims::from_value);
        let claims = claims.filter(|claims| claims.issuer == self.issuer || claims.issuer == LEGACY_ISSUER);
        let claims = claims.map(Arc::new);
        // Only good ones are worth remembering: there is no end of bad ones.
        if claims.is_some() {
            let mut remembered = remembered();
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
            remembered.insert(token.into(), claims.clone());
        }
        claims
    }

    /// What `/.well-known/openid-configuration` says (OpenID Connect Discovery 1.0 section 3).
    pub fn configuration(&self) -> Value {
        let algorithms: Vec<&str> = self.checking.iter().map(PublicKey::algorithm).collect();
        json!({
            "issuer": self.issuer,
            "jwks_uri": self.jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
        })
    }

    /// The checking keys, RFC 7517 section 5.
    pub fn key_set(&self) -> Value {
        json!({"keys": self.checking.iter().map(PublicKey::to_jwk).collect::<Vec<_>>()})
    }
}

/// Writes a file that must not be there, or whose content may be replaced if others may read it.
fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).mode(mode);
    if mode == 0o600 {
        options.create_new(true);
    } else {
        options.create(true).truncate(true);
    }
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use barepod_auth::token::Account;

    #[test]
    fn the_key_is_made_once() {
        let directory = std::env::temp_dir().join(format!("barepodtest-tokens-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("sa.key");
        let first = Tokens::load(&path, "192.0.2.1:6443").unwrap();
        let claims = Claims {
            account: Account {
                namespace: "ns".into(),
                name: "sa".into(),
                uid: "u".into(),
            },
            pod: None,
            secret: None,
            node: None,
            audiences: vec![first.audience().into()],
            issuer: first.issuer().into(),
            id: "j".into(),
            issued_at: 1,
            expires_at: Some(2),
            warn_after: None,
        };
        let token = first.issue(&claims).unwrap();
        let again = Tokens::load(&path, "192.0.2.1:6443").unwrap();
        assert_eq!(again.claims(&token).as_deref(), Some(&claims));
        assert_eq!(again.claims(&token).as_deref(), Some(&claims));
        assert_eq!(Tokens::ephemeral().unwrap().claims(&token), None);
        assert_eq!(first.key_set(), again.key_set());
        assert_eq!(
            again.configuration()["jwks_uri"],
            "https://192.0.2.1:6443/openid/v1/jwks"
        );
        let public = std::fs::read_to_string(directory.join("sa.pub")).unwrap();
        assert_eq!(PublicKey::all_from_pem(&public).unwrap(), again.checking);
        std::fs::write(&path, "nothing").unwrap();
        assert!(matches!(Tokens::load(&path, ""), Err(SigningError::Key { .. })));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
