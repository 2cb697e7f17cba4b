use std::sync::atomic::Ordering;
use std::time::Duration;

use barepod_streams::spdy::{Frame, RstStatus};
use tokio_tungstenite::tungstenite::Error as WsError;

use super::Server;
use super::client::{Channels, admin, exit_code, request};
use super::spdy::Spdy;

const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";

fn path(command: &[&str], streams: &str) -> String {
    let encode = |word: &str| word.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let command: String = command
        .iter()
        .map(|word| format!("command={}&", encode(word)))
        .collect();
    format!("/exec/default/pod/main?{command}{streams}")
}

#[tokio::test]
async fn output_and_exit_code_arrive() {
    let server = Server::start().await;
    for protocol in [V5, V4] {
        let path = path(&["sh", "-c", "echo out; echo err >&2; exit 7"], "output=1&error=1");
        let (out, err, status) = Channels::open(&server, &path, protocol).await.unwrap().finish().await;
        assert_eq!(
            (out.as_str(), err.as_str(), exit_code(&status)),
            ("out\n", "err\n", Some("7"))
        );
    }
    let path = path(&["true"], "stdout=true");
    let (_, _, status) = Channels::open(&server, &path, V5).await.unwrap().finish().await;
    assert_eq!(status["status"], "Success");
    let request = server.node.last.lock().unwrap().clone().unwrap();
    assert_eq!(
        (request.command, request.stdin, request.stdout, request.stderr),
        (vec!["true".into()], false, true, false)
    );
}

#[tokio::test]
async fn old_protocols_say_nothing_of_success() {
    let server = Server::start().await;
    let why = "command terminated with non-zero exit code: exit status 7";
    for (command, why) in [("read x; echo $x", ""), ("read x; echo $x; exit 7", why)] {
        for protocol in ["channel.k8s.io", "base64.channel.k8s.io"] {
            let path = path(&["sh", "-c", command], "input=1&output=1");
            let mut client = Channels::open(&server, &path, protocol).await.unwrap();
            client.send(0, b"hi\n").await;
            let mut all = [const { String::new() }; 4];
            while let Some((channel, data)) = client.next().await {
                all[usize::from(channel)].push_str(std::str::from_utf8(&data).unwrap());
            }
            assert_eq!(all, ["", "hi\n", "", why], "{protocol}");
        }
    }
    let path = path(&["sh", "-c", "exit 7"], "output=1");
    let client = Channels::open(&server, &path, "v4.base64.channel.k8s.io")
        .await
        .unwrap();
    assert_eq!(exit_code(&client.finish().await.2), Some("7"));
}

#[tokio::test]
async fn input_ends_when_the_client_closes_it() {
    let server = Server::start().await;
    let mut client = Channels::open(&server, &path(&["wc", "-c"], "input=1&output=1"), V5)
        .await
        .unwrap();
    for _ in 0..100 {
        client.send(0, &[b'x'; 10_000]).await;
    }
    client.send(255, &[0]).await;
    client.send(0, b"after the end").await;
    let (out, _, status) = client.finish().await;
    assert_eq!((out.trim(), exit_code(&status)), ("1000000", Some("0")));
}

#[tokio::test]
async fn echo_goes_both_ways() {
    let server = Server::start().await;
    let mut client = Channels::open(&server, &path(&["cat"], "input=1&output=1"), V5)
        .await
        .unwrap();
    for n in 0..200_u32 {
        let text = format!("message {n}\n");
        client.send(0, text.as_bytes()).await;
        assert_eq!(client.next().await.unwrap(), (1, text.into_bytes()));
    }
    client.send(255, &[0]).await;
    assert_eq!(exit_code(&client.finish().await.2), Some("0"));
}

#[tokio::test]
async fn a_terminal_is_told_its_size() {
    let server = Server::start().await;
    let mut client = Channels::open(&server, &path(&["sh"], "input=1&output=1&error=1&tty=1"), V5)
        .await
        .unwrap();
    client.send(4, br#"{"Width":80,"Height":24}"#).await;
    assert_eq!(client.next().await.unwrap(), (1, b"80x24\r\n".to_vec()));
    client.send(4, b"not a size").await;
    client.send(9, b"not a channel").await;
    client.send(4, br#"{"Width":132,"Height":50}"#).await;
    assert_eq!(client.next().await.unwrap(), (1, b"132x50\r\n".to_vec()));
    client.send(0, &[42]).await;
    assert_eq!(exit_code(&client.finish().await.2), Some("42"));
}

#[tokio::test]
async fn failures_are_statuses() {
    let server = Server::start().await;
    let missing = path(&["/no/such/program"], "output=1");
    let (_, _, status) = Channels::open(&server, &missing, V5).await.unwrap().finish().await;
    assert_eq!(
        (status["status"].as_str(), status["reason"].as_str()),
        (Some("Failure"), Some("InternalError"))
    );
    assert!(status["message"].as_str().unwrap().contains("/no/such/program"));
    let nowhere = "/exec/default/pod/other?command=true&output=1";
    let (_, _, status) = Channels::open(&server, nowhere, V5).await.unwrap().finish().await;
    assert_eq!(
        (status["reason"].as_str(), status["code"].as_u64()),
        (Some("NotFound"), Some(404))
    );
    match Channels::open(&server, &path(&["true"], "output=1"), "v1.channel.k8s.io").await {
        Err(WsError::Http(response)) => assert_eq!(response.status(), 400),
        other => panic!("{:?}", other.map(drop)),
    }
}

#[tokio::test]
async fn attach_says_nothing_about_the_exit_code() {
    let server = Server::start().await;
    let path = "/attach/default/pod/main?stdin=1&stdout=1&stderr=1";
    let mut client = Channels::open(&server, path, V5).await.unwrap();
    assert_eq!(client.next().await.unwrap(), (1, b"attached\n".to_vec()));
    client.send(0, b"hi").await;
    client.send(255, &[0]).await;
    let (out, _, status) = client.finish().await;
    assert_eq!((out.as_str(), status["status"].as_str()), ("hi", Some("Success")));
}

#[tokio::test]
async fn what_a_program_leaves_running_does_not_hold_the_session() {
    let server = Server::start().await;
    let path = path(&["sh", "-c", "echo done; sleep 3 &"], "output=1");
    let started = std::time::Instant::now();
    let (out, _, status) = Channels::open(&server, &path, V5).await.unwrap().finish().await;
    assert_eq!((out.as_str(), exit_code(&status)), ("done\n", Some("0")));
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn large_output_arrives_whole() {
    let server = Server::start().await;
    let path = path(&["head", "-c", "20000000", "/dev/zero"], "output=1");
    let (out, _, status) = Channels::open(&server, &path, V5).await.unwrap().finish().await;
    assert_eq!((out.len(), exit_code(&status)), (20_000_000, Some("0")));
}

#[tokio::test]
async fn a_slow_client_stops_only_itself() {
    let server = Server::start().await;
    let flood = path(&["sh", "-c", "cat /dev/zero"], "output=1");
    let slow = Channels::open(&server, &flood, V5).await.unwrap();
    let stuck = path(&["sleep", "60"], "input=1&output=1");
    let mut unread = Channels::open(&server, &stuck, V5).await.unwrap();
    // More than pipe and sockets hold, so that the server waits for the program; it must not wait with anything else.
    let stuffed = tokio::time::timeout(Duration::from_secs(1), async {
        loop {
            unread.send(0, &[0; 30_000]).await;
        }
    });
    let path = path(&["echo", "hi"], "output=1");
    let (_, (out, _, _)) = tokio::join!(stuffed, async {
        Channels::open(&server, &path, V5).await.unwrap().finish().await
    });
    assert_eq!(out, "hi\n");
    drop((slow, unread));
    gone(&server).await;
}

#[tokio::test]
async fn a_client_that_vanishes_ends_its_session() {
    let server = Server::start().await;
    let mut silent = Channels::open(&server, &path(&["sleep", "60"], "output=1"), V5)
        .await
        .unwrap();
    let closing = Channels::open(&server, &path(&["sleep", "60"], "input=1"), V5)
        .await
        .unwrap();
    wait(&server, 2).await;
    let mut closing = closing;
    closing.socket.close(None).await.unwrap();
    drop(closing);
    wait(&server, 1).await;
    silent.send(0, b"x").await;
    drop(silent);
    gone(&server).await;
}

/// What client-go offers, the best first.
const SPDY: [&str; 5] = [V5, V4, "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];

/// Reads until these streams have ended.
async fn all_ended(client: &mut Spdy, streams: &[u32]) {
    client
        .until(|client, _| streams.iter().all(|&stream| client.has_ended(stream)))
        .await;
}

#[tokio::test]
async fn spdy_has_a_stream_for_each_channel() {
    let server = Server::start().await;
    let why = "command terminated with non-zero exit code: exit status 7";
    for at in 0..SPDY.len() {
        let path = path(&["sh", "-c", "cat; echo err >&2; exit 7"], "input=1&output=1&error=1");
        let mut client = Spdy::plain(&server, &path, &SPDY[at..]).await;
        let mut streams = Vec::new();
        for kind in ["error", "stdin", "stdout"] {
            streams.push(client.open(kind, &[]).await);
        }
        // Nothing begins before the last stream is there; what comes early waits for it.
        client.data(streams[1], b"early, ", false).await;
        client.send(&[Frame::Ping { id: 1 }]).await;
        client.until(|_, frame| *frame == Frame::Ping { id: 1 }).await;
        assert_eq!(server.node.sessions.load(Ordering::SeqCst), 0);
        streams.push(client.open("stderr", &[]).await);
        client.data(streams[1], b"late", true).await;
        all_ended(&mut client, &streams).await;
        let texts: Vec<_> = streams.iter().map(|&stream| client.text(stream)).collect();
        assert_eq!(texts[1..], ["", "early, late", "err\n"], "{}", SPDY[at]);
        match at {
            0 | 1 => assert_eq!(exit_code(&serde_json::from_str(&texts[0]).unwrap()), Some("7")),
            _ => assert_eq!(texts[0], why, "{}", SPDY[at]),
        }
        gone(&server).await;
    }
    for (protocol, said) in [(V4, r#"{"metadata":{},"status":"Success"}"#), ("v2.channel.k8s.io", "")] {
        let mut client = Spdy::plain(&server, &path(&["true"], "output=1"), &[protocol]).await;
        let streams = [client.open("error", &[]).await, client.open("stdout", &[]).await];
        all_ended(&mut client, &streams).await;
        assert_eq!(client.text(streams[0]), said);
    }
}

#[tokio::test]
async fn spdy_resizes_terminals_and_attaches() {
    let server = Server::start().await;
    let terminal = path(&["sh"], "input=1&output=1&tty=1");
    let mut client = Spdy::plain(&server, &terminal, &["v3.channel.k8s.io"]).await;
    let mut streams = Vec::new();
    for kind in ["error", "stdin", "stdout", "resize"] {
        streams.push(client.open(kind, &[]).await);
    }
    for (size, said) in [
        (&b"{\"Width\":80,\"Height\":24}\n"[..], "80x24\r\n"),
        (b"{\"Width\":132,\"Height\":50}\n", "80x24\r\n132x50\r\n"),
    ] {
        client.data(streams[3], size, false).await;
        client
            .until(|client, frame| matches!(frame, Frame::Data { .. }) && client.text(streams[2]) == said)
            .await;
    }
    client.data(streams[1], &[0], false).await;
    all_ended(&mut client, &streams).await;
    assert_eq!(client.text(streams[0]), "");
    let attach = "/attach/default/pod/main?stdin=1&stdout=1";
    let mut client = Spdy::plain(&server, attach, &SPDY).await;
    let [error, stdin, stdout] = [
        client.open("error", &[]).await,
        client.open("stdin", &[]).await,
        client.open("stdout", &[]).await,
    ];
    client.data(stdin, b"hi", true).await;
    all_ended(&mut client, &[error, stdin, stdout]).await;
    assert_eq!(client.text(stdout), "attached\nhi");
    assert!(client.text(error).contains("Success"));
}

#[tokio::test]
async fn spdy_carries_megabytes_with_and_without_flow_control() {
    let server = Server::start().await;
    for controlled in [false, true] {
        let mut client = Spdy::plain(&server, &path(&["cat"], "input=1&output=1"), &SPDY).await;
        if controlled {
            let initial_window = Some(1000);
            client.send(&[Frame::Settings { initial_window }]).await;
        }
        let error = client.open("error", &[]).await;
        let stdin = client.open("stdin", &[]).await;
        let stdout = client.open("stdout", &[]).await;
        let block = [7; 32 * 1024];
        let (mut granted, mut sent) = (1000, 0);
        while sent < 64 * block.len() {
            client.data(stdin, &block, false).await;
            sent += block.len();
            // A client with windows is sent no more than it has room for, and makes room for all of it.
            while controlled && client.streams.get(&stdout).is_none_or(|(seen, _)| seen.len() < sent) {
                client.next().await.unwrap();
                let seen = client.streams.get(&stdout).map_or(0, |(seen, _)| seen.len());
                assert!(seen <= granted, "{seen} of {granted}");
                if seen == granted {
                    granted += 9000;
                    for stream in [stdout, 0] {
                        client.send(&[Frame::WindowUpdate { stream, delta: 9000 }]).await;
                    }
                }
            }
            if !controlled {
                client
                    .until(|client, _| client.streams.get(&stdout).is_some_and(|(seen, _)| seen.len() == sent))
                    .await;
            }
        }
        client.data(stdin, b"", true).await;
        if controlled {
            client
                .send(&[Frame::WindowUpdate {
                    stream: error,
                    delta: 9000,
                }])
                .await;
        }
        all_ended(&mut client, &[error, stdin, stdout]).await;
        assert_eq!(client.streams[&stdout].0.len(), sent);
        // What was sent has been credited, for the stream and for the connection.
        assert!(
            client.windows[&stdin] > 1_900_000 && client.windows[&stdin] == client.windows[&0],
            "{:?}",
            client.windows
        );
    }
}

#[tokio::test]
async fn spdy_clients_that_break_off_or_break_rules() {
    let server = Server::start().await;
    let sleep = path(&["sleep", "60"], "input=1");
    let mut client = Spdy::plain(&server, &sleep, &SPDY).await;
    let error = client.open("error", &[]).await;
    for kind in ["error", "data"] {
        let stream = client.open(kind, &[]).await;
        let status = RstStatus::ProtocolError;
        client
            .until(|_, frame| *frame == Frame::RstStream { stream, status })
            .await;
    }
    let stdin = client.open("stdin", &[]).await;
    client.until(|client, _| client.streams.contains_key(&stdin)).await;
    wait(&server, 1).await;
    assert!(!client.has_ended(error));
    drop(client);
    gone(&server).await;
    // A reset ends the input as an end does.
    let mut client = Spdy::plain(&server, &path(&["cat"], "input=1&output=1"), &SPDY).await;
    let streams = [
        client.open("error", &[]).await,
        client.open("stdin", &[]).await,
        client.open("stdout", &[]).await,
    ];
    let (stream, status) = (streams[1], RstStatus::Cancel);
    client.send(&[Frame::RstStream { stream, status }]).await;
    all_ended(&mut client, &streams).await;
    client.send_bytes(&[0x80, 9, 0, 1, 0, 0, 0, 0]).await;
    assert_eq!(client.next().await, None);
    // Nothing is agreed on without a protocol that is known.
    for offer in ["", "X-Stream-Protocol-Version: v9.channel.k8s.io\r\n"] {
        let headers = format!("Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n{offer}");
        let (status, text) = request(&server, admin(&server), "POST", &sleep, &headers)
            .await
            .unwrap();
        assert!(status == 400 && text.contains("v4.channel.k8s.io"), "{status} {text}");
    }
}

async fn gone(server: &Server) {
    wait(server, 0).await;
}

async fn wait(server: &Server, sessions: usize) {
    let reached = async {
        while server.node.sessions.load(Ordering::SeqCst) != sessions {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // Beyond the pong that finds out about a client that vanished while its input was stuck.
    tokio::time::timeout(Duration::from_secs(20), reached)
        .await
        .expect("sessions remain");
}
