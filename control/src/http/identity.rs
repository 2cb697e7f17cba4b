//! The user behind a connection.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::engine::identity::User;

/// The user named by a verified client certificate: common name and organizations. Nobody without one.
pub fn user(certificates: Option<&[CertificateDer<'_>]>) -> Arc<User> {
    let named = certificates.and_then(|chain| chain.first()).and_then(|der| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        if name.is_empty() {
            return None;
        }
        let groups: Vec<String> = subject
            .iter_organization()
            .filter_map(|group| group.as_str().ok())
            .map(str::to_owned)
            .collect();
        Some(User::new(name, groups).with_certificate(der))
    });
    Arc::new(named.unwrap_or_else(User::anonymous))
}
