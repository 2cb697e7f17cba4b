//! Connections to nodes and pods.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
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
    connector: TlsConnector,
}

impl Upstream {
    pub(super) fn new(tls: UpstreamTls) -> Self {
        let config: Arc<ClientConfig> = tls.0;
        Upstream {
            connector: TlsConnector::from(config),
        }
    }

    /// Sends a request on a connection of its own. The connection lives as long as the response or the upgrade needs it.
    pub async fn call(&self, peer: Peer, request: Request<Incoming>) -> Result<Response<Incoming>, UpstreamError> {
        let address = peer.address;
        let connecting = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(match peer.security {
                Security::None => Box::new(stream) as Box<dyn Stream>,
                Security::Node => {
                    let name = ServerName::IpAddress(address.ip().into());
                    Box::new(self.connector.connect(name, stream).await?)
                }
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
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
