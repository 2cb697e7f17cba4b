//! Events are kept for a while after their last write.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use barepod_store::{Change, EventKind, Expect, Object, Range, Store, Watcher, Write};
use tokio::time::{Instant, sleep_until};

/// Events that end this soon after each other go together, so that they share a wake-up and a write.
const TOGETHER: Duration = Duration::from_secs(30);

type Deadlines = BinaryHeap<Reverse<(Instant, String, u64)>>;

/// Removes the objects below a prefix when they were not written for as long as they are `kept`. Sleeps until the next one is due, and
/// only as long as there are any. Ends with the store.
pub async fn expire(store: Arc<dyn Store>, prefix: &str, kept: Duration) {
    while let Some((mut deadlines, mut watcher)) = begin(&*store, prefix, kept) {
        if follow(&*store, &mut deadlines, &mut watcher, kept).await {
            return;
        }
    }
}

/// What is there, which counts as just written, and a watch for what comes.
fn begin(store: &dyn Store, prefix: &str, kept: Duration) -> Option<(Deadlines, Watcher)> {
    let page = store
        .range(&Range {
            prefix,
            ..Range::default()
        })
        .ok()?;
    let watcher = store.watch(prefix, page.revision).ok()?;
    let due = Instant::now() + kept;
    Some((
        page.objects.iter().map(|object| deadline(due, object)).collect(),
        watcher,
    ))
}

fn deadline(due: Instant, object: &Object) -> Reverse<(Instant, String, u64)> {
    Reverse((due, object.key().to_owned(), object.revision()))
}

/// Returns true if the store was closed, false if this watcher was too slow and has to begin again.
async fn follow(store: &dyn Store, deadlines: &mut Deadlines, watcher: &mut Watcher, kept: Duration) -> bool {
    loop {
        let next = deadlines.peek().map(|Reverse((due, _, _))| *due);
        let due = async {
            match next {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            delivery = watcher.next() => match delivery {
                None => return !watcher.lagged(),
                Some(delivery) if delivery.event.kind == EventKind::Deleted => {}
                Some(delivery) => deadlines.push(deadline(Instant::now() + kept, &delivery.event.object)),
            },
            () = due => {
                let writes = overdue(store, deadlines, Instant::now());
                // One that was written meanwhile stays; its new deadline is known from the watch.
                let _ = store.write_all(writes).await;
            }
        }
    }
}

/// The removal of everything whose time has come, or comes soon.
fn overdue(store: &dyn Store, deadlines: &mut Deadlines, now: Instant) -> Vec<Write> {
    let end = now + TOGETHER;
    let mut writes = Vec::new();
    while deadlines.peek().is_some_and(|Reverse((due, _, _))| *due <= end) {
        let Some(Reverse((_, key, revision))) = deadlines.pop() else {
            break;
        };
        if store.get(&key).is_some_and(|object| object.revision() == revision) {
            writes.push(Write {
                key,
                expect: Expect::Revision(revision),
                change: Change::Delete { last: None },
                guard: None,
            });
        }
    }
    writes
}

#[cfg(test)]
mod tests {
    use barepod_store::{Embedded, Encoded, Options};

    use super::*;

    async fn put(store: &Embedded, key: &str, expect: Expect) -> Arc<Object> {
        let write = Write {
            key: key.to_owned(),
            expect,
            change: Change::Put(Encoded::new(b"{\"rv\":\"\"}".to_vec(), 7)),
            guard: None,
        };
        store.write(write).await.unwrap()
    }

    #[tokio::test]
    async fn the_last_write_counts() {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(Options::new(&directory.path().join("store"))).unwrap();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let old = put(&store, "/events/a/old", Expect::Absent).await;
        let new = put(&store, "/events/a/new", Expect::Absent).await;
        let newer = put(&store, "/events/a/new", Expect::Revision(new.revision())).await;
        let mut deadlines = Deadlines::from([
            deadline(at(3600), &old),
            deadline(at(5400), &new),
            deadline(at(6300), &newer),
        ]);
        let mut due = |seconds| {
            let writes = overdue(&store, &mut deadlines, at(seconds));
            writes.into_iter().map(|it| (it.key, it.expect)).collect::<Vec<_>>()
        };
        assert_eq!(due(3569), []);
        assert_eq!(
            due(3571),
            [("/events/a/old".to_owned(), Expect::Revision(old.revision()))]
        );
        assert_eq!(due(5401), [], "it was written again");
        assert_eq!(
            due(6271),
            [("/events/a/new".to_owned(), Expect::Revision(newer.revision()))]
        );
        assert!(deadlines.is_empty());
    }

    #[tokio::test]
    async fn what_is_there_and_what_comes_goes_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(Options::new(&directory.path().join("store"))).unwrap());
        put(&store, "/events/a/there", Expect::Absent).await;
        put(&store, "/pods/a/p", Expect::Absent).await;
        let mut watcher = store.watch("/events/", store.revision()).unwrap();
        let task = tokio::spawn(expire(store.clone(), "/events/", Duration::from_millis(1)));
        let mut gone = async |key: &str| {
            loop {
                let event = watcher.next().await.unwrap().event.clone();
                if event.kind == EventKind::Deleted {
                    return assert_eq!(event.object.key(), key);
                }
            }
        };
        gone("/events/a/there").await;
        put(&store, "/events/a/comes", Expect::Absent).await;
        gone("/events/a/comes").await;
        assert_eq!((store.count("/events/"), store.count("/pods/")), (0, 1));
        store.close();
        task.await.unwrap();
    }
}
