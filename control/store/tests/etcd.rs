//! The store on etcd: what every backend does, and what several processes on one etcd may rely on. Needs the program
//! `etcd` (Debian's etcd-server).

mod server;
mod suite;

use std::sync::Arc;
use std::time::{Duration, Instant};

use barepod_store::{Embedded, Error, Etcd, EtcdOptions, EventKind, Expect, Options, Store, migrate};
use server::Server;
use suite::{put, remove};

/// A server of its own for each case: they count revisions.
struct World(Server);

impl World {
    async fn new(name: &str) -> Self {
        World(Server::start(name))
    }
    async fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.connect("/registry").await)
    }
}

suite::suite!(World);

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_see_each_other() {
    let server = Server::start("replicas");
    let (one, two) = (server.connect("/registry").await, server.connect("/registry").await);
    // Another user of the same etcd: its writes are not ours, but raise the revision.
    let other = server.connect("/other").await;
    let mut watcher = two.watch("/pods/", two.revision()).unwrap();
    for n in 0..20 {
        let object = one
            .write(put(&format!("/pods/{n}"), Expect::Absent, "1"))
            .await
            .unwrap();
        other
            .write(put(&format!("/pods/{n}"), Expect::Absent, "other"))
            .await
            .unwrap();
        assert!(two.current().await.unwrap() >= object.revision());
        assert_eq!(two.get(object.key()).unwrap().bytes(), object.bytes());
        let delivery = watcher.next().await.unwrap();
        assert_eq!(delivery.event.object.bytes(), object.bytes());
    }
    // Both change the same object; exactly one of them does.
    for _ in 0..20 {
        two.current().await.unwrap();
        one.current().await.unwrap();
        let expect = Expect::Revision(one.get("/pods/0").unwrap().revision());
        let (a, b) = tokio::join!(
            one.write(put("/pods/0", expect, "a")),
            two.write(put("/pods/0", expect, "b"))
        );
        assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    }
    assert_eq!((two.count("/pods/"), other.count("/pods/")), (20, 20));
    assert!(one.size_bytes().await.is_some_and(|bytes| bytes > 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_values_are_readable() {
    let server = Server::start("keys");
    let store = server.connect("/registry").await;
    let object = store
        .write(put("/apps/deployments/default/web", Expect::Absent, "1"))
        .await
        .unwrap();
    let printed = server.etcdctl(&["get", "--prefix", "/registry/apps", "-w", "fields"]);
    assert!(
        printed.contains(r#""Key" : "/registry/apps/deployments/default/web""#),
        "{printed}"
    );
    assert!(
        printed.contains(&format!("\"ModRevision\" : {}", object.revision())),
        "{printed}"
    );
    assert!(printed.contains(r#"\"data\":\"1\""#), "{printed}");
    // What somebody else puts there is there.
    server.etcdctl(&[
        "put",
        "/registry/pods/a",
        r#"{"metadata":{"resourceVersion":""},"data":"theirs"}"#,
    ]);
    store.current().await.unwrap();
    assert!(store.get("/pods/a").unwrap().bytes().ends_with(b"\"theirs\"}"));
    // What is no object is passed over.
    server.etcdctl(&["put", "/registry/pods/b", "nothing"]);
    store.current().await.unwrap();
    assert_eq!(store.count("/pods/"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_may_stop_and_come_back() {
    let mut server = Server::start("restart");
    let store = Arc::new(server.connect("/registry").await);
    let mut watcher = store.watch("/pods/", store.revision()).unwrap();
    let first = store.write(put("/pods/a", Expect::Absent, "1")).await.unwrap();
    server.stop();
    let failed = store.write(put("/pods/b", Expect::Absent, "1")).await;
    assert!(failed.is_err());
    // What is in memory can still be read.
    assert_eq!(store.get("/pods/a").unwrap().bytes(), first.bytes());
    server.resume();
    let mut written = store.write(put("/pods/c", Expect::Absent, "1")).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while written.is_err() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
        written = store.write(put("/pods/c", Expect::Absent, "1")).await;
    }
    let written = written.unwrap();
    let mut seen = Vec::new();
    while seen.last() != Some(&written.revision()) {
        seen.push(watcher.next().await.unwrap().event.revision());
    }
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(seen, sorted, "no event twice, none out of order");
    assert_eq!(seen[0], first.revision());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_past_that_is_gone_ends_watches() {
    let mut server = Server::start("compacted");
    let store = server.connect("/registry").await;
    let object = store.write(put("/pods/a", Expect::Absent, "1")).await.unwrap();
    let mut watcher = store.watch("/pods/", object.revision()).unwrap();
    server.stop();
    server.resume();
    // While the store has not found its way back, what it missed is compacted.
    server.etcdctl(&["put", "/registry/pods/b", r#"{"metadata":{"resourceVersion":""}}"#]);
    server.etcdctl(&[
        "put",
        "/registry/pods/b",
        r#"{"metadata":{"resourceVersion":""},"data":"2"}"#,
    ]);
    let printed = server.etcdctl(&["put", "/unrelated", "1", "-w", "json"]);
    let revision = printed
        .split("\"revision\":")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap()
        .to_owned();
    server.etcdctl(&["compact", &revision]);
    let mut cut_off = false;
    while let Some(delivery) = watcher.next().await {
        // It may have been quicker than the compaction: then nothing was missed.
        cut_off |= delivery.event.object.key() == "/pods/b" && delivery.event.kind == EventKind::Modified;
        if cut_off {
            break;
        }
    }
    assert!(cut_off || watcher.lagged());
    eventually("the state", || {
        store
            .get("/pods/b")
            .is_some_and(|object| object.bytes().ends_with(b"\"2\"}"))
    })
    .await;
    assert!(store.watch("/pods/", store.revision()).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expires_goes_and_the_past_is_compacted() {
    let server = Server::start("expire");
    let mut options = server.options("/registry");
    options.expiring = vec![("/events/".into(), Duration::from_secs(1))];
    options.compact_every = Some(Duration::from_millis(300));
    let store = Etcd::connect(options.clone()).await.unwrap();
    let second = Etcd::connect(options).await.unwrap();
    let mut watcher = store.watch("/", store.revision()).unwrap();
    let event = store.write(put("/events/a", Expect::Absent, "1")).await.unwrap();
    let stays = store.write(put("/pods/a", Expect::Absent, "1")).await.unwrap();
    watcher.next().await.unwrap();
    watcher.next().await.unwrap();
    let gone = watcher.next().await.unwrap();
    assert_eq!(
        (gone.event.kind, gone.event.object.key()),
        (EventKind::Deleted, "/events/a")
    );
    assert!(gone.event.revision() > stays.revision());
    eventually("the other's memory", || second.count("/") == 1).await;
    let old = event.revision().to_string();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !server
        .etcdctl(&["get", "/registry/pods/a", "--rev", &old])
        .contains("compacted")
    {
        assert!(Instant::now() < deadline, "nothing was compacted");
        store
            .write(put(&format!("/pods/{:?}", Instant::now()), Expect::Absent, "1"))
            .await
            .unwrap();
    }
    store.write(remove(&stays)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_with_certificates() {
    let server = Server::start_with_tls("tls");
    let store = Etcd::connect(server.options("/registry")).await.unwrap();
    let object = store.write(put("/pods/a", Expect::Absent, "1")).await.unwrap();
    assert_eq!(store.get("/pods/a").unwrap().bytes(), object.bytes());
    let mut nobody = server.options("/registry");
    (nobody.cert_file, nobody.key_file) = (None, None);
    assert!(Etcd::connect(nobody).await.is_err());
    let wrong = EtcdOptions {
        ca_file: None,
        ..server.options("/registry")
    };
    assert!(Etcd::connect(wrong).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_store_moves_in() {
    let server = Server::start("migrate");
    let directory = std::env::temp_dir().join(format!("barepodtest-store-migrate-{}", std::process::id()));
    let embedded = Embedded::open(Options::new(&directory)).unwrap();
    let mut before = Vec::new();
    for n in 0..600 {
        let write = put(&format!("/pods/x/{n}"), Expect::Absent, &format!("text {n}"));
        before.push(embedded.write(write).await.unwrap());
    }
    let busy = migrate(&directory, server.options("/registry")).await;
    assert!(matches!(busy, Err(Error::Locked { .. })), "{busy:?}");
    drop(embedded);
    assert_eq!(migrate(&directory, server.options("/registry")).await.unwrap(), 600);
    let store = server.connect("/registry").await;
    assert_eq!(store.count("/"), 600);
    for old in &before {
        let new = store.get(old.key()).unwrap();
        assert!(new.revision() > before[599].revision(), "revisions go on");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).rsplit_once("data").unwrap().1.to_owned();
        assert_eq!(text(new.bytes()), text(old.bytes()));
    }
    let again = migrate(&directory, server.options("/registry")).await;
    assert!(matches!(again, Err(Error::NotEmpty { .. })), "{again:?}");
    std::fs::remove_dir_all(&directory).unwrap();
}
