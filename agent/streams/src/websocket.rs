//! WebSocket handshakes, and what every upgraded connection needs.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use http::header::{CONNECTION, HeaderMap, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::header::{SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use crate::error::Error;

/// An upgraded connection.
pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Largest message taken. Clients send chunks of at most 32 KiB, except those that send a whole file as one message.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;
/// How long a client may take to answer our close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a client hears from us while its data cannot be taken. kubectl gives up after a minute without a pong.
const PONG_PERIOD: Duration = Duration::from_secs(5);

/// A handshake that can be answered.
pub(crate) struct Handshake {
    upgrade: OnUpgrade,
    accept: String,
    protocol: &'static str,
}

impl Handshake {
    /// Checks that `request` asks for a WebSocket with one of `protocols`, the best first.
    pub(crate) fn of<B>(request: &mut Request<B>, protocols: &[&'static str]) -> Result<Self, Error> {
        let headers = request.headers();
        let is_websocket = request.method() == Method::GET
            && has_token(headers, &CONNECTION, "upgrade")
            && has_token(headers, &UPGRADE, "websocket")
            && has_token(headers, &SEC_WEBSOCKET_VERSION, "13");
        let Some(key) = headers.get(SEC_WEBSOCKET_KEY).filter(|_| is_websocket) else {
            return Err(Error::BadRequest(
                "upgrade required: this is served over WebSocket only".to_owned(),
            ));
        };
        let accept = derive_accept_key(key.as_bytes());
        let offered = |protocol: &&&str| tokens(headers, &SEC_WEBSOCKET_PROTOCOL).any(|token| token == **protocol);
        let Some(protocol) = protocols.iter().find(offered) else {
            let known = protocols.join(", ");
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

    /// The subprotocol that was agreed on.
    pub(crate) fn protocol(&self) -> &'static str {
        self.protocol
    }

    /// The answer that turns the connection into a WebSocket.
    pub(crate) fn response<B: Default>(&self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(self.protocol));
        let accept = HeaderValue::from_str(&self.accept).expect("base64 is a valid header value");
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        response
    }

    /// Waits until the answer has been sent.
    pub(crate) async fn finish(self) -> Result<Socket, hyper::Error> {
        let io = TokioIo::new(self.upgrade.await?);
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE))
            .read_buffer_size(32 * 1024);
        Ok(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await)
    }
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

/// The frame every session ends with.
pub(crate) fn close() -> Message {
    Message::Close(Some(CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    }))
}

/// The next message with data; nothing when the client has closed or is gone.
pub(crate) async fn next_data<S, E>(stream: &mut S) -> Option<bytes::Bytes>
where
    S: Stream<Item = Result<Message, E>> + Unpin,
{
    loop {
        match stream.next().await? {
            Ok(Message::Binary(data)) => return Some(data),
            Ok(Message::Text(text)) => return Some(text.into()),
            Ok(Message::Close(_)) | Err(_) => return None,
            // Pings are answered by the library.
            Ok(_) => {}
        }
    }
}

/// Waits for `work`, which keeps the reader from reading, and lets the client know meanwhile that we are alive; a
/// client that is gone shows in the writer then.
pub(crate) async fn with_pongs<T>(work: impl Future<Output = T>, writer: &mpsc::WeakSender<Message>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return result,
            () = tokio::time::sleep(PONG_PERIOD) => {
                if let Some(writer) = writer.upgrade() {
                    // A full queue means that the client is being written to anyhow.
                    let _ = writer.try_send(Message::Pong(bytes::Bytes::new()));
                }
            }
        }
    }
}

/// After a close was sent or received: completes the exchange, then ends the connection in order. Ending it with unread
/// data would reset it, and could take the exit status with it.
pub(crate) async fn linger(mut socket: Socket) {
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, async {
        while next_data(&mut socket).await.is_some() {}
        let _ = socket.get_mut().shutdown().await;
    })
    .await;
}
