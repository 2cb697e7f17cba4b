//! A client of SPDY as kubectl and client-go are one, plain or inside a WebSocket.

use std::collections::HashMap;
use std::time::Duration;

use barepod_streams::spdy::{Decoder, Encoder, Frame};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;

use super::Server;
use super::client::{Channels, admin, connect};

/// What carries the frames.
enum Carrier {
    WebSocket(Box<Channels>),
    Plain(Box<TlsStream<TcpStream>>),
}

pub struct Spdy {
    carrier: Carrier,
    encoder: Encoder,
    decoder: Decoder,
    pub next_stream: u32,
    /// What came on each stream, and whether it has ended.
    pub streams: HashMap<u32, (Vec<u8>, bool)>,
    /// Window updates by stream.
    pub windows: HashMap<u32, u32>,
}

impl Spdy {
    fn over(carrier: Carrier) -> Self {
        let (encoder, decoder) = (Encoder::new(), Decoder::new());
        Self {
            carrier,
            encoder,
            decoder,
            next_stream: 1,
            streams: HashMap::new(),
            windows: HashMap::new(),
        }
    }

    pub async fn tunnelled(server: &Server, path: &str, protocol: &str) -> Self {
        let channels = Channels::open(server, path, protocol).await.unwrap();
        Self::over(Carrier::WebSocket(Box::new(channels)))
    }

    /// `protocols` are offered, and the first of them is expected.
    pub async fn plain(server: &Server, path: &str, protocols: &[&str]) -> Self {
        let mut stream = connect(server, admin(server)).await.unwrap();
        let offers: String = protocols
            .iter()
            .map(|protocol| format!("X-Stream-Protocol-Version: {protocol}\r\n"))
            .collect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: node\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n{offers}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
        let chosen = format!("\r\nx-stream-protocol-version: {}\r\n", protocols[0]);
        for part in [
            "http/1.1 101 ",
            "\r\nconnection: upgrade\r\n",
            "\r\nupgrade: spdy/3.1\r\n",
            &chosen,
        ] {
            assert!(answer.contains(part), "{answer}");
        }
        Self::over(Carrier::Plain(Box::new(stream)))
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        match &mut self.carrier {
            Carrier::WebSocket(channels) => {
                let message = Message::Binary(Bytes::copy_from_slice(bytes));
                channels.socket.send(message).await.unwrap();
            }
            Carrier::Plain(stream) => stream.write_all(bytes).await.unwrap(),
        }
    }

    pub async fn send(&mut self, frames: &[Frame]) {
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| self.encoder.encode(frame, &mut bytes));
        // Cut anywhere, as a byte stream is.
        for piece in bytes.chunks(20_001) {
            self.send_bytes(piece).await;
        }
    }

    pub async fn data(&mut self, stream: u32, data: &[u8], fin: bool) {
        let data = Bytes::copy_from_slice(data);
        self.send(&[Frame::Data { stream, fin, data }]).await;
    }

    /// Opens a stream of this type, with `more` headers.
    pub async fn open(&mut self, kind: &str, more: &[(&str, String)]) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        let headers = [("streamType", kind.to_owned())]
            .iter()
            .chain(more)
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let fin = false;
        self.send(&[Frame::SynStream { stream, fin, headers }]).await;
        stream
    }

    /// More bytes; false at the end of the connection.
    async fn receive(&mut self) -> bool {
        match &mut self.carrier {
            Carrier::WebSocket(channels) => match channels.socket.next().await.unwrap().unwrap() {
                Message::Binary(data) => self.decoder.push(&data),
                Message::Close(frame) => {
                    assert_eq!(u16::from(frame.expect("a close without a code").code), 1000);
                    return false;
                }
                other => panic!("{other:?}"),
            },
            Carrier::Plain(stream) => {
                let mut buffer = BytesMut::with_capacity(64 * 1024);
                if stream.read_buf(&mut buffer).await.unwrap() == 0 {
                    return false;
                }
                self.decoder.push(&buffer);
            }
        }
        true
    }

    /// The next frame, taken note of; nothing at the end of the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        let wait = async {
            loop {
                if let Some(frame) = self.decoder.decode().unwrap() {
                    return Some(frame);
                }
                if !self.receive().await {
                    return None;
                }
            }
        };
        let frame = tokio::time::timeout(Duration::from_secs(20), wait)
            .await
            .expect("nothing came")?;
        match &frame {
            Frame::SynReply { stream, .. } => drop(self.streams.insert(*stream, Default::default())),
            Frame::Data { stream, fin, data } => {
                let (seen, ended) = self.streams.get_mut(stream).expect("data before the reply");
                seen.extend(data);
                *ended |= *fin;
            }
            Frame::WindowUpdate { stream, delta } => *self.windows.entry(*stream).or_default() += delta,
            _ => {}
        }
        Some(frame)
    }

    /// Reads frames until one fits.
    pub async fn until(&mut self, fits: impl Fn(&Self, &Frame) -> bool) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection ends");
            if fits(self, &frame) {
                return frame;
            }
        }
    }

    pub fn text(&self, stream: u32) -> String {
        String::from_utf8(self.streams[&stream].0.clone()).unwrap()
    }

    pub fn has_ended(&self, stream: u32) -> bool {
        self.streams.get(&stream).is_some_and(|(_, ended)| *ended)
    }
}
