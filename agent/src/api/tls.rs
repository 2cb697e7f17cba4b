//! TLS of the node API: only clients with a certificate of the cluster's authority are let in.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Tls;

/// Reads the certificates.
pub fn server_config(tls: &Tls) -> Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.client_ca)? {
        roots
            .add(certificate)
            .with_context(|| format!("use certificate authority {}", tls.client_ca.display()))?;
    }
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .context("check clients' certificates")?;
    let key =
        PrivateKeyDer::from_pem_file(&tls.key).with_context(|| format!("read private key {}", tls.key.display()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("choose TLS versions")?
        .with_client_cert_verifier(clients)
        .with_single_cert(certificates(&tls.cert)?, key)
        .with_context(|| format!("use certificate {}", tls.cert.display()))?;
    // Upgrades to WebSocket need HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || format!("read certificate {}", path.display());
    CertificateDer::pem_file_iter(path)
        .with_context(read)?
        .collect::<Result<_, _>>()
        .with_context(read)
}
