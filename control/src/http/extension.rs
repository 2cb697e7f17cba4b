//! Calls to what extends the API: aggregated API servers and webhooks. Each is named by a Service or a URL, and shows a
//! certificate of the authority that its configuration names.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use barepod_client::AnyCertificate;
use http::{Request, Response};
use hyper::body::Incoming;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::TlsConnector;

use super::trust::Trusted;
use super::upstream::{RequestBody, UpstreamError, exchange};

/// Where Debian and most others keep the authorities that a machine trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// How many set-ups of TLS are kept.
const KEPT: usize = 256;

/// Whose certificate is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Of these authorities, in PEM.
    Bundle(Vec<u8>),
    /// Of the machine's authorities.
    System,
    /// Anybody's.
    Anybody,
}

/// Who is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Its address, or a name that is looked up for each call.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The name its certificate must have.
    pub name: String,
    /// Whose certificate is accepted.
    pub trust: Trust,
}

/// Why an extension cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionError {
    /// The configuration names no usable authority.
    #[error("the CA bundle holds no usable certificate")]
    Bundle,
    /// The name cannot be a certificate's.
    #[error("{0:?} is no name of a server")]
    Name(String),
    /// The host's address is not known.
    #[error("look up {host:?}: {source}")]
    Unknown {
        /// The host.
        host: String,
        /// The cause.
        source: std::io::Error,
    },
    /// TLS could not be set up.
    #[error("set up TLS")]
    Tls(#[from] rustls::Error),
    /// The call itself failed.
    #[error(transparent)]
    Call(#[from] UpstreamError),
}

/// A certificate with its key.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Makes the calls.
#[derive(Default)]
pub struct Extensions {
    identity: Option<Identity>,
    connectors: Mutex<HashMap<Trust, TlsConnector>>,
}

impl Extensions {
    /// With the certificate that is shown to those who ask for one.
    pub fn new(identity: Option<Identity>) -> Self {
        Extensions {
            identity,
            connectors: Mutex::default(),
        }
    }

    /// Sends a request over HTTP/1.1 on a connection of its own.
    ///
    /// # Errors
    /// There is no connection that can be trusted, or no answer.
    pub async fn call<B: RequestBody>(
        &self,
        extension: &Extension,
        request: Request<B>,
    ) -> Result<Response<Incoming>, ExtensionError> {
        let connector = self.connector(&extension.trust)?;
        let name =
            ServerName::try_from(extension.name.clone()).map_err(|_| ExtensionError::Name(extension.name.clone()))?;
        let address = address(extension).await?;
        Ok(exchange(address, Some((&connector, name)), request).await?)
    }

    fn connector(&self, trust: &Trust) -> Result<TlsConnector, ExtensionError> {
        let mut connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = connectors.get(trust) {
            return Ok(known.clone());
        }
        let made = TlsConnector::from(Arc::new(self.config(trust)?));
        if connectors.len() >= KEPT {
            connectors.clear();
        }
        connectors.insert(trust.clone(), made.clone());
        Ok(made)
    }

    fn config(&self, trust: &Trust) -> Result<ClientConfig, ExtensionError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match trust {
            Trust::Anybody => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(provider))),
            Trust::Bundle(pem) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(trusted(pem, provider)?)),
            Trust::System => {
                builder.with_root_certificates(roots(certificates(&std::fs::read(SYSTEM_ROOTS).unwrap_or_default()))?)
            }
        };
        let mut config = match &self.identity {
            Some((certificates, key)) => builder.with_client_auth_cert(certificates.clone(), key.clone_key())?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

async fn address(extension: &Extension) -> Result<SocketAddr, ExtensionError> {
    let unknown = |source| ExtensionError::Unknown {
        host: extension.host.clone(),
        source,
    };
    let found = tokio::net::lookup_host((extension.host.as_str(), extension.port)).await;
    let found: Vec<SocketAddr> = found.map_err(unknown)?.collect();
    // Pods and Services have addresses of version 4.
    let first = found.iter().find(|it| it.is_ipv4()).or(found.first());
    first
        .copied()
        .ok_or_else(|| unknown(std::io::Error::from(std::io::ErrorKind::NotFound)))
}

fn trusted(pem: &[u8], provider: Arc<CryptoProvider>) -> Result<Trusted, ExtensionError> {
    let certificates: Vec<_> = certificates(pem).collect();
    let roots = Arc::new(roots(certificates.iter().cloned())?);
    // Only a list of revoked certificates could be wrong, and there is none.
    let issued = WebPkiServerVerifier::builder_with_provider(roots, provider)
        .build()
        .map_err(|_| ExtensionError::Bundle)?;
    Ok(Trusted::new(certificates, issued))
}

fn certificates(pem: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok)
}

fn roots(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Result<RootCertStore, ExtensionError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates);
    if store.is_empty() {
        return Err(ExtensionError::Bundle);
    }
    Ok(store)
}
