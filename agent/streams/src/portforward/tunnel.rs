//! A SPDY connection, plain or inside a WebSocket's binary messages.
//!
//! For every connection the client opens two streams with the same `requestid`: an `error` stream, on which the server
//! may write why it failed, and a `data` stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::tungstenite::Message;

use super::Target;
use crate::spdy::{self, Frame, Frames, Headers, Peer, Refill, RstStatus, header};
use crate::upgrade::{self, Messages};
use crate::websocket;

const CHUNK: usize = 32 * 1024;
/// Frames waiting for the client.
const QUEUE: usize = 16;
/// Pieces of data waiting for a pod's connection: 2 MiB as clients cut them. Beyond, the whole tunnel waits, since the
/// client at hand cannot be stopped for a single stream.
const STREAM_QUEUE: usize = 64;
/// How long one of two streams waits for the other.
const PAIRING: Duration = Duration::from_secs(30);
/// Connections forwarded at the same time.
const MAX_FORWARDS: usize = 1024;

pub(super) async fn run(connection: impl Messages, target: Target) {
    let (mut sink, mut stream) = connection.split();
    let (frames, receiver) = mpsc::channel::<Frame>(QUEUE);
    // Pongs go beside the frames, which have a state that only the writer keeps.
    let (pongs, pong_receiver) = mpsc::channel::<Message>(1);
    {
        let weak = pongs.downgrade();
        let tunnel = async {
            let _pongs = pongs;
            let mut tunnel = Tunnel::new(Arc::new(target), Peer::new(frames));
            tunnel.run(&mut Frames::new(&mut stream), &weak).await;
        };
        let writer = spdy::write(receiver, pong_receiver, &mut sink);
        // A client that has closed cannot be written to, which is no reason not to close in order.
        upgrade::drive(writer, tunnel, std::future::pending()).await;
    }
    if let Ok(connection) = stream.reunite(sink) {
        upgrade::linger(connection).await;
    }
}

/// What is known of one connection's streams.
struct Pair {
    port: u16,
    data: Option<u32>,
    error: Option<u32>,
}

/// An open stream as the reader sees it.
struct Open {
    /// Data go here; error streams carry none.
    input: Option<mpsc::Sender<Bytes>>,
    /// Ends the forward when the client resets the stream.
    reset: Arc<Notify>,
}

struct Tunnel {
    target: Arc<Target>,
    peer: Peer,
    streams: HashMap<u32, Open>,
    /// Streams whose partner has not come yet, by request id.
    pairs: HashMap<String, Pair>,
    /// The receiving end of a data stream whose partner has not come yet.
    inputs: HashMap<String, mpsc::Receiver<Bytes>>,
    forwards: FuturesUnordered<BoxFuture<'static, Ended>>,
    last_stream: u32,
}

/// What remains to be done when a future of the tunnel has ended.
enum Ended {
    /// The forward over these two streams.
    Forward { data: u32, error: u32 },
    /// The time to complete a pair.
    Pairing { request: String },
}

impl Tunnel {
    fn new(target: Arc<Target>, peer: Peer) -> Self {
        Self {
            target,
            peer,
            streams: HashMap::new(),
            pairs: HashMap::new(),
            inputs: HashMap::new(),
            forwards: FuturesUnordered::new(),
            last_stream: 0,
        }
    }

    /// Reads frames and drives the forwards until the client closes or breaks the protocol.
    async fn run<S, E>(&mut self, frames: &mut Frames<S>, pongs: &mpsc::WeakSender<Message>)
    where
        S: futures_util::Stream<Item = Result<Message, E>> + Unpin,
    {
        loop {
            tokio::select! {
                frame = frames.next() => match frame {
                    Some(Ok(frame)) => {
                        if !self.frame(frame, pongs).await {
                            return;
                        }
                    }
                    Some(Err(error)) => {
                        tracing::warn!(pod = self.target.pod, %error, "port-forward client broke the protocol");
                        self.peer.send(Frame::GoAway { last_stream: self.last_stream }).await;
                        return;
                    }
                    None => return,
                },
                Some(ended) = self.forwards.next() => self.ended(ended).await,
            }
        }
    }

    /// Handles one frame; false ends the tunnel.
    async fn frame(&mut self, frame: Frame, pongs: &mpsc::WeakSender<Message>) -> bool {
        match frame {
            Frame::SynStream { stream, fin, headers } => self.open(stream, fin, &headers).await,
            Frame::Data { stream, fin, data } => {
                let input = self.streams.get(&stream).and_then(|open| open.input.clone());
                if let Some(input) = input
                    && !data.is_empty()
                {
                    // The forwards must go on while one of them makes us wait.
                    self.deliver(input, data, pongs).await;
                }
                if fin && let Some(open) = self.streams.get_mut(&stream) {
                    open.input = None;
                }
                true
            }
            Frame::RstStream { stream, .. } => {
                if let Some(open) = self.streams.get(&stream) {
                    open.reset.notify_one();
                }
                true
            }
            frame => {
                let peer = self.peer.clone();
                self.driving(peer.upkeep(frame)).await
            }
        }
    }

    async fn reset(&mut self, stream: u32, status: RstStatus) -> bool {
        let peer = self.peer.clone();
        self.driving(peer.reset(stream, status)).await
    }

    async fn deliver(&mut self, input: mpsc::Sender<Bytes>, data: Bytes, pongs: &mpsc::WeakSender<Message>) {
        // Fails when the forward has ended; its data are of no use then.
        self.driving(websocket::with_pongs(
            async move { drop(input.send(data).await) },
            pongs,
        ))
        .await;
    }

    /// Waits for `work` while the forwards go on, without which it might never end.
    async fn driving<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => return result,
                Some(ended) = self.forwards.next() => self.ended(ended).await,
            }
        }
    }

    async fn open(&mut self, stream: u32, fin: bool, headers: &Headers) -> bool {
        let port = header(headers, "port")
            .and_then(|port| port.parse::<u16>().ok())
            .filter(|&port| port > 0);
        let kind = header(headers, "streamtype");
        // Old clients send no request id; the streams of a connection are numbered in order then.
        let request = match (header(headers, "requestid"), kind) {
            (Some(id), _) => id.to_owned(),
            (None, Some("error")) => stream.to_string(),
            (None, _) => stream.saturating_sub(2).to_string(),
        };
        let is_new = !stream.is_multiple_of(2) && stream > self.last_stream;
        let (Some(port), Some(kind @ ("data" | "error")), true) = (port, kind, is_new) else {
            return self.reset(stream, RstStatus::ProtocolError).await;
        };
        self.last_stream = stream;
        let taken = self.pairs.get(&request).is_some_and(|pair| match kind {
            "data" => pair.data.is_some() || pair.port != port,
            _ => pair.error.is_some() || pair.port != port,
        });
        if taken || self.streams.len() >= 2 * MAX_FORWARDS {
            return self.reset(stream, RstStatus::RefusedStream).await;
        }
        let peer = self.peer.clone();
        if !self.driving(peer.accept(stream)).await {
            return false;
        }
        let input = (kind == "data").then(|| {
            let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
            self.inputs.insert(request.clone(), receiver);
            sender
        });
        let pair = self.pairs.entry(request.clone()).or_insert_with(|| {
            let request = request.clone();
            self.forwards.push(
                tokio::time::sleep(PAIRING)
                    .map(move |()| Ended::Pairing { request })
                    .boxed(),
            );
            Pair {
                port,
                data: None,
                error: None,
            }
        });
        match kind {
            "data" => pair.data = Some(stream),
            _ => pair.error = Some(stream),
        }
        let both = pair.data.zip(pair.error);
        let open = Open {
            input: input.filter(|_| !fin),
            reset: Arc::new(Notify::new()),
        };
        self.streams.insert(stream, open);
        if let Some((data, error)) = both {
            self.start(&request, port, data, error);
        }
        true
    }

    /// Starts forwarding once both streams are there.
    fn start(&mut self, request: &str, port: u16, data: u32, error: u32) {
        self.pairs.remove(request);
        let Some(input) = self.inputs.remove(request) else {
            return;
        };
        let resets: Vec<_> = [data, error]
            .iter()
            .filter_map(|id| self.streams.get(id))
            .map(|s| s.reset.clone())
            .collect();
        let forward = Forward {
            target: Arc::clone(&self.target),
            peer: self.peer.clone(),
            data,
            error,
        };
        self.forwards.push(
            async move {
                let reset = futures_util::future::select_all(resets.iter().map(|reset| reset.notified().boxed()));
                tokio::select! {
                    () = forward.run(port, input) => {}
                    _ = reset => {}
                }
                Ended::Forward { data, error }
            }
            .boxed(),
        );
    }

    /// Ends the streams of what has ended. kubectl waits for the end of the error stream.
    async fn ended(&mut self, ended: Ended) {
        let streams = match ended {
            Ended::Forward { data, error } => vec![data, error],
            Ended::Pairing { request } => match self.pairs.remove(&request) {
                Some(pair) => {
                    self.inputs.remove(&request);
                    [pair.data, pair.error].into_iter().flatten().collect()
                }
                None => return,
            },
        };
        for stream in streams {
            self.streams.remove(&stream);
            self.peer.end(stream).await;
        }
    }
}

/// One forwarded connection.
struct Forward {
    target: Arc<Target>,
    peer: Peer,
    data: u32,
    error: u32,
}

impl Forward {
    async fn run(&self, port: u16, input: mpsc::Receiver<Bytes>) {
        let mut connection = match self.target.dial(port).await {
            Ok(connection) => connection,
            Err(text) => {
                self.peer.data(self.error, Bytes::from(text)).await;
                return;
            }
        };
        let (from_pod, to_pod) = connection.split();
        tokio::select! {
            () = self.up(input, to_pod) => {}
            () = self.down(from_pod) => {}
        }
    }

    /// Client to pod. The client's end is passed on, and the pod may go on sending.
    async fn up(&self, mut input: mpsc::Receiver<Bytes>, mut to_pod: WriteHalf<'_>) {
        let mut refill = Refill::new(self.data);
        while let Some(data) = input.recv().await {
            if to_pod.write_all(&data).await.is_err() {
                // The pod's last words, or the error, come from the other direction.
                break;
            }
            if !refill.used(data.len(), &self.peer).await {
                return;
            }
        }
        drop(input);
        let _ = to_pod.shutdown().await;
        std::future::pending().await
    }

    /// Pod to client, until the pod's end.
    async fn down(&self, mut from_pod: ReadHalf<'_>) {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            match (&mut from_pod).take(CHUNK as u64).read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if !self.peer.data(self.data, buffer.split().freeze()).await {
                return;
            }
        }
    }
}
