//! The channels of a remote command as streams of a SPDY connection.
//!
//! The client opens a stream for each channel that it asked for, and one for the result (`remotecommand` of client-go).
//! Here they are made the messages of version 5 over a WebSocket, where the end of a stream is a message too.

use std::pin::pin;
use std::time::Duration;

use futures_util::{Sink, Stream, StreamExt, sink, stream};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

use super::{CLOSE, ERROR, Protocol, RESIZE, STDERR, STDIN, STDOUT, message, serve};
use crate::error::Error;
use crate::node::{ExecRequest, Session};
use crate::spdy::{self, Frame, Frames, Headers, Peer, Refill, RstStatus, WeakPeer, header};
use crate::upgrade::{self, Plain};

/// Frames waiting for the client.
const QUEUE: usize = 4;
/// Messages waiting for the program: 2 MiB as clients cut them, and more than a window. Beyond, the connection waits, since
/// the client at hand cannot be stopped for a single stream.
const STREAM_QUEUE: usize = 64;
/// How long the client may take to open its streams, as the kubelet has it.
const CREATION: Duration = Duration::from_secs(30);
/// The one ping that is sent to see whether the client is there; a server's are even.
const PING: u32 = 2;

/// Streams by their channels.
type Streams = [Option<u32>; 5];

/// Runs a session, which is begun when the client has opened all streams, to its end or until the client goes away.
pub(super) async fn run(
    connection: Plain,
    protocol: Protocol,
    wanted: &ExecRequest,
    begin: impl Future<Output = Result<Session, Error>>,
) {
    let (mut frames_sink, mut frames_stream) = connection.split();
    let (frames, receiver) = mpsc::channel(QUEUE);
    let (_, others) = mpsc::channel(1);
    let peer = Peer::new(frames);
    let (input, messages) = mpsc::channel(STREAM_QUEUE);
    let (opened, complete) = oneshot::channel();
    let expected = [
        (ERROR, true),
        (STDIN, wanted.stdin),
        (STDOUT, wanted.stdout),
        (STDERR, wanted.stderr),
        (RESIZE, wanted.tty && protocol.resizes),
    ];
    let reader = Reader {
        peer: peer.downgrade(),
        expected: expected.iter().filter(|(_, is)| *is).map(|&(it, _)| it).collect(),
        streams: Streams::default(),
        last_stream: 0,
        input,
        opened: Some(opened),
    };
    let work = async move {
        let Ok(Ok(streams)) = tokio::time::timeout(CREATION, complete).await else {
            return tracing::debug!("the client did not open its streams");
        };
        let session = begin.await;
        let stream = pin!(incoming(messages, peer.clone(), streams));
        let sink = pin!(outgoing(peer, streams));
        serve(sink, stream, protocol, wanted, session).await;
    };
    let writer = spdy::write(receiver, others, &mut frames_sink);
    let in_order = upgrade::drive(writer, work, reader.run(Frames::new(&mut frames_stream))).await;
    if in_order && let Ok(connection) = frames_stream.reunite(frames_sink) {
        upgrade::linger(connection).await;
    }
}

/// What came from the client. Each message counts as used up when the next one is asked for.
fn incoming(
    messages: mpsc::Receiver<Message>,
    peer: Peer,
    streams: Streams,
) -> impl Stream<Item = Result<Message, ()>> {
    let refill = streams[usize::from(STDIN)].map(Refill::new);
    stream::unfold(
        (messages, peer, refill, 0),
        |(mut messages, peer, mut refill, used)| async move {
            if let Some(refill) = &mut refill {
                refill.used(used, &peer).await;
            }
            let message = messages.recv().await?;
            let used = message.len() - 1;
            Some((Ok(message), (messages, peer, refill, used)))
        },
    )
}

/// Where messages become frames.
fn outgoing(peer: Peer, streams: Streams) -> impl Sink<Message, Error = ()> {
    sink::unfold(peer, move |peer, message| async move {
        let sent = match message {
            Message::Binary(mut data) => match streams[usize::from(data.split_to(1)[0])] {
                Some(stream) => peer.data(stream, data).await,
                None => true,
            },
            Message::Close(_) => {
                for stream in streams.into_iter().flatten() {
                    peer.end(stream).await;
                }
                true
            }
            _ => peer.send(Frame::Ping { id: PING }).await,
        };
        if sent { Ok(peer) } else { Err(()) }
    })
}

/// Takes the client's frames.
struct Reader {
    peer: WeakPeer,
    /// The channels that the session needs to begin.
    expected: Vec<u8>,
    streams: Streams,
    last_stream: u32,
    input: mpsc::Sender<Message>,
    opened: Option<oneshot::Sender<Streams>>,
}

impl Reader {
    /// Reads until the client closes or breaks the protocol.
    async fn run<S, E>(mut self, mut frames: Frames<S>)
    where
        S: Stream<Item = Result<Message, E>> + Unpin,
    {
        while let Some(frame) = frames.next().await {
            match frame {
                Ok(frame) => self.frame(frame).await,
                Err(error) => return tracing::warn!(%error, "the client of a command broke the protocol"),
            }
        }
    }

    async fn frame(&mut self, frame: Frame) {
        // Without it the session is over, and only the client's close is waited for.
        let Some(peer) = self.peer.upgrade() else { return };
        match frame {
            Frame::SynStream { stream, fin, headers } => self.open(&peer, stream, fin, &headers).await,
            Frame::Data { stream, fin, data } => {
                let Some(channel) = self.channel(stream) else { return };
                if !data.is_empty() {
                    self.pass(message(channel, &data)).await;
                }
                if fin {
                    self.pass(message(CLOSE, &[channel])).await;
                }
            }
            frame => {
                if let Frame::RstStream { stream, .. } = frame
                    && let Some(channel) = self.channel(stream)
                {
                    self.pass(message(CLOSE, &[channel])).await;
                }
                peer.upkeep(frame).await;
            }
        }
    }

    fn channel(&self, stream: u32) -> Option<u8> {
        (STDIN..)
            .zip(self.streams)
            .find(|&(_, it)| it == Some(stream))
            .map(|(channel, _)| channel)
    }

    async fn pass(&self, message: Message) {
        // Fails when the session is over; what comes is of no use then.
        let _ = self.input.send(message).await;
    }

    async fn open(&mut self, peer: &Peer, stream: u32, fin: bool, headers: &Headers) {
        let channel = match header(headers, "streamtype") {
            Some("stdin") => Some(STDIN),
            Some("stdout") => Some(STDOUT),
            Some("stderr") => Some(STDERR),
            Some("error") => Some(ERROR),
            Some("resize") => Some(RESIZE),
            _ => None,
        };
        let is_new = !stream.is_multiple_of(2) && stream > self.last_stream;
        let channel = channel.filter(|&it| is_new && self.streams[usize::from(it)].is_none());
        let Some(channel) = channel else {
            peer.reset(stream, RstStatus::ProtocolError).await;
            return;
        };
        self.last_stream = stream;
        self.streams[usize::from(channel)] = Some(stream);
        peer.accept(stream).await;
        if fin {
            self.pass(message(CLOSE, &[channel])).await;
        }
        let complete = self.expected.iter().all(|&it| self.streams[usize::from(it)].is_some());
        if complete && let Some(opened) = self.opened.take() {
            let _ = opened.send(self.streams);
        }
    }
}
