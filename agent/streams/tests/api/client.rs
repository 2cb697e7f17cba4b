//! Bare clients: HTTP by hand, and WebSocket.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use crate::Server;

pub const ADMIN: (&str, &str) = ("kubernetes-admin", "system:masters");

pub fn admin(server: &Server) -> Arc<ClientConfig> {
    server.authority.client_config(ADMIN.0, ADMIN.1)
}

pub async fn connect(server: &Server, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server.address).await?;
    TlsConnector::from(config)
        .connect(ServerName::try_from("127.0.0.1").unwrap(), stream)
        .await
}

/// Status code and body of a GET.
pub async fn get(server: &Server, config: Arc<ClientConfig>, path: &str) -> std::io::Result<(u16, String)> {
    request(server, config, "GET", path, "").await
}

pub async fn request(
    server: &Server,
    config: Arc<ClientConfig>,
    method: &str,
    path: &str,
    headers: &str,
) -> std::io::Result<(u16, String)> {
    let mut stream = connect(server, config).await?;
    let head = format!("{method} {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut bytes = Vec::new();
    // The server may close without saying so in TLS.
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((
        status,
        if head.contains("chunked") {
            dechunk(body)
        } else {
            body.to_owned()
        },
    ))
}

fn dechunk(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        out.push_str(&rest[..length]);
        body = &rest[(length + 2).min(rest.len())..];
    }
    out
}

/// A client of the channel protocols.
pub struct Channels {
    pub socket: WebSocketStream<TlsStream<TcpStream>>,
    base64: bool,
}

impl Channels {
    pub async fn open(server: &Server, path: &str, protocol: &str) -> Result<Self, WsError> {
        let mut request = format!("wss://127.0.0.1{path}").into_client_request().unwrap();
        let name = "Sec-WebSocket-Protocol";
        if !protocol.is_empty() {
            request.headers_mut().insert(name, protocol.parse().unwrap());
        }
        let stream = connect(server, admin(server)).await.unwrap();
        let (socket, response) = tokio_tungstenite::client_async(request, stream).await?;
        let chosen = response.headers().get(name).map_or("", |it| it.to_str().unwrap());
        assert_eq!(chosen, protocol);
        let base64 = protocol.contains("base64");
        Ok(Self { socket, base64 })
    }

    pub async fn send(&mut self, channel: u8, data: &[u8]) {
        let message = match self.base64 {
            true => Message::Text(format!("{channel}{}", STANDARD.encode(data)).into()),
            false => Message::Binary([&[channel], data].concat().into()),
        };
        self.socket.send(message).await.unwrap();
    }

    /// The next message that is not empty: channel and data; nothing at the close, whose code must be 1000.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(20), self.socket.next());
            match next.await.expect("nothing came").expect("no close frame").unwrap() {
                Message::Binary(data) if data.len() > 1 => return Some((data[0], data[1..].to_vec())),
                Message::Text(text) if text.len() > 1 => {
                    let (channel, data) = text.split_at(1);
                    return Some((channel.parse().unwrap(), STANDARD.decode(data).unwrap()));
                }
                Message::Close(frame) => {
                    assert_eq!(u16::from(frame.expect("a close without a code").code), 1000);
                    return None;
                }
                _ => {}
            }
        }
    }

    /// Everything until the close: stdout, stderr, and the final status.
    pub async fn finish(mut self) -> (String, String, Value) {
        let mut streams = [const { Vec::new() }; 4];
        while let Some((channel, data)) = self.next().await {
            streams[usize::from(channel)].extend(data);
        }
        let text = |n: usize| String::from_utf8(streams[n].clone()).unwrap();
        (text(1), text(2), serde_json::from_slice(&streams[3]).expect("a status"))
    }
}

/// The exit code in a status.
pub fn exit_code(status: &Value) -> Option<&str> {
    match status["status"].as_str()? {
        "Success" => Some("0"),
        _ => status["details"]["causes"][0]["message"]
            .as_str()
            .filter(|_| status["reason"] == "NonZeroExitCode"),
    }
}
