//! What every connection that carries messages needs.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};

/// How often a client hears from us while its data cannot be taken. kubectl gives up after a minute without a pong.
const PONG_PERIOD: Duration = Duration::from_secs(5);

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
