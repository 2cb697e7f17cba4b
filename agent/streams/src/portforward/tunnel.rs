//! A SPDY connection inside the WebSocket's binary messages.
//!
//! For every connection the client opens two streams with the same `requestid`: an `error` stream, on which the server
//! may write why it failed, and a `data` stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::tungstenite::Message;

use super::Target;
use crate::spdy::{Decoder, Encoder, Frame, Headers, RstStatus, Windows};
use crate::websocket::{self, Socket};

const CHUNK: usize = 32 * 1024;
/// Frames waiting for the client.
const QUEUE: usize = 16;
/// Pieces of data waiting for a pod's connection: 2 MiB as clients cut them. Beyond, the whole tunnel waits, since the
/// client at hand cannot be stopped for a single stream.
const STREAM_QUEUE: usize = 64;
/// Received bytes after which the client's window is refilled.
const REFILL: u32 = 32 * 1024;
/// How long one of two streams waits for the other.
const PAIRING: Duration = Duration::from_secs(30);
/// Connections forwarded at the same time.
const MAX_FORWARDS: usize = 1024;

pub(super) async fn run(socket: Socket, target: Target) {
    let (mut sink, mut stream) = socket.split();
    let (frames, mut receiver) = mpsc::channel::<Frame>(QUEUE);
    // Pongs go beside the frames, which have a state that only the writer keeps.
    let (pongs, mut pong_receiver) = mpsc::channel::<Message>(1);
    let weak_pongs = pongs.downgrade();
    let writer = async {
        let mut encoder = Encoder::new();
        let mut buffer = BytesMut::new();
        loop {
            tokio::select! {
                frame = receiver.recv() => {
                    let Some(frame) = frame else { break };
                    encoder.encode(&frame, &mut buffer);
                    sink.send(Message::Binary(buffer.split().freeze())).await?;
                }
                Some(pong) = pong_receiver.recv() => sink.send(pong).await?,
            }
        }
        sink.send(websocket::close()).await
    };
    let finished = {
        let tunnel = async move {
            let _pongs = pongs;
            let mut tunnel = Tunnel::new(Arc::new(target), frames);
            tunnel.run(&mut stream, &weak_pongs).await;
            stream
        };
        tokio::pin!(writer, tunnel);
        let mut reader = None;
        loop {
            tokio::select! {
                // Fails after the client has closed, which is no reason not to close in order.
                _ = &mut writer => break reader,
                stream = &mut tunnel, if reader.is_none() => reader = Some(stream),
            }
        }
    };
    if let Some(stream) = finished
        && let Ok(socket) = stream.reunite(sink)
    {
        websocket::linger(socket).await;
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
    frames: mpsc::Sender<Frame>,
    windows: Arc<Windows>,
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
    fn new(target: Arc<Target>, frames: mpsc::Sender<Frame>) -> Self {
        Self {
            target,
            frames,
            windows: Arc::new(Windows::new()),
            streams: HashMap::new(),
            pairs: HashMap::new(),
            inputs: HashMap::new(),
            forwards: FuturesUnordered::new(),
            last_stream: 0,
        }
    }

    /// Reads frames and drives the forwards until the client closes or breaks the protocol.
    async fn run<S, E>(&mut self, stream: &mut S, pongs: &mpsc::WeakSender<Message>)
    where
        S: futures_util::Stream<Item = Result<Message, E>> + Unpin,
    {
        let mut decoder = Decoder::new();
        loop {
            tokio::select! {
                data = websocket::next_data(stream) => {
                    let Some(data) = data else { return };
                    decoder.push(&data);
                    loop {
                        match decoder.decode() {
                            Ok(Some(frame)) => {
                                if !self.frame(frame, pongs).await {
                                    return;
                                }
                            }
                            Ok(None) => break,
                            Err(error) => {
                                tracing::warn!(pod = self.target.pod, %error, "port-forward client broke the protocol");
                                let _ = self.frames.send(Frame::GoAway { last_stream: self.last_stream }).await;
                                return;
                            }
                        }
                    }
                }
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
            // Only the client's pings are answered; an even number would be an answer to ours.
            Frame::Ping { id } if !id.is_multiple_of(2) => self.send(Frame::Ping { id }).await,
            Frame::WindowUpdate { stream, delta } => {
                self.windows.update(stream, delta);
                true
            }
            Frame::Settings { initial_window } => {
                if let Some(size) = initial_window {
                    self.windows.set_initial(size);
                }
                true
            }
            // The client opens no more streams; those that are open go on.
            Frame::GoAway { .. }
            | Frame::Ping { .. }
            | Frame::Headers { .. }
            | Frame::SynReply { .. }
            | Frame::Other { .. } => true,
        }
    }

    async fn send(&mut self, frame: Frame) -> bool {
        let frames = self.frames.clone();
        self.driving(async move { frames.send(frame).await.is_ok() }).await
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
        let header = |name: &str| {
            headers
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        let port = header("port")
            .and_then(|port| port.parse::<u16>().ok())
            .filter(|&port| port > 0);
        let kind = header("streamtype");
        // Old clients send no request id; the streams of a connection are numbered in order then.
        let request = match (header("requestid"), kind) {
            (Some(id), _) => id.to_owned(),
            (None, Some("error")) => stream.to_string(),
            (None, _) => stream.saturating_sub(2).to_string(),
        };
        let is_new = !stream.is_multiple_of(2) && stream > self.last_stream;
        let (Some(port), Some(kind @ ("data" | "error")), true) = (port, kind, is_new) else {
            return self
                .send(Frame::RstStream {
                    stream,
                    status: RstStatus::ProtocolError,
                })
                .await;
        };
        self.last_stream = stream;
        let taken = self.pairs.get(&request).is_some_and(|pair| match kind {
            "data" => pair.data.is_some() || pair.port != port,
            _ => pair.error.is_some() || pair.port != port,
        });
        if taken || self.streams.len() >= 2 * MAX_FORWARDS {
            return self
                .send(Frame::RstStream {
                    stream,
                    status: RstStatus::RefusedStream,
                })
                .await;
        }
        if !self
            .send(Frame::SynReply {
                stream,
                fin: false,
                headers: Headers::new(),
            })
            .await
        {
            return false;
        }
        self.windows.open(stream);
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
            frames: self.frames.clone(),
            windows: Arc::clone(&self.windows),
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
            self.windows.close(stream);
            let _ = self
                .frames
                .send(Frame::Data {
                    stream,
                    fin: true,
                    data: Bytes::new(),
                })
                .await;
        }
    }
}

/// One forwarded connection.
struct Forward {
    target: Arc<Target>,
    frames: mpsc::Sender<Frame>,
    windows: Arc<Windows>,
    data: u32,
    error: u32,
}

impl Forward {
    async fn run(&self, port: u16, input: mpsc::Receiver<Bytes>) {
        let mut connection = match self.target.dial(port).await {
            Ok(connection) => connection,
            Err(text) => {
                let data = Bytes::from(text);
                let _ = self
                    .frames
                    .send(Frame::Data {
                        stream: self.error,
                        fin: false,
                        data,
                    })
                    .await;
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
        let mut received = 0;
        while let Some(data) = input.recv().await {
            if to_pod.write_all(&data).await.is_err() {
                // The pod's last words, or the error, come from the other direction.
                break;
            }
            received += u32::try_from(data.len()).unwrap_or(u32::MAX);
            if received >= REFILL {
                for stream in [self.data, 0] {
                    if self
                        .frames
                        .send(Frame::WindowUpdate {
                            stream,
                            delta: received,
                        })
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
                received = 0;
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
            let mut data = buffer.split().freeze();
            while !data.is_empty() {
                let granted = self.windows.take(self.data, data.len()).await;
                let frame = Frame::Data {
                    stream: self.data,
                    fin: false,
                    data: data.split_to(granted),
                };
                if self.frames.send(frame).await.is_err() {
                    return;
                }
            }
        }
    }
}
