//! Ten thousand connections, watches that nobody reads, watches whose client has hung up: memory stays bounded, what is
//! over is given back, and others are served as ever. The server is a process of its own, so that its memory is its own.

#[path = "support/server.rs"]
mod server;

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use server::{Cluster, get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const DIRECTORY: &str = "BAREPOD_TEST_CROWD";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Not a test of its own: the server.
#[test]
fn server_process() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let config = server::config(Path::new(&directory), (Ipv4Addr::LOCALHOST, 0).into());
    let runtime = barepod_control::runtime().unwrap();
    // On a line of its own: the harness has begun one.
    let ready = |address: SocketAddr| println!("\nready {}", address.port());
    runtime.block_on(barepod_control::run(config, ready)).unwrap();
}

/// The server and a way to it.
struct World {
    child: Child,
    cluster: Cluster,
}

impl World {
    async fn start() -> Self {
        let directory = server::directory();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "server_process", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| line.unwrap().strip_prefix("ready ")?.parse::<u16>().ok());
        std::thread::spawn(move || lines.for_each(drop));
        let address = (Ipv4Addr::LOCALHOST, port.expect("the server becomes ready")).into();
        let cluster = Cluster::at(directory, address);
        let namespace = json!({"metadata": {"name": "default"}});
        // It may be there already.
        cluster
            .call(Some("admin"), "POST", "/api/v1/namespaces", namespace)
            .await;
        World { child, cluster }
    }

    /// Resident MiB of the server.
    fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().split(' ').next().unwrap().parse::<usize>().unwrap() >> 10
    }

    /// Its descriptors.
    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .count()
    }

    /// Waits until it has no more descriptors than that.
    async fn until_descriptors(&self, most: usize) {
        let end = Instant::now() + Duration::from_secs(60);
        while self.descriptors() > most {
            assert!(
                Instant::now() < end,
                "{} descriptors are open, not {most}",
                self.descriptors()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it has given memory back.
    async fn until_resident(&self, most: usize) {
        let end = Instant::now() + Duration::from_secs(60);
        while self.resident() > most {
            assert!(Instant::now() < end, "{} MiB are resident, not {most}", self.resident());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Others are served, and writes reach those who watch.
    async fn serves(&self) {
        let watch = self.cluster.connect(Some("admin"), &["http/1.1"]).await;
        let mut watch = watching(watch, &format!("{MAPS}?watch=true&fieldSelector=metadata.name%3Dprobe")).await;
        let map = json!({"metadata": {"name": "probe"}});
        self.cluster.admin("POST", MAPS, map).await;
        let mut event = vec![0; 4096];
        let length = watch.read(&mut event).await.unwrap();
        assert!(String::from_utf8_lossy(&event[..length]).contains("ADDED"));
        self.cluster
            .admin("DELETE", &format!("{MAPS}/probe"), Value::Null)
            .await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Tls = tokio_rustls::client::TlsStream<tokio::net::TcpStream>;

/// A connection on which a watch has begun.
async fn watching(mut stream: Tls, path: &str) -> Tls {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections() {
    let world = World::start().await;
    let (memory, descriptors) = (world.resident(), world.descriptors());
    let mut idle = Vec::new();
    for _ in 0..10_000 / 20 {
        let some = (0..20).map(|_| world.cluster.connect(None, &["http/1.1"]));
        idle.extend(futures_util::future::join_all(some).await);
    }
    let open = world.descriptors() - descriptors;
    assert!(open >= 9_990, "{open}");
    let each = (world.resident() - memory) * 1024 / idle.len();
    assert!(each <= 40, "{each} KiB for each connection");
    world.serves().await;
    drop(idle);
    world.until_descriptors(descriptors + 5).await;
    // A quarter of what they took may still be in use between what is.
    world.until_resident(memory + 64).await;
    world.serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_closed_watches_end() {
    let world = World::start().await;
    let descriptors = world.descriptors();
    let mut watches = Vec::new();
    for _ in 0..100 {
        let stream = world.cluster.connect(Some("admin"), &["http/1.1"]).await;
        let mut stream = watching(stream, &format!("{MAPS}?watch=true&resourceVersion=1")).await;
        // The end of TLS and of TCP in one direction; the other one stays open.
        stream.shutdown().await.unwrap();
        watches.push(stream);
    }
    world.until_descriptors(descriptors + 5).await;
    world.serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_has_to_read() {
    let world = World::start().await;
    let large = |round: usize| json!({"metadata": {"name": "large"}, "data": {"a": format!("{round}{}", "x".repeat(1_000_000))}});
    world.cluster.admin("POST", MAPS, large(0)).await;
    let memory = world.resident();
    let mut deaf = Vec::new();
    for n in 0..40 {
        let mut stream = world.cluster.connect(Some("admin"), &["http/1.1"]).await;
        if n % 2 == 0 {
            stream = watching(stream, &format!("{MAPS}?watch=true&resourceVersion=1")).await;
        } else {
            // Lists, and more of them behind the first one.
            let request = format!("GET {MAPS} HTTP/1.1\r\nhost: x\r\n\r\n").repeat(50);
            stream.write_all(request.as_bytes()).await.unwrap();
        }
        deaf.push(stream);
    }
    for round in 1..100 {
        world.cluster.admin("PUT", &format!("{MAPS}/large"), large(round)).await;
    }
    let grown = world.resident().saturating_sub(memory);
    assert!(grown <= 160, "{grown} MiB for those who do not read");
    world.serves().await;
    // Whoever reads in the end is told what it missed.
    let (mut tail, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    while !String::from_utf8_lossy(&tail).contains("\"reason\":\"Expired\"") {
        let length = tokio::time::timeout(Duration::from_secs(60), deaf[0].read(&mut piece)).await;
        let length = length.expect("it goes on").unwrap();
        assert!(length > 0, "the watch says why it ends");
        tail.extend_from_slice(&piece[..length]);
        tail.drain(..tail.len().saturating_sub(4096));
    }
    drop(deaf);
    world.until_resident(memory + 24).await;
    let answer = world.cluster.send(Some("admin"), get(MAPS)).await;
    assert_eq!(answer.status(), 200);
}
