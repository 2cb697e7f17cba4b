//! Latency and throughput of an API server: `apiload --kubeconfig FILE [--server https://HOST:PORT] [--count N]
//! [--connections N] [--watchers N] [--objects N]`. Works in a namespace of its own, which it makes and deletes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use barepod_tests::api::Server;
use barepod_tests::stats::Samples;
use serde_json::{Value, json};

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": "x".repeat(256)}})
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let options: BTreeMap<&str, &str> = args
        .chunks(2)
        .filter(|c| c.len() == 2)
        .map(|c| (c[0].trim_start_matches("--"), c[1].as_str()))
        .collect();
    let number = |name: &str, default: usize| {
        options
            .get(name)
            .map_or(Ok(default), |v| v.parse())
            .with_context(|| format!("--{name}"))
    };
    let kubeconfig = options.get("kubeconfig").context(
        "usage: apiload --kubeconfig FILE [--server URL] [--count N] [--connections N] [--watchers N] [--objects N]",
    )?;
    let server = Server::from_kubeconfig(Path::new(kubeconfig), options.get("server").copied())?;
    let namespace = format!("apiload-{}", std::process::id());
    let mut connection = server.connect()?;
    connection.json(
        "POST",
        "/api/v1/namespaces",
        Some(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})),
    )?;
    let base = format!("/api/v1/namespaces/{namespace}/configmaps");
    latencies(&server, &base, number("count", 1000)?)?;
    throughput(&server, &base, number("connections", 16)?, number("objects", 10_000)?)?;
    watchers(&server, &base, number("watchers", 100)?)?;
    let start = Instant::now();
    connection.json("DELETE", &base, None)?;
    println!(
        "{:<44} {:>9.3} ms",
        "deletecollection of all of them",
        start.elapsed().as_secs_f64() * 1e3
    );
    connection.json("DELETE", &format!("/api/v1/namespaces/{namespace}"), None)?;
    Ok(())
}

/// One connection, one request after the other.
fn latencies(server: &Server, base: &str, count: usize) -> Result<()> {
    let mut connection = server.connect()?;
    let mut timed =
        |name: &str, run: &mut dyn FnMut(usize, &mut barepod_tests::api::Connection) -> Result<()>| -> Result<()> {
            let mut samples = Samples::default();
            for i in 0..count {
                let start = Instant::now();
                run(i, &mut connection)?;
                samples.add(start.elapsed());
            }
            println!("{}", samples.line(name));
            Ok(())
        };
    timed("create, one connection", &mut |i, c| {
        c.json("POST", base, Some(&config_map(&format!("l{i}")))).map(drop)
    })?;
    timed("get", &mut |i, c| {
        c.json("GET", &format!("{base}/l{i}"), None).map(drop)
    })?;
    let patch = json!({"data": {"key": "y"}});
    timed("merge patch", &mut |i, c| {
        c.json("PATCH", &format!("{base}/l{i}"), Some(&patch)).map(drop)
    })?;
    timed("delete", &mut |i, c| {
        c.json("DELETE", &format!("{base}/l{i}"), None).map(drop)
    })
}

/// Many connections at once, then lists of what they made.
fn throughput(server: &Server, base: &str, connections: usize, objects: usize) -> Result<()> {
    let each = objects / connections;
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(server.connect()?);
    }
    let start = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = open
            .into_iter()
            .enumerate()
            .map(|(w, mut c)| {
                scope.spawn(move || {
                    (0..each).try_for_each(|i| c.json("POST", base, Some(&config_map(&format!("t{w}-{i}")))).map(drop))
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|w| w.join().expect("a worker does not panic"))
    })?;
    println!(
        "{:<44} {:>9.0} /s",
        format!("creates, {connections} connections"),
        (each * connections) as f64 / start.elapsed().as_secs_f64()
    );
    let mut connection = server.connect()?;
    for (name, query) in [
        ("list of all, whole", ""),
        ("list of all, resourceVersion=0", "?resourceVersion=0"),
        ("list, pages of 500", "?limit=500"),
    ] {
        let mut samples = Samples::default();
        let mut bytes = 0;
        for _ in 0..10 {
            let start = Instant::now();
            bytes = 0;
            let mut next = String::new();
            loop {
                let path = format!(
                    "{base}{query}{}",
                    if next.is_empty() {
                        String::new()
                    } else {
                        format!("&continue={next}")
                    }
                );
                let (status, body) = connection.call("GET", &path, "application/json", &[])?;
                anyhow::ensure!(status == 200, "list: {status}");
                bytes += body.len();
                if !query.contains("limit") {
                    break;
                }
                let list: Value = serde_json::from_slice(&body)?;
                next = list["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
                if next.is_empty() {
                    break;
                }
            }
            samples.add(start.elapsed());
        }
        println!("{} ({:.1} MB)", samples.line(name), bytes as f64 / 1e6);
    }
    Ok(())
}

/// From the send of a create to the event at the last of many watchers.
fn watchers(server: &Server, base: &str, count: usize) -> Result<()> {
    let (seen, events) = mpsc::channel::<(String, Instant)>();
    for _ in 0..count {
        let mut watch = server.connect()?.watch(&format!(
            "{base}?watch=true&allowWatchBookmarks=false&resourceVersion=0&labelSelector=fan%3Dout"
        ))?;
        let seen = seen.clone();
        std::thread::spawn(move || {
            while let Ok(event) = watch.next() {
                let name = event["object"]["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                if seen.send((name, Instant::now())).is_err() {
                    return;
                }
            }
        });
    }
    std::thread::sleep(Duration::from_millis(200));
    let mut connection = server.connect()?;
    let mut samples = Samples::default();
    for i in 0..50 {
        let name = format!("w{i}");
        let mut object = config_map(&name);
        object["metadata"]["labels"] = json!({"fan": "out"});
        let start = Instant::now();
        connection.json("POST", base, Some(&object))?;
        let mut last = start;
        for _ in 0..count {
            let (got, at) = events
                .recv_timeout(Duration::from_secs(10))
                .context("an event at every watcher")?;
            anyhow::ensure!(got == name, "event for {got} instead of {name}");
            last = last.max(at);
        }
        samples.add(last - start);
    }
    println!(
        "{}",
        samples.line(&format!("create -> event at the last of {count} watchers"))
    );
    Ok(())
}
