//! The two directions of a connection: frames as they arrive, and what is sent with regard to the peer's windows.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{Sink, SinkExt, Stream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::{Decoder, Encoder, Frame, FrameError, Headers, RstStatus, Windows};
use crate::websocket;

/// Received bytes after which the client's window is refilled.
const REFILL: u32 = 32 * 1024;

/// The frames in binary messages, which are cut anywhere.
pub(crate) struct Frames<S> {
    stream: S,
    decoder: Decoder,
}

impl<S, E> Frames<S>
where
    S: Stream<Item = Result<Message, E>> + Unpin,
{
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            decoder: Decoder::new(),
        }
    }

    /// The next frame; nothing when the client is gone. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Option<Result<Frame, FrameError>> {
        loop {
            if let Some(result) = self.decoder.decode().transpose() {
                return Some(result);
            }
            let data = websocket::next_data(&mut self.stream).await?;
            self.decoder.push(&data);
        }
    }
}

/// Sends frames as messages until nobody has any more. `others` go beside them.
pub(crate) async fn write<S>(
    mut frames: mpsc::Receiver<Frame>,
    mut others: mpsc::Receiver<Message>,
    sink: &mut S,
) -> Result<(), S::Error>
where
    S: Sink<Message> + Unpin,
{
    let mut encoder = Encoder::new();
    let mut buffer = BytesMut::new();
    loop {
        tokio::select! {
            frame = frames.recv() => {
                let Some(frame) = frame else { break };
                encoder.encode(&frame, &mut buffer);
                sink.send(Message::Binary(buffer.split().freeze())).await?;
            }
            Some(other) = others.recv() => sink.send(other).await?,
        }
    }
    sink.send(websocket::close()).await
}

/// The way to the peer. Each method tells whether there still is one.
#[derive(Clone)]
pub(crate) struct Peer {
    frames: mpsc::Sender<Frame>,
    windows: Arc<Windows>,
}

/// A way to the peer that does not keep the connection open.
pub(crate) struct WeakPeer {
    frames: mpsc::WeakSender<Frame>,
    windows: Arc<Windows>,
}

impl WeakPeer {
    pub(crate) fn upgrade(&self) -> Option<Peer> {
        Some(Peer {
            frames: self.frames.upgrade()?,
            windows: Arc::clone(&self.windows),
        })
    }
}

impl Peer {
    pub(crate) fn new(frames: mpsc::Sender<Frame>) -> Self {
        Self {
            frames,
            windows: Arc::new(Windows::new()),
        }
    }

    pub(crate) fn downgrade(&self) -> WeakPeer {
        WeakPeer {
            frames: self.frames.downgrade(),
            windows: Arc::clone(&self.windows),
        }
    }

    pub(crate) async fn send(&self, frame: Frame) -> bool {
        self.frames.send(frame).await.is_ok()
    }

    /// Accepts a stream that the peer opened.
    pub(crate) async fn accept(&self, stream: u32) -> bool {
        self.windows.open(stream);
        let headers = Headers::new();
        self.send(Frame::SynReply {
            stream,
            fin: false,
            headers,
        })
        .await
    }

    /// Refuses a stream.
    pub(crate) async fn reset(&self, stream: u32, status: RstStatus) -> bool {
        self.send(Frame::RstStream { stream, status }).await
    }

    /// Sends all of `data`, in pieces as the windows allow.
    pub(crate) async fn data(&self, stream: u32, mut data: Bytes) -> bool {
        while !data.is_empty() {
            let granted = self.windows.take(stream, data.len()).await;
            let data = data.split_to(granted);
            let fin = false;
            if !self.send(Frame::Data { stream, fin, data }).await {
                return false;
            }
        }
        true
    }

    /// Ends our side of a stream.
    pub(crate) async fn end(&self, stream: u32) -> bool {
        self.windows.close(stream);
        let (fin, data) = (true, Bytes::new());
        self.send(Frame::Data { stream, fin, data }).await
    }

    /// Does what frames about the connection itself ask for.
    pub(crate) async fn upkeep(&self, frame: Frame) -> bool {
        match frame {
            // Only the client's pings are answered; an even number is an answer to ours.
            Frame::Ping { id } if !id.is_multiple_of(2) => return self.send(Frame::Ping { id }).await,
            Frame::WindowUpdate { stream, delta } => self.windows.update(stream, delta),
            Frame::Settings {
                initial_window: Some(size),
            } => self.windows.set_initial(size),
            Frame::RstStream { stream, .. } => self.windows.close(stream),
            // After a goaway the client opens no more streams; those that are open go on.
            _ => {}
        }
        true
    }
}

/// Refills the peer's windows as what came on a stream is used up.
pub(crate) struct Refill {
    stream: u32,
    used: u32,
}

impl Refill {
    pub(crate) fn new(stream: u32) -> Self {
        Self { stream, used: 0 }
    }

    pub(crate) async fn used(&mut self, bytes: usize, peer: &Peer) -> bool {
        self.used = self.used.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.used < REFILL {
            return true;
        }
        let delta = std::mem::take(&mut self.used);
        for stream in [self.stream, 0] {
            if !peer.send(Frame::WindowUpdate { stream, delta }).await {
                return false;
            }
        }
        true
    }
}
