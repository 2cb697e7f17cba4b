//! What the store on etcd takes beyond etcd itself: `etcdbench ENDPOINT [ROUNDS]`, for example `http://127.0.0.1:2379`.
//!
//! Both write the same objects over a connection of their own, in turn, so that a slow moment of the disk hits both.

#![allow(dead_code, reason = "the modules are the store's own, which uses more of them")]

#[path = "../src/etcd/grpc.rs"]
mod grpc;
#[path = "../src/etcd/messages.rs"]
mod messages;
#[path = "../src/etcd/wire.rs"]
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use barepod_store::{Change, Encoded, Etcd, EtcdOptions, Expect, Store, Write};
use grpc::{Channel, Endpoint};
use messages::{Compare, Operation};

const TXN: &str = "/etcdserverpb.KV/Txn";

fn json(number: usize) -> Vec<u8> {
    format!(
        "{{\"metadata\":{{\"resourceVersion\":\"\",\"name\":\"{number}\"}},\"data\":\"{}\"}}",
        "x".repeat(512)
    )
    .into()
}

/// Median and 99th percentile in milliseconds.
fn line(name: &str, samples: &mut [Duration]) -> f64 {
    samples.sort_unstable();
    let at = |part: usize| samples[(samples.len() - 1) * part / 100].as_secs_f64() * 1e3;
    println!(
        "{name:<44} n={:<6} p50 {:>8.3} ms   p99 {:>8.3} ms",
        samples.len(),
        at(50),
        at(99)
    );
    at(50)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().expect("an endpoint of etcd: http://HOST:PORT");
    let rounds: usize = arguments.next().map_or(1000, |text| text.parse().expect("a number"));
    let prefix = format!("/etcdbench-{}", std::process::id());
    let (host, port) = endpoint
        .strip_prefix("http://")
        .and_then(|address| address.split_once(':'))
        .expect("http://HOST:PORT");
    let endpoints = vec![Endpoint {
        host: host.to_owned(),
        port: port.parse().expect("a port"),
        tls: false,
    }];
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let own = Channel::new(endpoints, Arc::new(tls));
    let mut options = EtcdOptions::new(vec![endpoint.clone()]);
    options.prefix.clone_from(&prefix);
    let store = Etcd::connect(options).await.expect("etcd can be reached");
    let mut watcher = store.watch("/a/", store.revision()).expect("a watch");
    let (mut etcd, mut through, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..rounds {
        let key = format!("{prefix}-own/{number:08}").into_bytes();
        let put = Operation::Put(messages::put(&key, &json(number), 0));
        let message = messages::transaction(&[Compare::ModRevision(&key, 0)], &put, None);
        let start = Instant::now();
        own.call(TXN, &message, Duration::from_secs(10))
            .await
            .expect("a transaction");
        etcd.push(start.elapsed());
        let put = Change::Put(Encoded::new(json(number), 32));
        let write = Write::new(format!("/a/{number:08}"), Expect::Absent, put);
        let start = Instant::now();
        store.write(write).await.expect("a write");
        through.push(start.elapsed());
        watcher.next().await.expect("an event");
        seen.push(start.elapsed());
    }
    let floor = line("a transaction of etcd", &mut etcd);
    let ours = line("the same through the store", &mut through);
    line("until a watcher has it", &mut seen);
    println!("{:<44} {:.2} x", "the store beside etcd", ours / floor);
}
