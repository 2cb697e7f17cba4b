use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_tungstenite::tungstenite::Error as WsError;

use super::Server;
use super::client::{Channels, exit_code};

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
