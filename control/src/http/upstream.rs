//! Connections to nodes and pods.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls::UpstreamTls;

/// How long a connection, with its handshake, may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Who is called, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Address and port.
    pub address: SocketAddr,
    /// Whether to speak TLS, and whose certificate to accept.
    pub security: Security,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    None,
    /// By a certificate of the cluster's authority; the caller shows its own.
    Node,
    /// By any certificate; the caller shows none.
    Anybody,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection.
    #[error("dial tcp {address}: {source}")]
    Connect {
        /// The peer.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// No connection in time.
    #[error("dial tcp {address}: i/o timeout")]
    Timeout {
        /// The peer.
        address: SocketAddr,
    },
    /// No answer.
    #[error("call {address}: {source}")]
    Call {
        /// The peer.
        address: SocketAddr,
        /// The cause.
        source: hyper::Error,
    },
}

/// Makes connections.
pub struct Upstream {
    nodes: TlsConnector,
    anybody: TlsConnector,
}

impl Upstream {
    pub(super) fn new(tls: UpstreamTls) -> Self {
        Upstream {
            nodes: TlsConnector::from(tls.nodes),
            anybody: TlsConnector::from(tls.anybody),
        }
    }

    /// Sends a request to a node or a pod.
    pub async fn call<B: RequestBody>(
        &self,
        peer: Peer,
        request: Request<B>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let connector = match peer.security {
            Security::None => None,
            Security::Node => Some(&self.nodes),
            Security::Anybody => Some(&self.anybody),
        };
        let tls = connector.map(|it| (it, ServerName::IpAddress(peer.address.ip().into())));
        exchange(peer.address, tls, request).await
    }
}

/// What a request may have as its body.
pub trait RequestBody: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static {}
impl<B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static> RequestBody for B {}

/// Sends a request on a connection of its own, with TLS if it is given. The connection lives as long as the response or
/// the upgrade needs it.
pub async fn exchange<B: RequestBody>(
    address: SocketAddr,
    tls: Option<(&TlsConnector, ServerName<'static>)>,
    request: Request<B>,
) -> Result<Response<Incoming>, UpstreamError> {
    let connecting = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok::<_, std::io::Error>(match tls {
            None => Box::new(stream) as Box<dyn Stream>,
            Some((connector, name)) => Box::new(connector.connect(name, stream).await?),
        })
    };
    let stream = tokio::time::timeout(CONNECT, connecting)
        .await
        .map_err(|_| UpstreamError::Timeout { address })?
        .map_err(|source| UpstreamError::Connect { address, source })?;
    let failed = |source| UpstreamError::Call { address, source };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // Ends by itself: when the peer closes, or when response and upgrade are dropped.
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.map_err(failed)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
