//! Handshakes that turn a request's connection into one for messages: WebSocket, or plain SPDY/3.1 as clients before
//! `kubectl` 1.31 speak it.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::{Sink, Stream};
use http::header::{CONNECTION, HeaderMap, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::header::{SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use tokio_util::codec::{Decoder, Encoder, Framed};

use crate::error::Error;
use crate::websocket;

/// A connection after its upgrade.
type Io = TokioIo<Upgraded>;
/// A connection that carries WebSocket messages.
pub(crate) type Socket = WebSocketStream<Io>;
/// A connection that carries bytes, as binary messages cut anywhere.
pub(crate) type Plain = Framed<Io, Bare>;

/// Largest message taken. Clients send chunks of at most 32 KiB, except those that send a whole file as one message.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;
/// How long a client may take to answer our close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

const WEBSOCKET: &str = "websocket";
/// The protocol beside it, and the header its subprotocols are agreed on with (`httpstream` of apimachinery).
const SPDY: &str = "SPDY/3.1";
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// An upgraded connection.
pub(crate) enum Connection {
    WebSocket(Socket),
    Spdy(Plain),
}

/// Subprotocols by what carries them, the best first; the empty one is for clients that name none.
pub(crate) struct Protocols {
    pub(crate) websocket: &'static [&'static str],
    pub(crate) spdy: &'static [&'static str],
}

/// A handshake that can be answered.
pub(crate) struct Handshake {
    upgrade: OnUpgrade,
    /// The answer to a WebSocket's key; none for SPDY.
    accept: Option<HeaderValue>,
    protocol: &'static str,
}

impl Handshake {
    /// Checks that `request` asks for a connection that is served, with one of `protocols`.
    pub(crate) fn of<B>(request: &mut Request<B>, protocols: &Protocols) -> Result<Self, Error> {
        let headers = request.headers();
        let is_websocket = asks_for(headers, WEBSOCKET)
            && request.method() == Method::GET
            && has_token(headers, &SEC_WEBSOCKET_VERSION, "13");
        let (accept, name, known) = match headers.get(SEC_WEBSOCKET_KEY).filter(|_| is_websocket) {
            Some(key) => {
                let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
                let accept = accept.expect("base64 is a valid header value");
                (Some(accept), SEC_WEBSOCKET_PROTOCOL, protocols.websocket)
            }
            None if asks_for(headers, SPDY) => (None, STREAM_PROTOCOL, protocols.spdy),
            None => {
                return Err(Error::BadRequest(format!(
                    "upgrade required: this is served over WebSocket and {SPDY} only"
                )));
            }
        };
        let offered = |protocol: &&&str| match **protocol {
            "" => !headers.contains_key(&name),
            protocol => tokens(headers, &name).any(|token| token == protocol),
        };
        let Some(protocol) = known.iter().find(offered) else {
            let known = known.join(", ");
            return Err(Error::BadRequest(format!(
                "unable to upgrade: only the subprotocols {known} are served"
            )));
        };
        Ok(Self {
            upgrade: hyper::upgrade::on(request),
            accept,
            protocol,
        })
    }

    /// The same where a WebSocket is one of two ways to be answered.
    pub(crate) fn if_asked<B>(request: &mut Request<B>, protocols: &Protocols) -> Result<Option<Self>, Error> {
        let asked = asks_for(request.headers(), WEBSOCKET);
        asked.then(|| Self::of(request, protocols)).transpose()
    }

    /// The subprotocol that was agreed on.
    pub(crate) fn protocol(&self) -> &'static str {
        self.protocol
    }

    /// Whether what follows are a WebSocket's messages.
    pub(crate) fn is_websocket(&self) -> bool {
        self.accept.is_some()
    }

    /// The answer that upgrades the connection.
    pub(crate) fn response<B: Default>(&self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        let protocol = HeaderValue::from_static(self.protocol);
        if let Some(accept) = &self.accept {
            headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
            if !self.protocol.is_empty() {
                headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
            }
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept.clone());
        } else {
            headers.insert(UPGRADE, HeaderValue::from_static(SPDY));
            headers.insert(STREAM_PROTOCOL, protocol);
        }
        response
    }

    /// Waits until the answer has been sent.
    pub(crate) async fn finish(self) -> Result<Connection, hyper::Error> {
        let io = TokioIo::new(self.upgrade.await?);
        if self.accept.is_none() {
            return Ok(Connection::Spdy(Framed::new(io, Bare)));
        }
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE))
            .read_buffer_size(32 * 1024);
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        Ok(Connection::WebSocket(socket))
    }
}

/// Whether a request asks for a connection of this kind.
fn asks_for(headers: &HeaderMap, kind: &str) -> bool {
    has_token(headers, &CONNECTION, "upgrade") && has_token(headers, &UPGRADE, kind)
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// Binary messages as their bytes, one after the other; other messages have no meaning there.
pub(crate) struct Bare;

impl Decoder for Bare {
    type Item = Message;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Message>> {
        Ok((!buffer.is_empty()).then(|| Message::Binary(buffer.split().freeze())))
    }
}

impl Encoder<Message> for Bare {
    type Error = io::Error;

    fn encode(&mut self, message: Message, buffer: &mut BytesMut) -> io::Result<()> {
        if let Message::Binary(data) = message {
            buffer.extend_from_slice(&data);
        }
        Ok(())
    }
}

/// A connection for messages.
pub(crate) trait Messages:
    Stream<Item = Result<Message, <Self as Messages>::Error>> + Sink<Message, Error = <Self as Messages>::Error> + Unpin
{
    type Error;

    /// What is below.
    fn io(&mut self) -> &mut (impl AsyncWrite + Unpin);
}

impl Messages for Socket {
    type Error = tokio_tungstenite::tungstenite::Error;

    fn io(&mut self) -> &mut (impl AsyncWrite + Unpin) {
        self.get_mut()
    }
}

impl Messages for Plain {
    type Error = io::Error;

    fn io(&mut self) -> &mut (impl AsyncWrite + Unpin) {
        self.get_mut()
    }
}

/// After a close was sent or received: completes the exchange, then ends the connection in order. Ending it with unread
/// data would reset it, and could take the exit status with it.
pub(crate) async fn linger(mut connection: impl Messages) {
    let answered = async { while websocket::next_data(&mut connection).await.is_some() {} };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, answered).await;
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, connection.io().shutdown()).await;
}

/// Drives what serves a client: until everything was written, as it is once the work is done, or until the client is
/// gone, which `reader` finds out or `writer`. True if the connection can be ended in order.
pub(crate) async fn drive<E>(
    writer: impl Future<Output = Result<(), E>>,
    work: impl Future<Output = ()>,
    reader: impl Future<Output = ()>,
) -> bool {
    tokio::pin!(writer, work, reader);
    let mut working = true;
    loop {
        tokio::select! {
            result = &mut writer => break result.is_ok(),
            () = &mut work, if working => working = false,
            () = &mut reader => break true,
        }
    }
}
