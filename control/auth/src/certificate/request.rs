//! Certificate requests, PKCS #10 (RFC 2986).

use std::net::IpAddr;

use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

/// Why a request cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It is no PEM section with a certificate request in it.
    #[error("the certificate request cannot be read")]
    Malformed,
    /// Whoever made it does not have the key.
    #[error("the signature of the certificate request is not valid")]
    Signature,
}

/// What a request asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The user.
    pub common_name: String,
    /// The groups.
    pub organizations: Vec<String>,
    /// Host names.
    pub dns: Vec<String>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
    /// Whether it asks for other names: mail addresses, URIs.
    pub other_names: bool,
    /// The subject as it is, in DER.
    pub(super) subject: Vec<u8>,
    /// The public key as it is, in DER.
    pub(super) key: Vec<u8>,
    /// The value of the extension of alternative names as it is; empty without one.
    pub(super) names: Vec<u8>,
}

impl Request {
    /// Reads a request and checks that it was signed by its own key.
    pub fn from_pem(pem: &str) -> Result<Self, RequestError> {
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).map_err(|_| RequestError::Malformed)?;
        let (rest, csr) = X509CertificationRequest::from_der(&der).map_err(|_| RequestError::Malformed)?;
        if !rest.is_empty() {
            return Err(RequestError::Malformed);
        }
        csr.verify_signature().map_err(|_| RequestError::Signature)?;
        let info = &csr.certification_request_info;
        let texts = |values: Vec<Result<&str, _>>| -> Result<Vec<String>, RequestError> {
            let texts = values.into_iter().map(|text| text.map(str::to_owned));
            texts
                .collect::<Result<_, x509_parser::error::X509Error>>()
                .map_err(|_| RequestError::Malformed)
        };
        let common = texts(info.subject.iter_common_name().map(|name| name.as_str()).collect())?;
        let mut request = Request {
            common_name: common.into_iter().next().unwrap_or_default(),
            organizations: texts(info.subject.iter_organization().map(|name| name.as_str()).collect())?,
            subject: info.subject.as_raw().to_vec(),
            key: info.subject_pki.raw.to_vec(),
            ..Request::default()
        };
        for attribute in info.iter_attributes() {
            let ParsedCriAttribute::ExtensionRequest(wanted) = attribute.parsed_attribute() else {
                continue;
            };
            for extension in &wanted.extensions {
                if let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() {
                    request.names = extension.value.to_vec();
                    names.general_names.iter().for_each(|name| request.name(name));
                }
            }
        }
        Ok(request)
    }

    fn name(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                match v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)) {
                    Ok(address) => self.ips.push(address),
                    Err(_) => self.other_names = true,
                }
            }
            _ => self.other_names = true,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    pub(crate) fn pem(name: &str, groups: &[&str], dns: &[&str]) -> String {
        let mut params = CertificateParams::new(dns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        if !dns.is_empty() {
            params.subject_alt_names.push(SanType::IpAddress([192, 0, 2, 1].into()));
        }
        params.distinguished_name = rcgen::DistinguishedName::new();
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        params.distinguished_name.push(DnType::CommonName, name);
        params
            .serialize_request(&KeyPair::generate().unwrap())
            .unwrap()
            .pem()
            .unwrap()
    }

    #[test]
    fn requests_say_who_and_what() {
        let request = Request::from_pem(&pem("system:node:n", &["system:nodes"], &["n.example"])).unwrap();
        assert_eq!(
            (request.common_name.as_str(), &request.organizations[..]),
            ("system:node:n", &["system:nodes".to_owned()][..])
        );
        assert_eq!(
            (request.dns, request.ips),
            (vec!["n.example".to_owned()], vec![IpAddr::from([192, 0, 2, 1])])
        );
        assert!(!request.other_names);
    }

    #[test]
    fn broken_requests_are_refused() {
        assert_eq!(Request::from_pem("nothing"), Err(RequestError::Malformed));
        let good = pem("x", &[], &[]);
        let mut der = CertificateSigningRequestDer::from_pem_slice(good.as_bytes())
            .unwrap()
            .to_vec();
        let last = der.len() - 1;
        der[last] ^= 1;
        let broken = crate::token::pem("CERTIFICATE REQUEST", &der);
        assert!(Request::from_pem(&broken).is_err());
    }
}
