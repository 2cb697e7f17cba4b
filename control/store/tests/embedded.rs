//! The embedded store: what every backend does, and what only this one does.

mod suite;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use barepod_store::{Embedded, Expect, Object, Options, ReadError, Store};
use suite::{put, remove};

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

struct World(Directory);

impl World {
    async fn new(name: &str) -> Self {
        World(Directory::new(name))
    }
    async fn store(&self) -> Arc<dyn Store> {
        Arc::new(Embedded::open(self.0.options()).unwrap())
    }
}

suite::suite!(World);

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
