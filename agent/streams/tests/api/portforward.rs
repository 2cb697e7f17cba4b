use std::collections::HashMap;
use std::net::SocketAddr;

use barepod_streams::spdy::{Frame, RstStatus};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::Server;
use super::client::Channels;
use super::spdy::Spdy;

/// A service that greets, then echoes until the client's end, and then says goodbye.
pub async fn service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                write.write_all(b"hello ").await?;
                tokio::io::copy(&mut read, &mut write).await?;
                write.write_all(b" goodbye").await
            });
        }
    });
    address
}

/// A port nobody listens on.
pub async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[tokio::test]
async fn plain_channels_carry_each_port() {
    let server = Server::start().await;
    let (open, closed) = (service().await.port(), closed_port().await);
    let path = format!("/portForward/default/pod?ports={open},{closed}");
    let mut client = Channels::open(&server, &path, "v4.channel.k8s.io").await.unwrap();
    client.send(0, b"there").await;
    let mut channels: HashMap<u8, Vec<u8>> = HashMap::new();
    let complete = |channels: &HashMap<u8, Vec<u8>>| {
        channels.get(&0).is_some_and(|data| data.len() >= 13) && channels.get(&3).is_some_and(|data| data.len() > 2)
    };
    while !complete(&channels) {
        let (channel, data) = client.next().await.unwrap();
        channels.entry(channel).or_default().extend(data);
    }
    assert_eq!(channels[&0], [&open.to_le_bytes()[..], b"hello there"].concat());
    assert_eq!(channels[&1], open.to_le_bytes());
    assert_eq!(channels[&2], closed.to_le_bytes());
    assert_eq!(channels[&3][..2], closed.to_le_bytes());
    assert!(String::from_utf8_lossy(&channels[&3][2..]).contains("refused"));
}

/// Both ways that SPDY comes.
async fn tunnels(server: &Server) -> [Spdy; 2] {
    let path = "/portForward/default/pod";
    [
        Spdy::tunnelled(server, path, "SPDY/3.1+portforward.k8s.io").await,
        Spdy::plain(server, path, &["portforward.k8s.io"]).await,
    ]
}

impl Spdy {
    /// Opens the two streams of a connection; returns the error and the data stream.
    async fn forward(&mut self, port: u16) -> (u32, u32) {
        let headers = [("port", port.to_string()), ("requestID", self.next_stream.to_string())];
        let error = self.open("error", &headers).await;
        self.data(error, b"", true).await;
        (error, self.open("data", &headers).await)
    }
}

#[tokio::test]
async fn the_tunnel_forwards_and_ends_in_order() {
    let server = Server::start().await;
    for mut tunnel in tunnels(&server).await {
        let port = service().await.port();
        let (error, data) = tunnel.forward(port).await;
        tunnel.data(data, b"world", false).await;
        tunnel
            .until(|tunnel, _| {
                tunnel
                    .streams
                    .get(&data)
                    .is_some_and(|(seen, _)| seen == b"hello world")
            })
            .await;
        // The client ends its side; the pod still answers.
        tunnel.data(data, b"!", true).await;
        tunnel
            .until(|tunnel, _| tunnel.has_ended(data) && tunnel.has_ended(error))
            .await;
        assert_eq!(
            (tunnel.text(data).as_str(), tunnel.text(error).as_str()),
            ("hello world! goodbye", "")
        );
        // The same tunnel takes further connections, several at a time.
        let pairs = [
            tunnel.forward(port).await,
            tunnel.forward(port).await,
            tunnel.forward(port).await,
        ];
        for (n, (_, data)) in pairs.iter().enumerate() {
            tunnel.data(*data, n.to_string().as_bytes(), true).await;
        }
        tunnel
            .until(|tunnel, _| pairs.iter().all(|(error, _)| tunnel.has_ended(*error)))
            .await;
        for (n, (_, data)) in pairs.iter().enumerate() {
            assert_eq!(tunnel.text(*data), format!("hello {n} goodbye"));
        }
    }
}

#[tokio::test]
async fn failures_are_told_on_the_error_stream() {
    let server = Server::start().await;
    for mut tunnel in tunnels(&server).await {
        let (error, data) = tunnel.forward(closed_port().await).await;
        tunnel
            .until(|tunnel, _| tunnel.has_ended(data) && tunnel.has_ended(error))
            .await;
        assert!(tunnel.text(error).contains("refused"), "{}", tunnel.text(error));
        // Streams that fit nothing are reset, pings answered, and the rest goes on.
        let stream = tunnel.next_stream;
        tunnel.next_stream += 2;
        tunnel
            .send(&[
                Frame::SynStream {
                    stream,
                    fin: false,
                    headers: Vec::new(),
                },
                Frame::Ping { id: 7 },
            ])
            .await;
        let reset = tunnel.until(|_, frame| matches!(frame, Frame::RstStream { .. })).await;
        assert_eq!(
            reset,
            Frame::RstStream {
                stream,
                status: RstStatus::ProtocolError
            }
        );
        tunnel.until(|_, frame| *frame == Frame::Ping { id: 7 }).await;
        let (_, data) = tunnel.forward(service().await.port()).await;
        tunnel
            .until(|tunnel, _| tunnel.streams.get(&data).is_some_and(|(seen, _)| seen == b"hello "))
            .await;
        // A reset ends the forward, and the error stream with it.
        tunnel
            .send(&[Frame::RstStream {
                stream: data,
                status: RstStatus::Cancel,
            }])
            .await;
        tunnel.until(|tunnel, _| tunnel.has_ended(data - 2)).await;
    }
}

#[tokio::test]
async fn megabytes_pass_without_flow_control_and_windows_are_refilled() {
    let server = Server::start().await;
    for mut tunnel in tunnels(&server).await {
        let (_, data) = tunnel.forward(service().await.port()).await;
        let block = [7; 32 * 1024];
        for _ in 0..64 {
            // kubectl's library never refills a window: nothing is read meanwhile, and nothing may wait for it.
            tunnel.data(data, &block, false).await;
            tunnel
                .until(|tunnel, frame| tunnel.windows.contains_key(&data) || matches!(frame, Frame::Data { .. }))
                .await;
        }
        let total = 6 + 64 * block.len();
        tunnel.until(|tunnel, _| tunnel.streams[&data].0.len() == total).await;
        // All but the last bit of what was sent has been credited, for the stream and for the connection.
        assert!(
            tunnel.windows[&data] > 1_900_000 && tunnel.windows[&data] == tunnel.windows[&0],
            "{:?}",
            tunnel.windows
        );
    }
}

#[tokio::test]
async fn a_peer_with_flow_control_is_not_overrun() {
    let server = Server::start().await;
    for mut tunnel in tunnels(&server).await {
        tunnel
            .send(&[Frame::Settings {
                initial_window: Some(4),
            }])
            .await;
        let (_, data) = tunnel.forward(service().await.port()).await;
        tunnel
            .until(|tunnel, frame| matches!(frame, Frame::Data { .. }) && tunnel.text(data) == "hell")
            .await;
        tunnel.send(&[Frame::Ping { id: 1 }]).await;
        tunnel.until(|_, frame| *frame == Frame::Ping { id: 1 }).await;
        assert_eq!(tunnel.text(data), "hell");
        tunnel
            .send(&[Frame::WindowUpdate {
                stream: data,
                delta: 100,
            }])
            .await;
        tunnel.until(|tunnel, _| tunnel.text(data) == "hello ").await;
    }
}

#[tokio::test]
async fn garbage_ends_the_tunnel_only() {
    let server = Server::start().await;
    for mut tunnel in tunnels(&server).await {
        tunnel.send_bytes(&[0x80, 9, 0, 1, 0, 0, 0, 0]).await;
        tunnel.until(|_, frame| matches!(frame, Frame::GoAway { .. })).await;
        assert_eq!(tunnel.next().await, None);
    }
}
