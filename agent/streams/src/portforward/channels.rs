//! Plain channels: for the n-th port, channel 2n carries data and channel 2n+1 an error text. The server starts each
//! channel with the port number, two bytes, little endian.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::Target;
use crate::upgrade::{self, Socket};
use crate::websocket;

const CHUNK: usize = 32 * 1024;
/// Messages waiting for the client, and for each port's connection.
const QUEUE: usize = 8;

pub(super) async fn run(socket: Socket, target: Target, ports: &[u16]) {
    let (mut sink, mut stream) = socket.split();
    let (sender, mut receiver) = mpsc::channel::<Message>(QUEUE);
    let writer = async {
        while let Some(message) = receiver.recv().await {
            sink.send(message).await?;
        }
        sink.send(websocket::close()).await
    };
    let weak = sender.downgrade();
    let (inputs, forwards): (Vec<_>, Vec<_>) = ports
        .iter()
        .zip((0_u8..).step_by(2))
        .map(|(&port, channel)| {
            let (input, data) = mpsc::channel(QUEUE);
            (input, forward(&target, port, channel, data, sender.clone()))
        })
        .unzip();
    drop(sender);
    let in_order = {
        let reader = async {
            while let Some(mut data) = websocket::next_data(&mut stream).await {
                if data.is_empty() {
                    continue;
                }
                let payload = data.split_off(1);
                // Nothing is expected on the error channels, which have odd numbers.
                if data[0].is_multiple_of(2)
                    && let Some(input) = inputs.get(usize::from(data[0] / 2))
                {
                    let _ = websocket::with_pongs(input.send(payload), &weak).await;
                }
            }
        };
        let forwards = async { drop(join_all(forwards).await) };
        upgrade::drive(writer, forwards, reader).await
    };
    if in_order && let Ok(socket) = stream.reunite(sink) {
        upgrade::linger(socket).await;
    }
}

/// Forwards one port's only connection. Ends when the pod's side does.
async fn forward(
    target: &Target,
    port: u16,
    channel: u8,
    mut data: mpsc::Receiver<Bytes>,
    sender: mpsc::Sender<Message>,
) {
    for channel in [channel, channel + 1] {
        let [low, high] = port.to_le_bytes();
        if sender
            .send(Message::Binary(vec![channel, low, high].into()))
            .await
            .is_err()
        {
            return;
        }
    }
    let mut connection = match target.dial(port).await {
        Ok(connection) => connection,
        Err(text) => {
            let _ = sender
                .send(Message::Binary([&[channel + 1], text.as_bytes()].concat().into()))
                .await;
            return;
        }
    };
    let (mut from_pod, mut to_pod) = connection.split();
    let up = async {
        while let Some(data) = data.recv().await {
            if to_pod.write_all(&data).await.is_err() {
                break;
            }
        }
        let _ = to_pod.shutdown().await;
        // The pod may still answer.
        std::future::pending::<()>().await;
    };
    let down = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK + 1);
            buffer.put_u8(channel);
            match (&mut from_pod).take(CHUNK as u64).read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) if sender.send(Message::Binary(buffer.split().freeze())).await.is_err() => return,
                Ok(_) => {}
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
