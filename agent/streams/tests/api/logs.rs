use std::io::Write;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Server;
use super::client::{admin, connect, get};

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
