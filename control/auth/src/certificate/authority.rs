//! The authority that signs, and the certificates it makes (RFC 5280).
//!
//! The subject, the key and the names are taken over as the request has them, byte by byte, so that a certificate says
//! exactly what was looked at.

use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::request::Request;
use crate::der::{bits, ecdsa_signature, named_bits, positive, sequence, wrap};
use crate::token::{KeyError, SigningKey, pem};

/// Why an authority cannot be used or cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its certificate cannot be read.
    #[error("read the certificate of the authority")]
    Certificate,
    /// Its key cannot be used.
    #[error("use the key of the authority")]
    Key(#[source] KeyError),
    /// Certificate and key do not belong together.
    #[error("the key of the authority is not that of its certificate")]
    Pair,
    /// No random numbers.
    #[error("sign a certificate")]
    Sign,
}

/// When a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// From then.
    pub from: Timestamp,
    /// Until then.
    pub to: Timestamp,
}

/// An authority.
#[derive(Debug)]
pub struct Authority {
    key: SigningKey,
    /// Its name, in DER.
    name: Vec<u8>,
    /// The identifier of its key; empty if its certificate has none.
    key_id: Vec<u8>,
    ends: i64,
}

const OCTET_STRING: u8 = 0x04;
const BOOLEAN_TRUE: &[u8] = &[0x01, 0x01, 0xff];
/// `ecdsa-with-SHA256`, RFC 5758.
const ECDSA_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// `sha256WithRSAEncryption`, RFC 4055.
const RSA_SHA256: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00,
];

/// Bits of the extension of key usages, by the names that the API gives them.
const KEY_USAGES: [(&str, u16); 10] = [
    ("signing", 0),
    ("digital signature", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];
/// The last part of the identifiers `1.3.6.1.5.5.7.3.N` of purposes.
const PURPOSES: [(&str, u8); 7] = [
    ("server auth", 1),
    ("client auth", 2),
    ("code signing", 3),
    ("email protection", 4),
    ("s/mime", 4),
    ("timestamping", 8),
    ("ocsp signing", 9),
];

impl Authority {
    /// With its certificate and its key.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| AuthorityError::Certificate)?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| AuthorityError::Certificate)?;
        let key = SigningKey::from_pem(key).map_err(AuthorityError::Key)?;
        let own = crate::der::open_spki(certificate.public_key().raw).map(|(_, key)| key);
        if own != Some(key.public().bytes()) {
            return Err(AuthorityError::Pair);
        }
        let key_id = certificate
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                _ => None,
            });
        Ok(Authority {
            name: certificate.subject().as_raw().to_vec(),
            key_id: key_id.unwrap_or_default(),
            ends: certificate.validity().not_after.timestamp(),
            key,
        })
    }

    /// The certificate for a request, as PEM. It does not outlive the authority.
    pub fn sign(&self, request: &Request, usages: &[&str], validity: Validity) -> Result<String, AuthorityError> {
        let mut serial = [0; 16];
        SystemRandom::new()
            .fill(&mut serial)
            .map_err(|_| AuthorityError::Sign)?;
        // Positive, and of the same length every time.
        serial[0] = serial[0] & 0x7f | 0x40;
        let ends = validity.to.as_second().min(self.ends);
        let ends = Timestamp::from_second(ends).unwrap_or(validity.to);
        let algorithm = if self.key.public().is_rsa() {
            RSA_SHA256
        } else {
            ECDSA_SHA256
        };
        let version = wrap(0xa0, &[&[0x02, 0x01, 0x02]]);
        let body = sequence(&[
            &version,
            &positive(&serial),
            algorithm,
            &self.name,
            &sequence(&[&time(validity.from), &time(ends)]),
            &request.subject,
            &request.key,
            &wrap(0xa3, &[&self.extensions(request, usages)]),
        ]);
        let signed = self.key.sign(&body).ok_or(AuthorityError::Sign)?;
        let signature = if self.key.public().is_rsa() {
            signed
        } else {
            ecdsa_signature(&signed)
        };
        Ok(pem("CERTIFICATE", &sequence(&[&body, algorithm, &bits(&signature)])))
    }

    fn extensions(&self, request: &Request, usages: &[&str]) -> Vec<u8> {
        let mut all: Vec<Vec<u8>> = Vec::new();
        let used = KEY_USAGES.iter().filter(|(name, _)| usages.contains(name));
        let set = used.fold(0u16, |set, (_, bit)| set | 0x8000 >> bit);
        if set != 0 {
            all.push(extension(&[0x55, 0x1d, 0x0f], true, &named_bits(set)));
        }
        let mut purposes: Vec<Vec<u8>> = Vec::new();
        for (_, last) in PURPOSES.iter().filter(|(name, _)| usages.contains(name)) {
            let purpose = wrap(0x06, &[&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, *last]]);
            if !purposes.contains(&purpose) {
                purposes.push(purpose);
            }
        }
        if !purposes.is_empty() {
            let parts: Vec<&[u8]> = purposes.iter().map(Vec::as_slice).collect();
            all.push(extension(&[0x55, 0x1d, 0x25], false, &sequence(&parts)));
        }
        // No authority, whatever the request says.
        all.push(extension(&[0x55, 0x1d, 0x13], true, &sequence(&[])));
        if !self.key_id.is_empty() {
            let id = sequence(&[&wrap(0x80, &[&self.key_id])]);
            all.push(extension(&[0x55, 0x1d, 0x23], false, &id));
        }
        if !request.names.is_empty() {
            all.push(extension(&[0x55, 0x1d, 0x11], false, &request.names));
        }
        let parts: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        sequence(&parts)
    }
}

fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { BOOLEAN_TRUE } else { &[] };
    sequence(&[&wrap(0x06, &[id]), critical, &wrap(OCTET_STRING, &[value])])
}

/// UTCTime until 2049 and GeneralizedTime from then on, RFC 5280 section 4.1.2.5.
fn time(at: Timestamp) -> Vec<u8> {
    let text = at.strftime("%Y%m%d%H%M%SZ").to_string();
    if *text < *"2050" {
        wrap(0x17, &[&text.as_bytes()[2..]])
    } else {
        wrap(0x18, &[text.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::pem as request_pem;
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

    fn authority() -> (Authority, String) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        (
            Authority::from_pem(&certificate, &key.serialize_pem()).unwrap(),
            certificate,
        )
    }

    #[test]
    fn certificates_say_what_was_asked_for() {
        let (authority, own) = authority();
        let request = Request::from_pem(&request_pem("system:node:n", &["system:nodes"], &["n.example"])).unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let validity = Validity {
            from: at("2026-01-01T00:00:00Z"),
            to: at("2060-01-01T00:00:00Z"),
        };
        let usages = ["digital signature", "key encipherment", "server auth"];
        let text = authority.sign(&request, &usages, validity).unwrap();
        let der = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
        let (rest, made) = X509Certificate::from_der(&der).unwrap();
        assert!(rest.is_empty());
        let issuer = CertificateDer::from_pem_slice(own.as_bytes()).unwrap();
        let (_, issuer) = X509Certificate::from_der(&issuer).unwrap();
        made.verify_signature(Some(issuer.public_key())).unwrap();
        assert_eq!(made.subject().to_string(), "O=system:nodes, CN=system:node:n");
        assert_eq!(made.issuer(), issuer.subject());
        assert_eq!(made.validity().not_before.timestamp(), validity.from.as_second());
        assert_eq!(made.validity().not_after.timestamp(), validity.to.as_second());
        let usage = made.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
        let purpose = made.extended_key_usage().unwrap().unwrap().value;
        assert!(purpose.server_auth && !purpose.client_auth);
        assert!(!made.is_ca());
        assert_eq!(
            made.subject_alternative_name()
                .unwrap()
                .unwrap()
                .value
                .general_names
                .len(),
            2
        );
    }

    #[test]
    fn certificates_do_not_outlive_their_authority() {
        let (mut authority, _) = authority();
        authority.ends = 1_800_000_000;
        let request = Request::from_pem(&request_pem("bob", &[], &[])).unwrap();
        let validity = Validity {
            from: Timestamp::UNIX_EPOCH,
            to: Timestamp::from_second(1_900_000_000).unwrap(),
        };
        let text = authority.sign(&request, &["client auth"], validity).unwrap();
        let der = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
        let (_, made) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(made.validity().not_after.timestamp(), 1_800_000_000);
    }

    #[test]
    fn a_strange_key_is_refused() {
        let (_, certificate) = authority();
        let other = KeyPair::generate().unwrap().serialize_pem();
        assert!(matches!(
            Authority::from_pem(&certificate, &other),
            Err(AuthorityError::Pair)
        ));
    }
}
