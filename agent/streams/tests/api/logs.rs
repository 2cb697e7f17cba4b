use std::io::Write;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::Server;
use super::client::{Channels, admin, connect, get};

fn append(server: &Server, lines: std::ops::Range<u32>) {
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(server.node.log())
        .unwrap();
    for n in lines {
        writeln!(file, "2026-01-01T00:00:00.{n:09}Z stdout F line {n}").unwrap();
    }
}

#[tokio::test]
async fn logs_come_as_text() {
    let server = Server::start().await;
    append(&server, 0..100_000);
    let (status, body) = get(&server, admin(&server), "/containerLogs/default/pod/main")
        .await
        .unwrap();
    assert_eq!((status, body.lines().count()), (200, 100_000));
    let path = "/containerLogs/default/pod/main?tailLines=2&timestamps=true";
    let (_, body) = get(&server, admin(&server), path).await.unwrap();
    assert_eq!(
        body,
        "2026-01-01T00:00:00.000099998Z line 99998\n2026-01-01T00:00:00.000099999Z line 99999\n"
    );
}

#[tokio::test]
async fn following_streams_what_is_written() {
    let server = Server::start().await;
    append(&server, 0..1);
    let mut stream = connect(&server, admin(&server)).await.unwrap();
    let head = "GET /containerLogs/default/pod/main?follow=true HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = String::new();
    for n in 1..20 {
        let wanted = format!("line {}\n", n - 1);
        while !seen.contains(&wanted) {
            let mut buffer = [0; 1000];
            let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut buffer));
            let count = read.await.expect("the line does not come").unwrap();
            seen.push_str(str::from_utf8(&buffer[..count]).unwrap());
        }
        append(&server, n..n + 1);
    }
    server.node.finished.send_replace(true);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.contains("line 19\n") && rest.ends_with("0\r\n\r\n"), "{rest:?}");
}

#[tokio::test]
async fn websockets_carry_logs_as_bytes_and_as_base64() {
    let server = Server::start().await;
    append(&server, 0..5000);
    let path = "/containerLogs/default/pod/main";
    let (_, whole) = get(&server, admin(&server), path).await.unwrap();
    let follow = format!("{path}?follow=true");
    for (path, protocol) in [(path, "binary.k8s.io"), (path, ""), (&follow, "base64.binary.k8s.io")] {
        let mut client = Channels::open(&server, path, protocol).await.unwrap();
        let mut seen = Vec::new();
        let code = loop {
            let next = tokio::time::timeout(Duration::from_secs(10), client.socket.next());
            match next.await.expect("nothing comes").unwrap().unwrap() {
                Message::Binary(data) if !protocol.starts_with("base64") => seen.extend(data),
                Message::Text(text) if protocol.starts_with("base64") => seen.extend(STANDARD.decode(text).unwrap()),
                Message::Close(frame) => break u16::from(frame.unwrap().code),
                other => panic!("{other:?}"),
            }
            if seen.len() == whole.len() {
                // Whoever follows is told of the end of the container only.
                server.node.finished.send_replace(true);
            }
        };
        assert_eq!(
            (code, String::from_utf8(seen).unwrap()),
            (1000, whole.clone()),
            "{protocol}"
        );
    }
    // What is wrong is said before the connection becomes another.
    for (path, protocol, wanted) in [
        ("/containerLogs/default/pod/other", "binary.k8s.io", 404),
        (path, "v4.channel.k8s.io", 400),
    ] {
        match Channels::open(&server, path, protocol).await {
            Err(WsError::Http(response)) => assert_eq!(response.status(), wanted),
            other => panic!("{:?}", other.map(drop)),
        }
    }
}
