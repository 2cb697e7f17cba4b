//! The control service on a socket of its own, with certificates made for it, and a client of it.
#![allow(dead_code, reason = "each test file uses its part")]

#[path = "pki.rs"]
pub mod pki;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use barepod_control::Config;
use barepod_control::access::Tokens;
use barepod_control::engine::Engine;
use barepod_control::http::{Limits, Server, ServerTls, UpstreamTls};
use barepod_kinds::Settings;
use barepod_store::{Embedded, Options};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub struct Cluster {
    pub directory: Arc<TempDir>,
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<anyhow::Result<()>>,
}

/// A directory with certificates.
pub fn directory() -> Arc<TempDir> {
    let directory = tempfile::tempdir().unwrap();
    pki::write(directory.path(), 0).unwrap();
    Arc::new(directory)
}

pub fn config(directory: &Path, listen: SocketAddr) -> Config {
    Config {
        state_dir: directory.into(),
        store: barepod_control::Backend::Embedded,
        listen,
        advertise: Ipv4Addr::new(192, 0, 2, 1),
        pki: pki::paths(directory),
        service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 16),
        cluster_cidr: (Ipv4Addr::new(10, 244, 0, 0), 16),
        node_port_range: 30_000..=32_767,
        audit: directory
            .join("audit.yaml")
            .exists()
            .then(|| barepod_control::AuditConfig {
                policy: directory.join("audit.yaml"),
                log: directory.join("audit.log"),
                max_bytes: 0,
                max_backups: 0,
            }),
        controllers: false,
    }
}

impl Cluster {
    pub async fn start() -> Self {
        Self::start_in(directory()).await
    }

    pub async fn start_in(directory: Arc<TempDir>) -> Self {
        let config = config(directory.path(), (Ipv4Addr::LOCALHOST, 0).into());
        Self::start_with(directory, config).await
    }

    pub async fn start_with(directory: Arc<TempDir>, config: Config) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, address) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(barepod_control::run_until(
            config,
            |address| ready.send(address).unwrap(),
            shutdown,
        ));
        Cluster {
            directory,
            address: address.await.unwrap(),
            stop: Some(stop),
            task,
        }
    }

    /// One whose clients have so much time.
    pub async fn start_limited(limits: Limits) -> Self {
        let directory = directory();
        let store = Embedded::open(Options::new(&directory.path().join("store"))).unwrap();
        let tokens = Tokens::ephemeral().unwrap();
        let engine = Arc::new(Engine::new(Arc::new(store), Settings::default(), tokens));
        engine.set_ready();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let pki = pki::paths(directory.path());
        let (tls, upstream) = (ServerTls::load(&pki).unwrap(), UpstreamTls::load(&pki).unwrap());
        let server = Server::with_limits(listener, tls, upstream, engine, limits);
        let address = server.address().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            server.serve(async { drop(stopped.await) }).await;
            Ok(())
        });
        let cluster = Cluster {
            directory,
            address,
            stop: Some(stop),
            task,
        };
        let namespace = serde_json::json!({"metadata": {"name": "default"}});
        cluster.admin("POST", "/api/v1/namespaces", namespace).await;
        cluster
    }

    /// One that runs elsewhere.
    pub fn at(directory: Arc<TempDir>, address: SocketAddr) -> Self {
        Cluster {
            directory,
            address,
            stop: None,
            task: tokio::spawn(async { Ok(()) }),
        }
    }

    pub async fn stop(mut self) -> Arc<TempDir> {
        self.stop.take().unwrap().send(()).unwrap();
        (&mut self.task).await.unwrap().unwrap();
        self.directory.clone()
    }

    fn tls(&self, user: Option<&str>, alpn: &[&str]) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(self.directory.path()));
        let mut config = match user {
            None => builder.with_no_client_auth(),
            Some(user) => {
                let (certificates, key) = identity(self.directory.path(), user);
                builder.with_client_auth_cert(certificates, key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    pub async fn connect(&self, user: Option<&str>, alpn: &[&str]) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::IpAddress(self.address.ip().into());
        TlsConnector::from(self.tls(user, alpn))
            .connect(name, stream)
            .await
            .unwrap()
    }

    pub async fn send(&self, user: Option<&str>, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let stream = self.connect(user, &["http/1.1"]).await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await.unwrap()
    }

    pub async fn call(&self, user: Option<&str>, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() {
            Bytes::new()
        } else {
            body.to_string().into()
        };
        let request = Request::builder().method(method).uri(path).header("host", "x");
        let request = request
            .header("content-type", "application/json")
            .body(Full::new(body))
            .unwrap();
        let response = self.send(user, request).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (
            code,
            serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into()),
        )
    }

    pub async fn patch(&self, path: &str, patch: Value) -> Value {
        let request = Request::builder().method("PATCH").uri(path).header("host", "x");
        let request = request.header("content-type", "application/merge-patch+json");
        let body = Full::new(patch.to_string().into());
        let response = self.send(Some("admin"), request.body(body).unwrap()).await;
        assert!(response.status().is_success(), "PATCH {path}: {}", response.status());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&bytes).unwrap()
    }

    pub async fn admin(&self, method: &str, path: &str, body: Value) -> Value {
        let (code, value) = self.call(Some("admin"), method, path, body).await;
        assert!(code < 300, "{method} {path}: {value}");
        value
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn roots(directory: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(directory.join("ca.crt")).unwrap())
        .unwrap();
    roots
}

pub fn identity(directory: &Path, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_file(directory.join(format!("{name}.crt"))).unwrap();
    (
        vec![certificate],
        PrivateKeyDer::from_pem_file(directory.join(format!("{name}.key"))).unwrap(),
    )
}

pub fn get(path: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .uri(path)
        .header("host", "x")
        .body(Full::default())
        .unwrap()
}

/// What a server answers, with a certificate and only to who has one of an authority.
pub async fn serve<S>(
    server: (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
    clients: Option<RootCertStore>,
    service: S,
) -> SocketAddr
where
    S: Fn(Request<Incoming>) -> Response<Full<Bytes>> + Clone + Send + 'static,
{
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = match clients {
        Some(roots) => {
            let builder =
                rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            builder.build().unwrap()
        }
        None => rustls::server::WebPkiClientVerifier::no_client_auth(),
    };
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(server.0, server.1)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let service = service.clone();
            let service = hyper::service::service_fn(move |request| {
                std::future::ready(Ok::<_, std::convert::Infallible>(service(request)))
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    address
}
