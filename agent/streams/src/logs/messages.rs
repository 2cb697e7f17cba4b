//! A log as messages of a WebSocket (`wsstream` of apimachinery): in bytes, or in base64 for pages in browsers.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use crate::upgrade::{self, Protocols, Socket};
use crate::websocket;

const BASE64: &str = "base64.binary.k8s.io";

/// Subprotocols, the best first. Who names none is sent bytes.
pub(crate) const PROTOCOLS: Protocols = Protocols {
    websocket: &["binary.k8s.io", BASE64, ""],
    spdy: &[],
};

/// Sends what [`super::send`] yields, until its end or the client's.
pub(crate) async fn carry(socket: Socket, protocol: &str, mut chunks: mpsc::Receiver<io::Result<Bytes>>) {
    let (mut sink, mut stream) = socket.split();
    let writer = async {
        while let Some(chunk) = chunks.recv().await {
            // A log that breaks off is not closed in order, so that nobody takes it for complete.
            let chunk = chunk.map_err(drop)?;
            let message = match protocol {
                BASE64 => Message::Text(STANDARD.encode(chunk).into()),
                _ => Message::Binary(chunk),
            };
            sink.send(message).await.map_err(drop)?;
        }
        sink.send(websocket::close()).await.map_err(drop)
    };
    // Nothing is expected from the client but its close.
    let reader = async { while websocket::next_data(&mut stream).await.is_some() {} };
    if upgrade::drive(writer, std::future::ready(()), reader).await
        && let Ok(socket) = stream.reunite(sink)
    {
        upgrade::linger(socket).await;
    }
}
