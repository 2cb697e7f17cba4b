//! Who may use the API: certificates decide.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

const ADMINISTRATORS: &str = "system:masters";
const API_SERVER: &str = "kube-apiserver-kubelet-client";

/// The subject of a verified client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Common name.
    pub(crate) user: String,
    /// Organisations.
    pub(crate) groups: Vec<String>,
}

impl Identity {
    /// Reads the subject of the first certificate of a chain that TLS has verified.
    pub(crate) fn of(chain: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(chain?.first()?).ok()?;
        let subject = certificate.subject();
        let text =
            |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| attribute.as_str().ok().map(str::to_owned);
        Some(Self {
            user: subject.iter_common_name().next().and_then(text)?,
            groups: subject.iter_organization().filter_map(text).collect(),
        })
    }

    /// Whether it may use this API, all of which amounts to root on the node.
    pub(crate) fn is_allowed(&self) -> bool {
        self.user == API_SERVER || self.groups.iter().any(|group| group == ADMINISTRATORS)
    }
}
