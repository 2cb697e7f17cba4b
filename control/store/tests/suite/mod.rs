//! What every backend does, as its users see it. Each case gets a store with nothing in it.

use std::sync::Arc;

use barepod_store::{Change, Encoded, EventKind, Expect, Guard, Object, Range, ReadError, Store, Write, WriteError};

pub fn put(key: &str, expect: Expect, text: &str) -> Write {
    let json = format!("{{\"metadata\":{{\"resourceVersion\":\"\"}},\"data\":\"{text}\"}}");
    Write::new(key.into(), expect, Change::Put(Encoded::new(json.into_bytes(), 32)))
}

pub fn remove(object: &Object) -> Write {
    let expect = Expect::Revision(object.revision());
    Write::new(object.key().into(), expect, Change::Delete { last: None })
}

fn keys(store: &dyn Store, range: Range<'_>) -> (Vec<String>, usize) {
    let page = store.range(&range).unwrap();
    (
        page.objects.iter().map(|object| object.key().to_string()).collect(),
        page.remaining,
    )
}

pub async fn compare_and_swap(store: Arc<dyn Store>) {
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

pub async fn pages_and_older_revisions(store: Arc<dyn Store>) {
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
    assert_eq!(keys(&*store, range), (vec!["/pods/x/a".into(), "/pods/x/b".into()], 2));
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
    assert_eq!(keys(&*store, rest), (vec!["/pods/x/c".into(), "/pods/x/d".into()], 0));
    let counted = Range {
        limit: 1,
        left: Some(2),
        ..rest
    };
    assert_eq!(keys(&*store, counted), (vec!["/pods/x/c".into()], 1));
    let old = store.range(&rest).unwrap();
    assert_eq!(old.objects[1].revision(), objects[3].revision());
    let now = Range {
        prefix: "/pods/",
        after: Some("/pods/x/b"),
        ..Range::default()
    };
    assert_eq!(keys(&*store, now), (vec!["/pods/x/cc".into()], 0));
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

pub async fn watches_replay_and_follow(store: Arc<dyn Store>) {
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
    close(store).await;
    assert!(other.next().await.is_none() && !other.lagged());
}

pub async fn a_slow_watcher_is_cut_off(store: Arc<dyn Store>) {
    let mut slow = store.watch("/pods/", store.revision()).unwrap();
    let writes = (0..9000)
        .map(|n| put(&format!("/pods/x/{n}"), Expect::Absent, "1"))
        .collect();
    assert!(store.write_all(writes).await.iter().all(Result::is_ok));
    // Whoever wrote may have its answer while the watchers are still being told; this waits for them.
    drop(store.watch("/none/", store.revision()).unwrap());
    let mut got = 0;
    while slow.next().await.is_some() {
        got += 1;
    }
    assert!(slow.lagged() && got == 8192);
}

pub async fn large_objects_do_not_pile_up(store: Arc<dyn Store>) {
    let (slow, quick) = (
        store.watch("/pods/", store.revision()),
        store.watch("/pods/", store.revision()),
    );
    let (mut slow, mut quick) = (slow.unwrap(), quick.unwrap());
    let text = "x".repeat(1 << 20);
    let mut expect = Expect::Absent;
    for _ in 0..30 {
        let object = store.write(put("/pods/a", expect, &text)).await.unwrap();
        expect = Expect::Revision(object.revision());
        assert_eq!(quick.next().await.unwrap().event.revision(), object.revision());
    }
    let mut got = 0;
    while let Some(delivery) = slow.next().await {
        got += delivery.event.object.bytes().len();
    }
    assert!(slow.lagged() && (1 << 20..=16 << 20).contains(&got), "{got}");
    assert!(!quick.lagged());
}

pub async fn many_writers_share_commits(store: Arc<dyn Store>) {
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

pub async fn guards_hold(store: Arc<dyn Store>) {
    let guarded = |key: &str, revision| Write {
        guard: Some(Guard {
            prefix: "/services/".into(),
            revision,
        }),
        ..put(key, Expect::Absent, "1")
    };
    let seen = store.revision();
    store.write(put("/pods/a", Expect::Absent, "1")).await.unwrap();
    let first = store.write(guarded("/services/a", seen)).await.unwrap();
    let late = store.write(guarded("/services/b", seen)).await;
    assert!(matches!(late, Err(WriteError::Guard)), "{late:?}");
    let taken = store.write(guarded("/services/a", first.revision())).await;
    assert!(
        matches!(taken, Err(WriteError::Conflict { current: Some(_) })),
        "{taken:?}"
    );
    let second = store.write(guarded("/services/b", first.revision())).await.unwrap();
    store.write(remove(&first)).await.unwrap();
    // A removal makes nothing less unique.
    store.write(guarded("/services/c", second.revision())).await.unwrap();
    store.compact(store.revision());
    assert!(store.write(guarded("/services/d", seen)).await.is_err());
    let now = store.revision();
    let both = vec![guarded("/services/d", now), guarded("/services/e", now)];
    let results = store.write_all(both).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
}

pub async fn removals_tell_what_was(store: Arc<dyn Store>) {
    let object = store.write(put("/pods/x/a", Expect::Absent, "first")).await.unwrap();
    let mut watcher = store.watch("/pods/", object.revision()).unwrap();
    let last = Encoded::new(
        b"{\"metadata\":{\"resourceVersion\":\"\"},\"data\":\"last\"}".to_vec(),
        32,
    );
    let change = Change::Delete { last: Some(last) };
    let expect = Expect::Revision(object.revision());
    let removed = store
        .write(Write::new("/pods/x/a".into(), expect, change))
        .await
        .unwrap();
    assert!(removed.bytes().ends_with(b"\"last\"}"));
    let delivery = watcher.next().await.unwrap();
    assert_eq!(delivery.event.kind, EventKind::Deleted);
    assert_eq!(delivery.event.revision(), removed.revision());
    assert_eq!(delivery.event.previous.as_ref().unwrap().bytes(), object.bytes());
    let number = format!("\"{}\"", removed.revision());
    assert!(
        std::str::from_utf8(delivery.event.object.bytes())
            .unwrap()
            .contains(&number)
    );
}

pub async fn what_is_written_can_be_read_at_once(store: Arc<dyn Store>) {
    for n in 0..50 {
        let object = store
            .write(put(&format!("/pods/{n}"), Expect::Absent, "1"))
            .await
            .unwrap();
        assert_eq!(store.get(object.key()).unwrap().bytes(), object.bytes());
        assert!(store.revision() >= object.revision());
        assert!(store.current().await.unwrap() >= object.revision());
        assert!(store.watch("/pods/", object.revision()).is_ok());
    }
}

pub async fn a_closed_store_refuses(store: Arc<dyn Store>) {
    let mut watcher = store.watch("/pods/", store.revision()).unwrap();
    close(store.clone()).await;
    assert!(watcher.next().await.is_none() && !watcher.lagged());
    let refused = store.write(put("/pods/a", Expect::Absent, "1")).await;
    assert!(matches!(refused, Err(WriteError::Storage(_))));
}

async fn close(store: Arc<dyn Store>) {
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
}

/// Runs every case; `$world` makes what a case needs, from its name, and keeps it until the case is over.
macro_rules! suite {
    ($world:ty: $($case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let world = <$world>::new(stringify!($case)).await;
                suite::$case(world.store().await).await;
            }
        )*
    };
    ($world:ty) => {
        $crate::suite::suite!($world: compare_and_swap, pages_and_older_revisions, watches_replay_and_follow,
            a_slow_watcher_is_cut_off, large_objects_do_not_pile_up, many_writers_share_commits, guards_hold, removals_tell_what_was,
            what_is_written_can_be_read_at_once, a_closed_store_refuses);
    };
}
pub(crate) use suite;
