//! TLS set-up from PEM files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use barepod_client::AnyCertificate;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::extension::Identity;
use crate::config::{FrontProxy, Pki};

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read or is not PEM.
    #[error("read the certificate or key {path}: check that the file exists and is PEM")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rustls_pki_types::pem::Error,
    },
    /// The authority's file holds no usable certificate.
    #[error("use the certificate authority {path}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Certificate and key do not work together.
    #[error("use the certificate {path} with its key")]
    Identity {
        /// The certificate's file.
        path: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
}

/// TLS of the server side.
#[derive(Debug, Clone)]
pub struct ServerTls(pub(super) Arc<ServerConfig>);

/// TLS towards nodes and pods.
#[derive(Debug, Clone)]
pub struct UpstreamTls {
    pub(super) nodes: Arc<ClientConfig>,
    pub(super) anybody: Arc<ClientConfig>,
}

impl ServerTls {
    /// Clients may show a certificate of the authority; those that show none stay anonymous.
    pub fn load(pki: &Pki) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&pki.ca)?), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|source| TlsError::Authority {
                path: pki.ca.clone(),
                source: source.into(),
            })?;
        let identity = |source| TlsError::Identity {
            path: pki.server_cert.clone(),
            source,
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(identity)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates(&pki.server_cert)?, key(&pki.server_key)?)
            .map_err(identity)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(ServerTls(Arc::new(config)))
    }
}

impl UpstreamTls {
    /// Nodes must show a certificate of the authority, pods any.
    pub fn load(pki: &Pki) -> Result<Self, TlsError> {
        let identity = |source| TlsError::Identity {
            path: pki.kubelet_client_cert.clone(),
            source,
        };
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(identity)?;
        let mut anybody = builder
            .clone()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(provider)))
            .with_no_client_auth();
        let mut nodes = builder
            .with_root_certificates(roots(&pki.ca)?)
            .with_client_auth_cert(certificates(&pki.kubelet_client_cert)?, key(&pki.kubelet_client_key)?)
            .map_err(identity)?;
        for config in [&mut nodes, &mut anybody] {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        Ok(UpstreamTls {
            nodes: Arc::new(nodes),
            anybody: Arc::new(anybody),
        })
    }
}

/// The certificate by which aggregated API servers know this one.
pub fn front_proxy(files: &FrontProxy) -> Result<Identity, TlsError> {
    Ok((certificates(&files.cert)?, key(&files.key)?))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Read {
        path: path.into(),
        source,
    };
    CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::Read {
        path: path.into(),
        source,
    })
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|source| TlsError::Authority {
            path: path.into(),
            source: source.into(),
        })?;
    }
    Ok(store)
}
