//! Remote commands: the streams of a program as channels of a WebSocket, or as streams of SPDY.
//!
//! Every message starts with a byte that names its channel. Version 5 differs from 4 only in that the client can close
//! its side of a channel, which is how a program sees the end of its input (KEP-4006). Before version 4 a failure came as
//! text and success as nothing (`remotecommand` of kube-apiserver still speaks so). The protocols in base64, which pages
//! in browsers use, name the channel by a digit and send text.

mod spdy;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use serde::Deserialize;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Message;

use crate::error::Error;
use crate::node::{ExecRequest, ExitStatus, Session, TerminalSize};
use crate::status;
use crate::upgrade::{self, Connection, Protocols};
use crate::websocket;

/// Subprotocols, the best first. SPDY has versions of its own: 2 and 3, with which terminals are resized from then on, tell
/// results as the first does.
pub(crate) const PROTOCOLS: Protocols = Protocols {
    websocket: &[
        "v5.channel.k8s.io",
        "v4.channel.k8s.io",
        "v4.base64.channel.k8s.io",
        "channel.k8s.io",
        "base64.channel.k8s.io",
    ],
    spdy: &[
        "v5.channel.k8s.io",
        "v4.channel.k8s.io",
        "v3.channel.k8s.io",
        "v2.channel.k8s.io",
        "channel.k8s.io",
    ],
};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Followed by the channel that is closed; version 5 only.
const CLOSE: u8 = 255;

/// Bytes of output in one message.
const CHUNK: usize = 32 * 1024;
/// Messages waiting for the client.
const QUEUE: usize = 4;
/// How long output is waited for after the program has ended: something it left running may hold the stream open.
const DRAIN: Duration = Duration::from_millis(200);

/// What one of [`PROTOCOLS`] asks for.
#[derive(Debug, Clone, Copy)]
struct Protocol {
    base64: bool,
    /// Results are statuses, of success too.
    statuses: bool,
    /// A terminal's client opens a stream for its size.
    resizes: bool,
}

impl Protocol {
    fn of(name: &str) -> Self {
        let statuses = name.starts_with("v5.") || name.starts_with("v4.");
        Self {
            base64: name.contains("base64."),
            statuses,
            resizes: statuses || name.starts_with("v3."),
        }
    }

    /// A message of a channel's byte and data as it is sent.
    fn sent(self, message: Message) -> Message {
        match message {
            Message::Binary(bytes) if self.base64 => {
                let digit = char::from(b'0' + bytes[0]);
                Message::Text(format!("{digit}{}", STANDARD.encode(&bytes[1..])).into())
            }
            other => other,
        }
    }

    /// Channel and data of what was received.
    fn received(self, mut data: Bytes) -> Option<(u8, Bytes)> {
        let payload = (!data.is_empty()).then(|| data.split_off(1))?;
        if !self.base64 {
            return Some((data[0], payload));
        }
        let payload = STANDARD.decode(payload).ok()?;
        Some((data[0].checked_sub(b'0')?, payload.into()))
    }

    /// What the error channel says of a result, if anything.
    fn result(self, result: &Result<ExitStatus, Error>) -> Option<String> {
        let status = status::of(result);
        if self.statuses {
            return Some(status.to_string());
        }
        status["message"].as_str().map(str::to_owned)
    }
}

/// Runs the session that `begin` makes to its end, or until the client goes away.
pub(crate) async fn run(
    connection: Connection,
    protocol: &'static str,
    wanted: &ExecRequest,
    begin: impl Future<Output = Result<Session, Error>>,
) {
    let protocol = Protocol::of(protocol);
    match connection {
        Connection::Spdy(connection) => spdy::run(connection, protocol, wanted, begin).await,
        Connection::WebSocket(socket) => {
            let session = begin.await;
            let (mut sink, mut stream) = socket.split();
            // By its end the session has been dropped.
            if serve(&mut sink, &mut stream, protocol, wanted, session).await
                && let Ok(socket) = stream.reunite(sink)
            {
                upgrade::linger(socket).await;
            }
        }
    }
}

/// Carries a session's messages. True if the connection can be ended in order.
async fn serve<W, S, E>(
    mut sink: W,
    mut stream: S,
    protocol: Protocol,
    wanted: &ExecRequest,
    session: Result<Session, Error>,
) -> bool
where
    W: Sink<Message> + Unpin,
    S: Stream<Item = Result<Message, E>> + Unpin,
{
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    let writer = async {
        while let Some(message) = receiver.recv().await {
            sink.send(protocol.sent(message)).await?;
        }
        Ok::<_, W::Error>(())
    };
    let (input, output) = match session {
        Ok(Session {
            stdin,
            stdout,
            stderr,
            resize,
            exit,
        }) => (
            Input {
                stdin,
                resize,
                writer: sender.downgrade(),
                protocol,
            },
            Ok((stdout, stderr, exit)),
        ),
        Err(error) => (
            Input {
                stdin: None,
                resize: None,
                writer: sender.downgrade(),
                protocol,
            },
            Err(error),
        ),
    };
    let work = async move {
        greet(&sender, wanted).await;
        let result = match output {
            Ok((stdout, stderr, exit)) => outputs(stdout, stderr, exit, &sender).await,
            Err(error) => Err(error),
        };
        if let Some(result) = protocol.result(&result) {
            let _ = sender.send(message(ERROR, result.as_bytes())).await;
        }
        let _ = sender.send(websocket::close()).await;
    };
    upgrade::drive(writer, work, input.read(&mut stream)).await
}

/// The session with every exit taken as success.
pub(crate) fn without_exit_code(session: Session) -> Session {
    let exit = Box::pin(async { session.exit.await.map(|_| ExitStatus { code: 0 }) });
    Session { exit, ..session }
}

/// An empty message on the first channel tells the client that the connection stands.
async fn greet(sender: &mpsc::Sender<Message>, wanted: &ExecRequest) {
    let channel = match wanted {
        ExecRequest { stdout: true, .. } => STDOUT,
        ExecRequest { stderr: true, .. } => STDERR,
        _ => ERROR,
    };
    let _ = sender.send(message(channel, &[])).await;
}

fn message(channel: u8, data: &[u8]) -> Message {
    let mut bytes = BytesMut::with_capacity(data.len() + 1);
    bytes.put_u8(channel);
    bytes.put_slice(data);
    Message::Binary(bytes.freeze())
}

type Reader = Box<dyn AsyncRead + Send + Unpin>;

async fn outputs(
    stdout: Option<Reader>,
    stderr: Option<Reader>,
    exit: impl Future<Output = Result<ExitStatus, Error>>,
    sender: &mpsc::Sender<Message>,
) -> Result<ExitStatus, Error> {
    let (exited, ended) = watch::channel(false);
    let pumps = async {
        tokio::join!(
            pump(STDOUT, stdout, sender, ended.clone()),
            pump(STDERR, stderr, sender, ended.clone())
        );
    };
    let exit = async {
        let result = exit.await;
        exited.send_replace(true);
        result
    };
    tokio::join!(pumps, exit).1
}

/// Sends what a stream yields until it ends, or nothing comes any more from it after the program has ended.
async fn pump(channel: u8, reader: Option<Reader>, sender: &mpsc::Sender<Message>, mut ended: watch::Receiver<bool>) {
    let Some(mut reader) = reader else { return };
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK + 1);
        buffer.put_u8(channel);
        let mut limited = (&mut reader).take(CHUNK as u64);
        tokio::select! {
            biased;
            read = limited.read_buf(&mut buffer) => match read {
                // A terminal whose last process is gone reports EIO (pty(7)).
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    if sender.send(Message::Binary(buffer.split().freeze())).await.is_err() {
                        return;
                    }
                }
            },
            () = drained(&mut ended) => return,
        }
    }
}

async fn drained(ended: &mut watch::Receiver<bool>) {
    // The sender lives as long as the pumps.
    let _ = ended.wait_for(|&ended| ended).await;
    tokio::time::sleep(DRAIN).await;
}

/// What comes from the client.
struct Input {
    stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    resize: Option<mpsc::Sender<TerminalSize>>,
    writer: mpsc::WeakSender<Message>,
    protocol: Protocol,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

impl Input {
    /// Passes messages on until the client closes or is gone.
    async fn read<S, E>(mut self, stream: &mut S)
    where
        S: Stream<Item = Result<Message, E>> + Unpin,
    {
        while let Some(data) = websocket::next_data(stream).await {
            let Some((channel, payload)) = self.protocol.received(data) else {
                continue;
            };
            match channel {
                STDIN => self.write(payload).await,
                RESIZE => self.resize(&payload).await,
                CLOSE if payload.first() == Some(&STDIN) => self.close().await,
                _ => tracing::debug!(channel, "ignoring a message on an unknown channel"),
            }
        }
    }

    async fn write(&mut self, data: Bytes) {
        let Some(stdin) = &mut self.stdin else { return };
        let write = async {
            stdin.write_all(&data).await?;
            stdin.flush().await
        };
        // A program may close its input and go on.
        if websocket::with_pongs(write, &self.writer).await.is_err() {
            self.stdin = None;
        }
    }

    async fn close(&mut self) {
        if let Some(mut stdin) = self.stdin.take() {
            let _ = websocket::with_pongs(stdin.shutdown(), &self.writer).await;
        }
    }

    async fn resize(&mut self, payload: &[u8]) {
        if let (Some(resize), Ok(Size { width, height })) = (&self.resize, serde_json::from_slice(payload)) {
            let send = resize.send(TerminalSize { width, height });
            let _ = websocket::with_pongs(send, &self.writer).await;
        }
    }
}
