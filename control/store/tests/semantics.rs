//! The embedded store as its users see it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use barepod_store::{
    Change, Embedded, Encoded, EventKind, Expect, Object, Options, Range, ReadError, Store, Write, WriteError,
};

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("barepodtest-store-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }
    fn options(&self) -> Options {
        let mut options = Options::new(&self.0);
        options.volatile = vec!["/leases/".into()];
        options
    }
    fn files(&self) -> Vec<std::fs::Metadata> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        entries.filter_map(|entry| entry.unwrap().metadata().ok()).collect()
    }
    /// Bytes of all files.
    fn size(&self) -> u64 {
        self.files().iter().map(std::fs::Metadata::len).sum()
    }
    /// When something was last written.
    fn written(&self) -> std::time::SystemTime {
        self.files().iter().map(|file| file.modified().unwrap()).max().unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn put(key: &str, expect: Expect, text: &str) -> Write {
    let json = format!("{{\"metadata\":{{\"resourceVersion\":\"\"}},\"data\":\"{text}\"}}");
    Write {
        key: key.into(),
        expect,
        change: Change::Put(Encoded::new(json.into_bytes(), 32)),
    }
}

fn remove(object: &Object) -> Write {
    let expect = Expect::Revision(object.revision());
    Write {
        key: object.key().into(),
        expect,
        change: Change::Delete { last: None },
    }
}

fn keys(store: &Embedded, range: Range<'_>) -> (Vec<String>, usize) {
    let page = store.range(&range).unwrap();
    (
        page.objects.iter().map(|object| object.key().to_string()).collect(),
        page.remaining,
    )
}

#[tokio::test]
async fn compare_and_swap() {
    let directory = Directory::new("cas");
    let store = Embedded::open(directory.options()).unwrap();
    let first = store.write(put("/pods/a/x", Expect::Absent, "1")).await.unwrap();
    let text = format!(
        "{{\"metadata\":{{\"resourceVersion\":\"{}\"}},\"data\":\"1\"}}",
        first.revision()
    );
    assert_eq!(first.bytes(), text.as_bytes());
    let clash = store.write(put("/pods/a/x", Expect::Absent, "2")).await;
    assert!(
        matches!(clash, Err(WriteError::Conflict { current: Some(current) }) if current.revision() == first.revision())
    );
    let second = store
        .write(put("/pods/a/x", Expect::Revision(first.revision()), "2"))
        .await
        .unwrap();
    assert!(second.revision() > first.revision() && second.created() == first.created());
    assert!(
        store
            .write(put("/pods/a/x", Expect::Revision(first.revision()), "3"))
            .await
            .is_err()
    );
    assert!(
        store
            .write(put("/pods/a/none", Expect::Revision(1), "3"))
            .await
            .is_err()
    );
    let gone = store.write(remove(&second)).await.unwrap();
    assert!(gone.revision() > second.revision() && store.get("/pods/a/x").is_none());
    // Writes of one group see each other.
    let results = store
        .write_all(vec![
            put("/pods/b/x", Expect::Absent, "1"),
            put("/pods/b/x", Expect::Absent, "2"),
        ])
        .await;
    assert!(results[0].is_ok() && results[1].is_err());
}

#[tokio::test]
async fn pages_and_older_revisions() {
    let directory = Directory::new("range");
    let store = Embedded::open(directory.options()).unwrap();
    let mut objects = Vec::new();
    for name in ["a", "b", "c", "d"] {
        objects.push(
            store
                .write(put(&format!("/pods/x/{name}"), Expect::Absent, "1"))
                .await
                .unwrap(),
        );
    }
    store.write(put("/podsother/x/a", Expect::Absent, "1")).await.unwrap();
    let then = store.revision();
    let range = Range {
        prefix: "/pods/",
        limit: 2,
        ..Range::default()
    };
    assert_eq!(keys(&store, range), (vec!["/pods/x/a".into(), "/pods/x/b".into()], 2));
    store.write(remove(&objects[2])).await.unwrap();
    store.write(put("/pods/x/cc", Expect::Absent, "1")).await.unwrap();
    let changed = store
        .write(put("/pods/x/d", Expect::Revision(objects[3].revision()), "2"))
        .await
        .unwrap();
    store.write(remove(&changed)).await.unwrap();
    let rest = Range {
        prefix: "/pods/",
        after: Some("/pods/x/b"),
        at: Some(then),
        ..Range::default()
    };
    assert_eq!(keys(&store, rest), (vec!["/pods/x/c".into(), "/pods/x/d".into()], 0));
    let counted = Range {
        limit: 1,
        left: Some(2),
        ..rest
    };
    assert_eq!(keys(&store, counted), (vec!["/pods/x/c".into()], 1));
    let old = store.range(&rest).unwrap();
    assert_eq!(old.objects[1].revision(), objects[3].revision());
    let now = Range {
        prefix: "/pods/",
        after: Some("/pods/x/b"),
        ..Range::default()
    };
    assert_eq!(keys(&store, now), (vec!["/pods/x/cc".into()], 0));
    assert_eq!(store.count("/pods/"), 3);
    store.compact(then + 1);
    assert!(matches!(store.range(&rest), Err(ReadError::Compacted { .. })));
    assert!(matches!(store.watch("/pods/", then), Err(ReadError::Compacted { .. })));
    let future = Range {
        at: Some(then + 1000),
        ..rest
    };
    assert!(matches!(store.range(&future), Err(ReadError::Future { .. })));
}

#[tokio::test]
async fn watches_replay_and_follow() {
    let directory = Directory::new("watch");
    let store = Embedded::open(directory.options()).unwrap();
    let start = store.revision();
    let object = store.write(put("/pods/x/a", Expect::Absent, "1")).await.unwrap();
    let mut all = store.watch("/pods/", start).unwrap();
    let mut other = store.watch("/pods/y/", start).unwrap();
    let mut one = store.watch("/pods/x/a", start).unwrap();
    store.write(put("/pods/x/ab", Expect::Absent, "1")).await.unwrap();
    store.write(remove(&object)).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let delivery = all.next().await.unwrap();
        seen.push((delivery.event.kind, delivery.event.object.key().to_string()));
    }
    let expected = [
        (EventKind::Added, "/pods/x/a"),
        (EventKind::Added, "/pods/x/ab"),
        (EventKind::Deleted, "/pods/x/a"),
    ];
    assert_eq!(seen, expected.map(|(kind, key)| (kind, key.to_string())));
    assert_eq!(one.next().await.unwrap().event.kind, EventKind::Added);
    let last = one.next().await.unwrap();
    assert_eq!(last.event.kind, EventKind::Deleted);
    assert_eq!(last.event.revision(), store.revision());
    assert!(other.try_next().is_none());
    drop(store);
    assert!(other.next().await.is_none() && !other.lagged());
}

#[tokio::test]
async fn a_slow_watcher_is_cut_off() {
    let directory = Directory::new("slow");
    let store = Embedded::open(directory.options()).unwrap();
    let mut slow = store.watch("/pods/", store.revision()).unwrap();
    let writes = (0..9000)
        .map(|n| put(&format!("/pods/x/{n}"), Expect::Absent, "1"))
        .collect();
    assert!(store.write_all(writes).await.iter().all(Result::is_ok));
    let mut got = 0;
    while slow.next().await.is_some() {
        got += 1;
    }
    assert!(slow.lagged() && got == 8192);
}

#[tokio::test]
async fn survives_reopening_and_is_locked_meanwhile() {
    let directory = Directory::new("reopen");
    let store = Embedded::open(directory.options()).unwrap();
    let lease = store.write(put("/leases/n", Expect::Absent, "1")).await.unwrap();
    let renewed = store
        .write(put("/leases/n", Expect::Revision(lease.revision()), "2"))
        .await
        .unwrap();
    let second = Embedded::open(directory.options());
    assert!(matches!(second, Err(barepod_store::Error::Locked { .. })), "{second:?}");
    drop(store);
    let store = Embedded::open(directory.options()).unwrap();
    assert_eq!(
        store.revision(),
        renewed.revision(),
        "a clean stop gives reserved revisions back"
    );
    assert_eq!(store.get("/leases/n").unwrap().bytes(), renewed.bytes());
    assert!(matches!(
        store.watch("/leases/", lease.revision()),
        Err(ReadError::Compacted { .. })
    ));
    assert!(store.watch("/leases/", renewed.revision()).is_ok());
}

#[tokio::test]
async fn heartbeats_do_not_touch_the_disk() {
    let directory = Directory::new("volatile");
    let store = Embedded::open(directory.options()).unwrap();
    let mut lease = store.write(put("/leases/n", Expect::Absent, "0")).await.unwrap();
    let before = directory.written();
    tokio::time::sleep(Duration::from_millis(20)).await;
    for n in 0..50 {
        lease = store
            .write(put("/leases/n", Expect::Revision(lease.revision()), &n.to_string()))
            .await
            .unwrap();
    }
    assert_eq!(directory.written(), before);
    store.write(put("/pods/x/a", Expect::Absent, "1")).await.unwrap();
    assert_ne!(directory.written(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_share_commits() {
    let directory = Directory::new("group");
    let store = Arc::new(Embedded::open(directory.options()).unwrap());
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..50 {
                    store
                        .write(put(&format!("/pods/{task}/{n}"), Expect::Absent, "1"))
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(store.count("/pods/"), 800);
    let page = store
        .range(&Range {
            prefix: "/pods/",
            ..Range::default()
        })
        .unwrap();
    let revisions: std::collections::BTreeSet<u64> = page.objects.iter().map(|object| object.revision()).collect();
    assert_eq!(revisions.len(), 800, "every write has its own revision");
}

#[tokio::test]
async fn the_log_shrinks_when_objects_go() {
    let directory = Directory::new("shrink");
    let store = Embedded::open(directory.options()).unwrap();
    let text = "x".repeat(100_000);
    let mut objects = Vec::new();
    for n in 0..100 {
        objects.push(
            store
                .write(put(&format!("/pods/x/{n}"), Expect::Absent, &text))
                .await
                .unwrap(),
        );
        // Something small that stays lies between and behind what goes.
        store
            .write(put(&format!("/pods/y/{n}"), Expect::Absent, "1"))
            .await
            .unwrap();
    }
    let full = directory.size();
    assert!(full > 10_000_000);
    store
        .write_all(objects.iter().map(|object| remove(object)).collect())
        .await;
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while directory.size() > full / 10 {
        assert!(std::time::Instant::now() < deadline, "{full} -> {}", directory.size());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What was written while and after the log was shortened is there as well.
    let last = store.write(put("/pods/z", Expect::Absent, "1")).await.unwrap();
    drop(store);
    let store = Embedded::open(directory.options()).unwrap();
    assert_eq!((store.count("/pods/y/"), store.count("/pods/x/")), (100, 0));
    assert_eq!(store.get("/pods/z").unwrap().bytes(), last.bytes());
}

/// As many updates of the same objects as `BAREPOD_TEST_UPDATES` says: a million in nightly runs.
#[tokio::test]
async fn updates_of_the_same_objects_stay_below_three_times_what_lives() {
    let updates: usize = std::env::var("BAREPOD_TEST_UPDATES").map_or(30_000, |text| text.parse().unwrap());
    let directory = Directory::new("updates");
    let store = Embedded::open(directory.options()).unwrap();
    let text = "x".repeat(1000);
    let mut objects = Vec::new();
    for n in 0..5000 {
        objects.push(put(&format!("/pods/x/{n}"), Expect::Absent, &text));
    }
    let results = store.write_all(objects).await;
    let mut current: Vec<Arc<Object>> = results.into_iter().map(Result::unwrap).collect();
    let live: usize = current
        .iter()
        .map(|object| object.key().len() + object.bytes().len())
        .sum();
    let mut highest = 0;
    for round in 0..updates / 100 {
        let count = current.len();
        let places = (0..100).map(|n| (round * 7919 + n) % count);
        let writes = places.clone().map(|at| {
            let expect = Expect::Revision(current[at].revision());
            put(current[at].key(), expect, &text)
        });
        let results = store.write_all(writes.collect()).await;
        for (at, result) in places.zip(results) {
            current[at] = result.unwrap();
        }
        highest = highest.max(directory.size());
    }
    assert!(
        highest < 3 * live as u64 + (2 << 20),
        "{live} live, {highest} in the files"
    );
    drop(store);
    let store = Embedded::open(directory.options()).unwrap();
    for object in &current {
        assert_eq!(store.get(object.key()).unwrap().bytes(), object.bytes());
    }
}

#[tokio::test]
async fn a_damaged_log_is_not_taken_for_a_torn_one() {
    let directory = Directory::new("damaged");
    let store = Embedded::open(directory.options()).unwrap();
    for n in 0..10 {
        let write = put(&format!("/pods/x/{n}"), Expect::Absent, "marker");
        store.write(write).await.unwrap();
    }
    drop(store);
    let file = std::fs::read_dir(&directory.0)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "log"))
        .unwrap();
    let whole = std::fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    let at = whole.windows(6).position(|bytes| bytes == b"marker").unwrap();
    damaged[at] ^= 1;
    std::fs::write(&file, &damaged).unwrap();
    let error = Embedded::open(directory.options()).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("damaged"), "{cause}");
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(Embedded::open(directory.options()).unwrap().count("/pods/"), 10);
}

#[tokio::test]
async fn a_backup_is_taken_while_writes_go_on_and_put_back() {
    let directory = Directory::new("backup");
    let store = Arc::new(Embedded::open(directory.options()).unwrap());
    let kept = store.write(put("/pods/x/kept", Expect::Absent, "1")).await.unwrap();
    let (writer, run) = (store.clone(), Arc::new(std::sync::atomic::AtomicBool::new(true)));
    let going = run.clone();
    let task = tokio::spawn(async move {
        let text = "x".repeat(10_000);
        let mut last = writer.write(put("/pods/x/y", Expect::Absent, &text)).await.unwrap();
        while going.load(std::sync::atomic::Ordering::Relaxed) {
            // Enough to begin new generations all the time.
            let write = put("/pods/x/y", Expect::Revision(last.revision()), &text);
            last = writer.write(write).await.unwrap();
        }
        last
    });
    let file = directory.0.join("copy");
    let mut previous = 0;
    for _ in 0..30 {
        let (from, to) = (directory.0.clone(), file.clone());
        let image = tokio::task::spawn_blocking(move || barepod_store::backup(&from, &to))
            .await
            .unwrap()
            .unwrap();
        let highest = image.objects.iter().map(|object| object.revision()).max().unwrap();
        assert!(highest >= previous && image.objects[0].bytes() == kept.bytes());
        previous = highest;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    run.store(false, std::sync::atomic::Ordering::Relaxed);
    let last = task.await.unwrap();
    let busy = barepod_store::restore(&file, &directory.0);
    assert!(matches!(busy, Err(barepod_store::Error::Locked { .. })));
    drop(store);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 24]).unwrap();
    assert!(
        barepod_store::restore(&file, &directory.0).is_err(),
        "a cut copy is refused"
    );
    std::fs::write(&file, &whole).unwrap();
    barepod_store::restore(&file, &directory.0).unwrap();
    let store = Embedded::open(directory.options()).unwrap();
    assert_eq!(
        (store.count("/"), store.get("/pods/x/kept").unwrap().bytes()),
        (2, kept.bytes())
    );
    assert!(store.get("/pods/x/y").unwrap().revision() <= last.revision());
    assert!(store.revision() > last.revision(), "revisions never go backwards");
}
