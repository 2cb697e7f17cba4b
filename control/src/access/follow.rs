//! A table derived from stored objects.
//!
//! There is no task behind it: whoever asks first takes in what happened since. So an answer is never older than the
//! last acknowledged write, and nothing wakes up for a table that nobody reads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use barepod_store::{Delivery, EventKind, Object, Range, Store, Watcher};

/// A table that takes in changes of objects.
pub trait Table: Send {
    /// Prefixes of the keys of the objects that it is derived from.
    fn prefixes(&self) -> &[&'static str];

    /// An object changed: its states before and after, as far as there are.
    fn change(&mut self, prefix: &'static str, key: &str, old: Option<&Object>, new: Option<&Object>);

    /// An empty one.
    fn clear(&mut self);
}

/// A table with the watches that feed it.
pub struct Followed<T> {
    store: Arc<dyn Store>,
    state: Mutex<State<T>>,
}

struct State<T> {
    table: T,
    /// One for each prefix; none before the first question.
    watchers: Vec<(&'static str, Watcher)>,
    /// Of [`Followed::run`], which has to learn of new watchers.
    waker: Option<Waker>,
    /// The revision that the table is not older than.
    seen: u64,
}

impl<T: Table> Followed<T> {
    /// A table over a store. Nothing is read before it is asked.
    pub fn new(store: Arc<dyn Store>, table: T) -> Self {
        let state = State {
            table,
            watchers: Vec::new(),
            waker: None,
            seen: 0,
        };
        Followed {
            store,
            state: Mutex::new(state),
        }
    }

    /// Asks the table as it is now.
    pub fn with<R>(&self, ask: impl FnOnce(&T) -> R) -> R {
        let mut state = self.lock();
        let revision = self.store.revision();
        if state.watchers.is_empty() || (state.seen != revision && !state.catch_up()) {
            state.begin(&*self.store);
        }
        state.seen = revision;
        ask(&state.table)
    }

    /// Takes changes in as they happen, so that they do not pile up between questions. Begins with the first question
    /// that found the table in use, and ends with the store or by being dropped.
    pub async fn run(&self, in_use: &tokio::sync::Notify) {
        in_use.notified().await;
        std::future::poll_fn(|context| {
            let mut state = self.lock();
            state.waker = Some(context.waker().clone());
            if state.watchers.is_empty() {
                state.begin(&*self.store);
            }
            let State { table, watchers, .. } = &mut *state;
            for (prefix, watcher) in watchers.iter_mut() {
                loop {
                    match watcher.poll_next(context) {
                        Poll::Ready(Some(delivery)) => take(table, prefix, &delivery),
                        Poll::Ready(None) if watcher.lagged() => break,
                        Poll::Ready(None) => return Poll::Ready(()),
                        Poll::Pending => break,
                    }
                }
            }
            if watchers.iter().any(|(_, watcher)| watcher.lagged()) {
                state.begin(&*self.store);
            }
            Poll::Pending
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take<T: Table>(table: &mut T, prefix: &'static str, delivery: &Delivery) {
    let event = &delivery.event;
    let new = (event.kind != EventKind::Deleted).then_some(&*event.object);
    table.change(
        prefix,
        &event.object.key()[prefix.len()..],
        event.previous.as_deref(),
        new,
    );
}

impl<T: Table> State<T> {
    /// Takes in what waits; false if something was missed.
    fn catch_up(&mut self) -> bool {
        let State { table, watchers, .. } = self;
        // A writer has its answer before watchers have the event; this waits until they have.
        if let Some((_, first)) = watchers.first() {
            first.settled();
        }
        for (prefix, watcher) in watchers {
            while let Some(delivery) = watcher.try_next() {
                take(table, prefix, &delivery);
            }
            if watcher.lagged() {
                return false;
            }
        }
        true
    }

    /// Reads everything anew and watches from there.
    fn begin(&mut self, store: &dyn Store) {
        self.table.clear();
        self.watchers.clear();
        let prefixes: Vec<&'static str> = self.table.prefixes().to_vec();
        for prefix in prefixes {
            // The current state can always be read and, unless ten thousand writes come in between, be watched from.
            let Some((page, watcher)) = (0..8).find_map(|_| {
                let range = Range {
                    prefix,
                    ..Range::default()
                };
                let page = store.range(&range).ok()?;
                let watcher = store.watch(prefix, page.revision).ok()?;
                Some((page, watcher))
            }) else {
                tracing::error!(prefix, "the store cannot be followed");
                continue;
            };
            for object in &page.objects {
                self.table
                    .change(prefix, &object.key()[prefix.len()..], None, Some(object));
            }
            self.watchers.push((prefix, watcher));
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use barepod_store::{Change, Embedded, Encoded, Expect, Options, Write};

    use super::*;

    #[derive(Default)]
    struct Names(BTreeSet<String>);

    impl Table for Names {
        fn prefixes(&self) -> &[&'static str] {
            &["/a/", "/b/"]
        }

        fn change(&mut self, prefix: &'static str, key: &str, _: Option<&Object>, new: Option<&Object>) {
            let name = format!("{prefix}{key}");
            if new.is_some() {
                self.0.insert(name);
            } else {
                self.0.remove(&name);
            }
        }

        fn clear(&mut self) {
            self.0.clear();
        }
    }

    #[tokio::test]
    async fn an_answer_knows_every_acknowledged_write() {
        let directory = std::env::temp_dir().join(format!("barepodtest-follow-{}", std::process::id()));
        let store = Arc::new(Embedded::open(Options::new(&directory.join("store.redb"))).unwrap());
        let put = |key: &str| Write {
            key: key.to_owned(),
            expect: Expect::Absent,
            change: Change::Put(Encoded::new(b"{\"rv\":\"\"}".to_vec(), 7)),
            guard: None,
        };
        store.write(put("/a/before")).await.unwrap();
        let names = Followed::new(store.clone(), Names::default());
        let all = || names.with(|names| names.0.iter().cloned().collect::<Vec<_>>().join(" "));
        assert_eq!(all(), "/a/before");
        store.write(put("/b/x")).await.unwrap();
        store.write(put("/c/x")).await.unwrap();
        assert_eq!(all(), "/a/before /b/x");
        // More than a watcher's queue holds.
        for batch in 0..10 {
            let writes = (0..1000).map(|number| put(&format!("/a/{batch}-{number}"))).collect();
            store.write_all(writes).await;
        }
        assert_eq!(names.with(|names| names.0.len()), 10_002);
        let in_use = tokio::sync::Notify::new();
        in_use.notify_one();
        let run = names.run(&in_use);
        let write = async {
            for batch in 0..20 {
                let writes = (0..1000).map(|number| put(&format!("/b/{batch}-{number}"))).collect();
                store.write_all(writes).await;
                tokio::task::yield_now().await;
            }
            assert!(names.lock().watchers.iter().all(|(_, watcher)| !watcher.lagged()));
            let closing = store.clone();
            tokio::task::spawn_blocking(move || closing.close()).await.unwrap();
        };
        tokio::join!(run, write);
        assert_eq!(names.with(|names| names.0.len()), 30_002);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
