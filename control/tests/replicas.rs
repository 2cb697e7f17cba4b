//! Three control services on one etcd, each a process of its own. Needs the programs `etcd` and `etcdctl`.

#[path = "support/pki.rs"]
mod pki;
#[expect(dead_code, reason = "the tests of the store use all of it")]
#[path = "../store/tests/server/mod.rs"]
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use barepod_control::store::EtcdOptions;
use barepod_control::{Backend, Config};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use server::Server;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const DIRECTORY: &str = "BAREPOD_TEST_REPLICA";
const ETCD: &str = "BAREPOD_TEST_ETCD";

/// Not a test of its own: a control service, as a process that can be killed.
#[test]
fn replica_process() {
    let (Ok(directory), Ok(etcd)) = (std::env::var(DIRECTORY), std::env::var(ETCD)) else {
        return;
    };
    let directory = Path::new(&directory);
    let mut options = EtcdOptions::new(vec![etcd]);
    options.prefix = "/registry".into();
    let config = Config {
        state_dir: directory.into(),
        store: Backend::Etcd(options),
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        advertise: Ipv4Addr::new(192, 0, 2, 1),
        pki: pki::paths(directory),
        service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 24),
        cluster_cidr: (Ipv4Addr::new(10, 244, 0, 0), 16),
        node_port_range: 30_000..=32_767,
        audit: None,
        controllers: true,
    };
    let runtime = barepod_control::runtime().unwrap();
    // On a line of its own: the harness has begun one.
    let ready = |address: std::net::SocketAddr| println!("\nready {}", address.port());
    runtime.block_on(barepod_control::run(config, ready)).unwrap();
}

struct Replica {
    child: Child,
    port: u16,
}

impl Replica {
    fn start(directory: &Path, etcd: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "replica_process", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory)
            .env(ETCD, etcd)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| line.unwrap().strip_prefix("ready ")?.parse().ok());
        // What else it prints goes nowhere, but must not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Replica {
            child,
            port: port.expect("the replica becomes ready"),
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A world with an etcd and replicas of the control service.
struct World {
    replicas: Vec<Replica>,
    server: Server,
    directory: PathBuf,
    tls: Arc<ClientConfig>,
}

impl World {
    fn start(name: &str, count: usize) -> Self {
        let server = Server::start(name);
        let directory = std::env::temp_dir().join(format!("barepodtest-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        pki::write(&directory, 0).unwrap();
        let certificates = |file: &str| -> Vec<CertificateDer<'static>> {
            let all = CertificateDer::pem_file_iter(directory.join(file)).unwrap();
            all.map(Result::unwrap).collect()
        };
        let mut roots = RootCertStore::empty();
        roots.add(certificates("ca.crt").remove(0)).unwrap();
        let key = PrivateKeyDer::from_pem_file(directory.join("admin.key")).unwrap();
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates("admin.crt"), key)
            .unwrap();
        let replicas = (0..count).map(|_| Replica::start(&directory, &server.url())).collect();
        World {
            replicas,
            server,
            directory,
            tls: Arc::new(tls),
        }
    }

    fn client(&self, replica: usize) -> Client {
        Client {
            port: self.replicas[replica].port,
            tls: self.tls.clone(),
            sender: None,
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.replicas.clear();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One connection to one replica, made again when it breaks.
struct Client {
    port: u16,
    tls: Arc<ClientConfig>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    async fn send(&mut self, method: &str, path: &str, body: &Value) -> Result<http::Response<Incoming>, Failure> {
        let mut sender = match self.sender.take() {
            Some(sender) => sender,
            None => {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
                let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
                let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await?;
                let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                sender
            }
        };
        let bytes = if body.is_null() {
            Bytes::new()
        } else {
            body.to_string().into()
        };
        let request = Request::builder().method(method).uri(path).header("host", "x");
        let request = request
            .header("content-type", "application/json")
            .body(Full::new(bytes))?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        self.sender = Some(sender);
        Ok(response)
    }

    async fn call(&mut self, method: &str, path: &str, body: Value) -> Result<(u16, Value), Failure> {
        let response = self.send(method, path, &body).await?;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await?.to_bytes();
        Ok((code, serde_json::from_slice(&bytes)?))
    }

    async fn ok(&mut self, method: &str, path: &str, body: Value) -> Value {
        let (code, answer) = self.call(method, path, body).await.unwrap();
        assert!(code < 300, "{method} {path}: {code}: {answer}");
        answer
    }
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// Follows all ConfigMaps from a revision on, through whichever replica answers, until it has seen `last`.
async fn follow(
    clients: Vec<Client>,
    mut seen: u64,
    first: usize,
    last: Arc<Mutex<Option<u64>>>,
) -> Vec<(u64, String)> {
    let mut events = Vec::new();
    let count = clients.len();
    let mut clients = clients;
    for attempt in first.. {
        let client = &mut clients[attempt % count];
        client.sender = None;
        let path = format!("{MAPS}?watch=1&resourceVersion={seen}");
        let Ok(response) = client.send("GET", &path, &Value::Null).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        // Where the revision is not known yet, its events come when it is.
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let mut text = Vec::new();
        loop {
            let frame = match tokio::time::timeout(Duration::from_millis(500), body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(_) => break,
                Err(_) => {
                    if last.lock().unwrap().is_some_and(|last| seen >= last) {
                        return events;
                    }
                    continue;
                }
            };
            text.extend_from_slice(&frame.into_data().unwrap_or_default());
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line).unwrap();
                assert_eq!(event["type"], "ADDED", "{event}");
                seen = revision(&event["object"]);
                events.push((seen, event["object"]["metadata"]["name"].as_str().unwrap().to_owned()));
            }
        }
    }
    unreachable!("the attempts are endless");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_may_die_under_load() {
    let mut world = World::start("replicas-die", 3);
    let mut client = world.client(1);
    let begin = client.ok("GET", MAPS, Value::Null).await;
    let begin = revision(&begin);
    let last = Arc::new(Mutex::new(None));
    let watchers: Vec<_> = (0..3)
        .map(|first| {
            let clients = (0..3).map(|replica| world.client(replica)).collect();
            tokio::spawn(follow(clients, begin, first, last.clone()))
        })
        .collect();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..6)
        .map(|writer| {
            let mut clients: Vec<Client> = (0..3).map(|replica| world.client(replica)).collect();
            let stop = stop.clone();
            tokio::spawn(async move {
                // What was acknowledged, and what was not but may have happened.
                let (mut done, mut unknown) = (BTreeMap::new(), BTreeSet::new());
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("w{writer}-{n}");
                    let body = json!({"metadata": {"name": name}, "data": {"n": n.to_string()}});
                    match clients[(writer + n) % 3].call("POST", MAPS, body).await {
                        Ok((201, answer)) => drop(done.insert(name, revision(&answer))),
                        Ok((code, answer)) => panic!("{code}: {answer}"),
                        Err(_) => drop(unknown.insert(name)),
                    }
                }
                (done, unknown)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(700)).await;
    world.replicas[0].kill();
    tokio::time::sleep(Duration::from_millis(1000)).await;
    stop.store(true, Ordering::Relaxed);
    let (mut done, mut unknown) = (BTreeMap::new(), BTreeSet::new());
    for writer in writers {
        let (some, others) = writer.await.unwrap();
        done.extend(some);
        unknown.extend(others);
    }
    assert!(
        done.len() > 100 && !unknown.is_empty(),
        "{} {}",
        done.len(),
        unknown.len()
    );
    for replica in [1, 2] {
        let list = world.client(replica).ok("GET", MAPS, Value::Null).await;
        let items = list["items"].as_array().unwrap();
        let stored: BTreeMap<String, u64> = items
            .iter()
            .map(|item| (item["metadata"]["name"].as_str().unwrap().to_owned(), revision(item)))
            .collect();
        for (name, revision) in &done {
            assert_eq!(stored.get(name), Some(revision), "an acknowledged write is lost");
        }
        assert!(
            stored
                .keys()
                .all(|name| done.contains_key(name) || unknown.contains(name) || name == "kube-root-ca.crt")
        );
        *last.lock().unwrap() = stored.values().max().copied();
    }
    for watcher in watchers {
        let events = watcher.await.unwrap();
        assert!(events.is_sorted_by(|a, b| a.0 < b.0), "an event came twice or late");
        let seen: BTreeMap<String, u64> = events.into_iter().map(|(revision, name)| (name, revision)).collect();
        for (name, revision) in &done {
            assert_eq!(seen.get(name), Some(revision), "an event was missed");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_agree() {
    let mut world = World::start("replicas-agree", 3);
    let mut clients: Vec<Client> = (0..3).map(|replica| world.client(replica)).collect();
    // What one has acknowledged, the others show, for reads that do not ask for less.
    for n in 0..30 {
        let name = format!("m{n}");
        let made = clients[n % 3]
            .ok("POST", MAPS, json!({"metadata": {"name": name}}))
            .await;
        let path = format!("{MAPS}/{name}");
        let read = clients[(n + 1) % 3].ok("GET", &path, Value::Null).await;
        assert_eq!(read["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
        let patch = json!({"metadata": {"name": name, "resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"a": "b"}});
        clients[(n + 2) % 3].ok("PUT", &path, patch).await;
        clients[n % 3].ok("DELETE", &path, Value::Null).await;
        let (code, _) = clients[(n + 1) % 3].call("GET", &path, Value::Null).await.unwrap();
        assert_eq!(code, 404);
    }
    // A namespace made through one can be used through another at once.
    for n in 0..10 {
        let name = format!("ns{n}");
        clients[n % 3]
            .ok("POST", "/api/v1/namespaces", json!({"metadata": {"name": name}}))
            .await;
        let path = format!("/api/v1/namespaces/{name}/configmaps");
        clients[(n + 1) % 3]
            .ok("POST", &path, json!({"metadata": {"name": "a"}}))
            .await;
    }
    // Addresses of Services stay unique, whoever gives them out.
    let tasks: Vec<_> = (0..3)
        .map(|replica| {
            let mut client = world.client(replica);
            tokio::spawn(async move {
                let mut addresses = Vec::new();
                for n in 0..20 {
                    let service =
                        json!({"metadata": {"name": format!("s{replica}-{n}")}, "spec": {"ports": [{"port": 80}]}});
                    let made = client.ok("POST", "/api/v1/namespaces/default/services", service).await;
                    addresses.push(made["spec"]["clusterIP"].as_str().unwrap().to_owned());
                }
                addresses
            })
        })
        .collect();
    let mut addresses = BTreeSet::new();
    for task in tasks {
        addresses.extend(task.await.unwrap());
    }
    assert_eq!(addresses.len(), 60);
    // One of them leads; when it dies, another one does its work.
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/barepod-control";
    let deadline = Instant::now() + Duration::from_secs(40);
    let holder = clients[2].ok("GET", lease, Value::Null).await["spec"]["holderIdentity"].clone();
    assert_ne!(holder, "");
    // The first one to be ready has led since.
    world.replicas[0].kill();
    let deployment = json!({"metadata": {"name": "web"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    clients[1]
        .ok("POST", "/apis/apps/v1/namespaces/default/deployments", deployment)
        .await;
    loop {
        let pods = clients[2]
            .ok("GET", "/api/v1/namespaces/default/pods", Value::Null)
            .await;
        if pods["items"].as_array().unwrap().len() == 2 {
            break;
        }
        assert!(Instant::now() < deadline, "nobody makes the pods");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let next = clients[2].ok("GET", lease, Value::Null).await["spec"]["holderIdentity"].clone();
    assert_ne!(next, holder);
    // etcd goes and comes back; so does the API.
    world.server.stop();
    let (code, _) = clients[1].call("GET", MAPS, Value::Null).await.unwrap();
    assert_eq!(code, 500);
    let (code, _) = clients[1]
        .call("GET", &format!("{MAPS}?resourceVersion=0"), Value::Null)
        .await
        .unwrap();
    assert_eq!(code, 200, "what is in memory can be read");
    world.server.resume();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let made = clients[1]
            .call("POST", MAPS, json!({"metadata": {"name": "after"}}))
            .await
            .unwrap();
        if made.0 == 201 || made.0 == 409 {
            break;
        }
        assert!(Instant::now() < deadline, "{made:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    clients[2].ok("GET", &format!("{MAPS}/after"), Value::Null).await;
}
