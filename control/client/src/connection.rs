//! Connections to one server: HTTP/2 over TLS, as few as will do. Requests and watches share them; another one is made
//! when as many are under way as a server surely allows.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use crate::error::Error;
use crate::kubeconfig::Kubeconfig;
use crate::tls;
use crate::transport::{Body, BoxError, Transport};

/// Requests under way on one connection. Servers allow 100 and more (RFC 9113, section 6.5.2).
const STREAMS: usize = 100;
/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// A connection on which nothing was heard for so long is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(30);
/// What the server is given to say so.
const PONG: Duration = Duration::from_secs(10);

/// Connections to one server.
pub(crate) struct Connections {
    server: String,
    authority: Authority,
    name: ServerName<'static>,
    tls: TlsConnector,
    authorization: Option<HeaderValue>,
    lanes: Mutex<Vec<Lane>>,
}

/// One connection.
struct Lane {
    sender: SendRequest<Full<Bytes>>,
    /// Held by every request under way.
    uses: Arc<()>,
}

impl Connections {
    pub(crate) fn new(kubeconfig: &Kubeconfig) -> Result<Self, Error> {
        let server = kubeconfig.server.clone();
        let wrong = |what: &str| Error::Kubeconfig {
            path: server.clone(),
            problem: format!("{what} cannot be used"),
        };
        let name = ServerName::try_from(kubeconfig.server_name.clone()).map_err(|_| wrong("the server's name"))?;
        let authorization = match &kubeconfig.token {
            Some(token) => {
                let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| wrong("the token"))?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        Ok(Self {
            authority: server.parse().map_err(|_| wrong("the server's address"))?,
            name,
            tls: TlsConnector::from(Arc::new(tls::config(kubeconfig).map_err(Error::Tls)?)),
            authorization,
            lanes: Mutex::default(),
            server,
        })
    }

    /// A connection with room for one more request.
    async fn lane(&self) -> Result<(SendRequest<Full<Bytes>>, Arc<()>), Error> {
        let mut lanes = self.lanes.lock().await;
        lanes.retain(|lane| !lane.sender.is_closed());
        // One use is the lane's own.
        if let Some(lane) = lanes.iter().find(|lane| Arc::strong_count(&lane.uses) <= STREAMS) {
            return Ok((lane.sender.clone(), lane.uses.clone()));
        }
        let sender = self.connect().await?;
        let uses = Arc::new(());
        lanes.push(Lane {
            sender: sender.clone(),
            uses: uses.clone(),
        });
        Ok((sender, uses))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Error> {
        let failed = |source: BoxError| Error::Connect {
            server: self.server.clone(),
            source,
        };
        let connect = async {
            let stream = TcpStream::connect(self.server.as_str()).await?;
            stream.set_nodelay(true)?;
            let stream = self.tls.connect(self.name.clone(), stream).await?;
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(SILENCE)
                .keep_alive_timeout(PONG)
                .handshake(TokioIo::new(stream))
                .await?;
            // It ends when nobody can send on it any more, or with an error that every request on it hears of.
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "connection to the API server ended");
                }
            });
            Ok::<_, BoxError>(sender)
        };
        match tokio::time::timeout(CONNECT, connect).await {
            Ok(result) => result.map_err(failed),
            Err(_) => Err(failed(format!("nothing within {CONNECT:?}").into())),
        }
    }

    /// The request with the server in it, as HTTP/2 wants it.
    fn address(&self, request: http::Request<Bytes>) -> Result<http::Request<Full<Bytes>>, Error> {
        let (mut parts, body) = request.into_parts();
        let mut uri = parts.uri.into_parts();
        uri.scheme = Some(Scheme::HTTPS);
        uri.authority = Some(self.authority.clone());
        uri.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        parts.uri = http::Uri::from_parts(uri).map_err(|error| Error::Request(error.into()))?;
        if let Some(value) = &self.authorization {
            parts.headers.insert(AUTHORIZATION, value.clone());
        }
        Ok(http::Request::from_parts(parts, Full::new(body)))
    }

    async fn exchange(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, Error> {
        let request = self.address(request)?;
        let mut again = true;
        loop {
            let (mut sender, uses) = self.lane().await?;
            let sent = match sender.ready().await {
                Ok(()) => sender.send_request(request.clone()).await,
                Err(error) => Err(error),
            };
            match sent {
                Ok(answer) => return Ok(answer.map(|body| Body::new(Held { body, _use: uses }))),
                // The connection had ended by itself: nothing of the request was sent.
                Err(error) if again && (error.is_canceled() || error.is_closed()) => again = false,
                Err(error) => {
                    return Err(Error::Broken {
                        server: self.server.clone(),
                        source: error.into(),
                    });
                }
            }
        }
    }
}

impl Transport for Connections {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>, Error>> {
        Box::pin(self.exchange(request))
    }

    fn patience(&self) -> Option<Duration> {
        Some(ANSWER)
    }
}

/// A body that counts as a use of its connection until it is dropped.
struct Held {
    body: Incoming,
    _use: Arc<()>,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
