//! Whose certificate is accepted of an extension: what one of the trusted authorities issued, and what is trusted itself.
//!
//! The second is how Go, and so kube-apiserver, verifies (crypto/x509, `Certificate.Verify`): a certificate that is itself
//! in the bundle needs no issuer, and may well call itself an authority, as those do that `openssl req -x509` makes.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

#[derive(Debug)]
pub(super) struct Trusted {
    certificates: Vec<CertificateDer<'static>>,
    issued: Arc<WebPkiServerVerifier>,
}

impl Trusted {
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>, issued: Arc<WebPkiServerVerifier>) -> Self {
        Trusted { certificates, issued }
    }
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.certificates.contains(end_entity) {
            return self
                .issued
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        is_for_servers_now(end_entity, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issued.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.issued.supported_verify_schemes()
    }
}

fn is_for_servers_now(certificate: &[u8], now: UnixTime) -> Result<(), CertificateError> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let (now, validity) = (i128::from(now.as_secs()), certificate.validity());
    if now < i128::from(validity.not_before.timestamp()) {
        return Err(CertificateError::NotValidYet);
    }
    if now > i128::from(validity.not_after.timestamp()) {
        return Err(CertificateError::Expired);
    }
    let uses = certificate
        .extended_key_usage()
        .map_err(|_| CertificateError::BadEncoding)?;
    match uses {
        Some(uses) if !uses.value.any && !uses.value.server_auth => Err(CertificateError::InvalidPurpose),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};
    use rustls::RootCertStore;

    fn own(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["hook.default.svc".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
    }

    fn verdict(shown: &CertificateDer<'static>, bundle: &CertificateDer<'static>, name: &str, year: u64) -> bool {
        let mut store = RootCertStore::empty();
        store.add(bundle.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let issued = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider);
        let trusted = Trusted::new(vec![bundle.clone()], issued.build().unwrap());
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs((year - 1970) * 31_557_600 + 1_000_000));
        trusted.verify_server_cert(shown, &[], &name, &[], now).is_ok()
    }

    #[test]
    fn a_trusted_certificate_needs_no_issuer_but_the_name_the_time_and_the_purpose() {
        let (one, other) = (own(|_| {}), own(|_| {}));
        let name = "hook.default.svc";
        assert!(verdict(&one, &one, name, 2020));
        assert!(!verdict(&other, &one, name, 2020), "another with the same names");
        assert!(!verdict(&one, &one, "hook.other.svc", 2020));
        assert!(!verdict(&one, &one, name, 2019), "not yet valid");
        assert!(!verdict(&one, &one, name, 2021), "expired");
        let uses = |uses| own(|params| params.extended_key_usages = vec![uses]);
        let of_client = uses(ExtendedKeyUsagePurpose::ClientAuth);
        assert!(!verdict(&of_client, &of_client, name, 2020));
        let of_server = uses(ExtendedKeyUsagePurpose::ServerAuth);
        assert!(verdict(&of_server, &of_server, name, 2020));
    }
}
