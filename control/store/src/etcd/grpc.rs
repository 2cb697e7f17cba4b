//! gRPC over one HTTP/2 connection: a message is its length and its bytes, the status comes after the last one.
//!
//! See the gRPC project's "gRPC over HTTP2". The connection is made when it is first needed, to one endpoint after the
//! other, and again when it was lost. Pings find out that the other side is gone.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use super::wire::{Malformed, Writer};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How often the other side has to show that it is there, and how long that may take.
const PING: Duration = Duration::from_secs(5);
/// Messages above this are not taken.
const LARGEST: usize = 512 << 20;

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CallError {
    /// There is no connection.
    #[error("connect to {endpoint}: {cause}")]
    Connect { endpoint: String, cause: String },
    /// The connection broke.
    #[error("call {path}: {cause}")]
    Broken { path: &'static str, cause: String },
    /// No answer in time.
    #[error("call {path}: no answer in {}s", limit.as_secs())]
    Slow { path: &'static str, limit: Duration },
    /// etcd refused.
    #[error("call {path}: {message} (code {code})")]
    Refused {
        path: &'static str,
        code: u32,
        message: String,
    },
    /// The answer makes no sense.
    #[error("call {path}: {cause}")]
    Malformed { path: &'static str, cause: Malformed },
}

/// Where etcd is.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
}

/// A way to etcd.
pub(crate) struct Channel {
    endpoints: Vec<Endpoint>,
    tls: Arc<ClientConfig>,
    connection: Mutex<Connection>,
}

#[derive(Default)]
struct Connection {
    sender: Option<http2::SendRequest<Outgoing>>,
    /// The endpoint that is tried next.
    next: usize,
}

impl Channel {
    pub(crate) fn new(endpoints: Vec<Endpoint>, tls: Arc<ClientConfig>) -> Self {
        Channel {
            endpoints,
            tls,
            connection: Mutex::new(Connection::default()),
        }
    }

    /// A call with one message each way.
    pub(crate) async fn call(&self, path: &'static str, message: &Writer, limit: Duration) -> Result<Bytes, CallError> {
        let answer = async {
            let mut stream = self.open(path, message, false).await?;
            let answer = stream.next().await?;
            let answer = answer.ok_or(CallError::Malformed { path, cause: Malformed })?;
            // The status follows; that of a whole answer is success.
            while stream.next().await?.is_some() {}
            Ok(answer)
        };
        tokio::time::timeout(limit, answer)
            .await
            .unwrap_or(Err(CallError::Slow { path, limit }))
    }

    /// A call that is answered by many messages and stays open from this side.
    pub(crate) async fn stream(&self, path: &'static str, message: &Writer) -> Result<Stream, CallError> {
        self.open(path, message, true).await
    }

    async fn open(&self, path: &'static str, message: &Writer, stays: bool) -> Result<Stream, CallError> {
        let mut sender = self.sender().await?;
        let broken = |error: hyper::Error| CallError::Broken {
            path,
            cause: chain(&error),
        };
        let message = message.as_slice();
        let mut body = BytesMut::with_capacity(5 + message.len());
        body.extend_from_slice(&[0]);
        body.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        body.extend_from_slice(message);
        let request = Request::post(format!("http://etcd{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            // A member that has lost the others says so instead of being silent.
            .header("hasleader", "true")
            .body(Outgoing {
                message: Some(body.freeze()),
                stays,
            })
            .expect("the parts are valid");
        let response = sender.send_request(request).await.map_err(broken)?;
        Stream::new(path, response)
    }

    async fn sender(&self) -> Result<http2::SendRequest<Outgoing>, CallError> {
        let mut connection = self.connection.lock().await;
        if let Some(sender) = &connection.sender
            && !sender.is_closed()
        {
            return Ok(sender.clone());
        }
        let mut last = None;
        for _ in 0..self.endpoints.len() {
            let endpoint = &self.endpoints[connection.next % self.endpoints.len()];
            match tokio::time::timeout(CONNECT, self.connect(endpoint)).await {
                Ok(Ok(sender)) => {
                    connection.sender = Some(sender.clone());
                    return Ok(sender);
                }
                Ok(Err(cause)) => last = Some((endpoint, cause)),
                Err(_) => last = Some((endpoint, "no answer in time".to_owned())),
            }
            connection.next += 1;
        }
        let (endpoint, cause) = last.map_or(
            (String::new(), "no endpoint is configured".to_owned()),
            |(at, cause)| (format!("{}:{}", at.host, at.port), cause),
        );
        Err(CallError::Connect { endpoint, cause })
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<http2::SendRequest<Outgoing>, String> {
        let address = (endpoint.host.trim_matches(['[', ']']), endpoint.port);
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let stream: Box<dyn Transport> = if endpoint.tls {
            let name = ServerName::try_from(address.0.to_owned()).map_err(|error| error.to_string())?;
            let connector = TlsConnector::from(self.tls.clone());
            Box::new(connector.connect(name, stream).await.map_err(|error| chain(&error))?)
        } else {
            Box::new(stream)
        };
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(8 << 20)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| chain(&error))?;
        // Ends when the connection breaks, or when the last sender and the last answer are gone.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = chain(&error), "a connection to etcd broke");
            }
        });
        Ok(sender)
    }
}

trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// One message, and perhaps a stream that stays open behind it.
struct Outgoing {
    message: Option<Bytes>,
    stays: bool,
}

impl hyper::body::Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.message.take() {
            Some(message) => Poll::Ready(Some(Ok(Frame::data(message)))),
            // Nothing will ever wake this: the stream ends when its answer is dropped.
            None if self.stays => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && !self.stays
    }
}

/// The messages of an answer.
pub(crate) struct Stream {
    path: &'static str,
    body: Incoming,
    buffer: BytesMut,
    ended: bool,
}

impl Stream {
    fn new(path: &'static str, response: Response<Incoming>) -> Result<Self, CallError> {
        let (parts, body) = response.into_parts();
        if !parts.status.is_success() {
            let (code, message) = (2, format!("HTTP status {}", parts.status));
            return Err(CallError::Refused { path, code, message });
        }
        // An answer without messages has its status in the head.
        check(path, &parts.headers)?;
        Ok(Stream {
            path,
            body,
            buffer: BytesMut::new(),
            ended: false,
        })
    }

    /// The next message; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            if let Some(header) = self.buffer.first_chunk::<5>() {
                let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                // Compression was not offered, so that the first byte is 0.
                if header[0] != 0 || length > LARGEST {
                    return Err(CallError::Malformed {
                        path: self.path,
                        cause: Malformed,
                    });
                }
                if self.buffer.len() >= 5 + length {
                    self.buffer.advance(5);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
            }
            if self.ended {
                return Ok(None);
            }
            let frame = self.body.frame().await.transpose();
            let frame = frame.map_err(|error| CallError::Broken {
                path: self.path,
                cause: chain(&error),
            })?;
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => self.buffer.extend_from_slice(&data),
                Some(Err(frame)) => {
                    self.ended = true;
                    check(self.path, &frame.into_trailers().unwrap_or_default())?;
                }
                None => self.ended = true,
            }
        }
    }
}

/// Fails if the headers or trailers say so.
fn check(path: &'static str, headers: &HeaderMap) -> Result<(), CallError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some(code) => Err(CallError::Refused {
            path,
            code: code.parse().unwrap_or(2),
            message: decode(text("grpc-message").unwrap_or_default()),
        }),
    }
}

/// Undoes the percent-encoding of a status message.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'%')
            .then(|| after.first_chunk::<2>())
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        let mut headers = HeaderMap::new();
        assert!(check("/x", &headers).is_ok());
        headers.insert("grpc-status", "11".parse().unwrap());
        headers.insert("grpc-message", "a%20b%zz".parse().unwrap());
        let error = check("/x", &headers).unwrap_err().to_string();
        assert_eq!(error, "call /x: a b%zz (code 11)");
    }
}
