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
                let writes = overdue(store, deadlines);
                // One that was written meanwhile stays; its new deadline is known from the watch.
                let _ = store.write_all(writes).await;
            }
        }
    }
}

fn overdue(store: &dyn Store, deadlines: &mut Deadlines) -> Vec<Write> {
    let end = Instant::now() + TOGETHER;
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

    /// Writes while the paused clock stands still, which it does as long as a blocking task runs.
    async fn write(store: &Arc<Embedded>, write: Write) -> Arc<Object> {
        let (store, runtime) = (store.clone(), tokio::runtime::Handle::current());
        tokio::task::spawn_blocking(move || runtime.block_on(store.write(write)).unwrap())
            .await
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn events_go_after_an_hour_without_writes() {
        let directory = std::env::temp_dir().join(format!("barepodtest-expiry-{}", std::process::id()));
        let store = Arc::new(Embedded::open(Options::new(&directory.join("store"))).unwrap());
        let put = |key: &str, expect| Write {
            key: key.to_owned(),
            expect,
            change: Change::Put(Encoded::new(b"{\"rv\":\"\"}".to_vec(), 7)),
            guard: None,
        };
        let mut watcher = store.watch("/events/", store.revision()).unwrap();
        let start = Instant::now();
        write(&store, put("/events/a/old", Expect::Absent)).await;
        write(&store, put("/pods/a/p", Expect::Absent)).await;
        let task = tokio::spawn(expire(store.clone(), "/events/", Duration::from_secs(3600)));
        tokio::time::sleep(Duration::from_secs(1800)).await;
        let new = write(&store, put("/events/a/new", Expect::Absent)).await;
        tokio::time::sleep(Duration::from_secs(900)).await;
        write(&store, put("/events/a/new", Expect::Revision(new.revision()))).await;
        let mut gone = Vec::new();
        while gone.len() < 2 {
            let delivery = watcher.next().await.unwrap();
            if delivery.event.kind == EventKind::Deleted {
                gone.push((delivery.event.object.key().to_owned(), start.elapsed().as_secs() / 100));
            }
        }
        assert_eq!(
            gone,
            [("/events/a/old".to_owned(), 36), ("/events/a/new".to_owned(), 63)]
        );
        assert_eq!(store.count("/pods/"), 1);
        store.close();
        task.await.unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
