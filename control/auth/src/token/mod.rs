//! Tokens of service accounts and of nodes that are about to join.
//!
//! A service account's token is a JWT (RFC 7519) signed by the cluster's key. It names the account and, if it is bound,
//! the pod, Secret or node whose end is also its own; so whoever checks one looks these objects up.

pub mod bootstrap;
mod claims;
mod jwt;
mod key;

pub(crate) use key::pem;

pub use claims::{Account, Bound, Claims, EXTENDED_SECONDS, LEGACY_ISSUER, WARN_ONLY_SECONDS};
pub use jwt::{TokenError, issuer_of, sign, verify};
pub use key::{KeyError, PublicKey, SigningKey};
