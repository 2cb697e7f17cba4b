//! Work queue of a controller: each key waits at most once, is never worked on twice at a time, and a failed key comes
//! back after a growing delay. Nothing is polled: an idle queue has no timer.

use crate::api::Error;
use crate::queue_numbers::QueueNumbers;
use crate::sync::lock;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

const FIRST_DELAY: Duration = Duration::from_millis(5);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// What a reconcile asks for when it ends well.
pub(crate) type Again = Option<Duration>;

/// The work on one key.
type Work<'a> = BoxFuture<'a, Result<Again, Error>>;

/// A queue of keys.
pub(crate) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    wake: Notify,
}

struct Inner<T> {
    ready: VecDeque<T>,
    queued: HashSet<T>,
    running: HashSet<T>,
    /// Asked for while it was worked on: goes back to `ready` when that ends.
    again: HashSet<T>,
    delayed: BTreeMap<(Instant, u64), T>,
    due: HashMap<T, (Instant, u64)>,
    failures: HashMap<T, u32>,
    sequence: u64,
    numbers: Arc<QueueNumbers>,
}

impl<T: Clone + Eq + Hash + Debug> Queue<T> {
    /// An empty one, which counts what becomes of its keys.
    pub(crate) fn new(numbers: Arc<QueueNumbers>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                ready: VecDeque::new(),
                queued: HashSet::new(),
                running: HashSet::new(),
                again: HashSet::new(),
                delayed: BTreeMap::new(),
                due: HashMap::new(),
                failures: HashMap::new(),
                sequence: 0,
                numbers,
            }),
            wake: Notify::new(),
        }
    }

    /// Asks for work on `key`, now.
    pub(crate) fn add(&self, key: T) {
        if lock(&self.inner).add(key) {
            self.wake.notify_one();
        }
    }

    /// Asks for work on `key` after `delay`; an earlier wish for the same key stays.
    pub(crate) fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        if lock(&self.inner).delay(key, Instant::now() + delay) {
            self.wake.notify_one();
        }
    }

    /// Puts a failed key back with a delay that doubles each time.
    pub(crate) fn retry(&self, key: T) -> Duration {
        let failures = {
            let mut inner = lock(&self.inner);
            let count = inner.failures.entry(key.clone()).or_insert(0);
            *count += 1;
            let count = *count;
            inner.numbers.retries.fetch_add(1, Ordering::Relaxed);
            count
        };
        let delay = backoff(failures);
        self.add_after(key, delay);
        delay
    }

    /// The next key to work on; `done` must follow.
    pub(crate) async fn next(&self) -> T {
        loop {
            let deadline = {
                let mut inner = lock(&self.inner);
                inner.promote(Instant::now());
                if let Some(key) = inner.take() {
                    if !inner.ready.is_empty() {
                        self.wake.notify_one();
                    }
                    return key;
                }
                inner.delayed.keys().next().map(|(at, _)| *at)
            };
            match deadline {
                Some(at) => {
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => self.wake.notified().await,
            }
        }
    }

    /// Ends the work on `key` that `next` began.
    pub(crate) fn done(&self, key: &T) {
        let mut inner = lock(&self.inner);
        inner.running.remove(key);
        if inner.again.remove(key) && inner.add(key.clone()) {
            self.wake.notify_one();
        }
    }

    /// Forgets earlier failures of `key`.
    pub(crate) fn forget(&self, key: &T) {
        lock(&self.inner).failures.remove(key);
    }

    /// Works on keys until dropped, at most `limit` at a time, and puts the failed ones back.
    pub(crate) async fn drive<'a, F, R>(&self, controller: &'static str, limit: usize, reconcile: F)
    where
        F: Fn(T) -> R + Send + Sync + 'a,
        R: Future<Output = Result<Again, Error>> + Send + 'a,
    {
        let boxed = |key| -> Work<'a> { Box::pin(reconcile(key)) };
        self.drive_all(controller, limit, &boxed).await;
    }

    /// In the program once a sort of key, not once a controller.
    async fn drive_all<'a>(
        &self,
        controller: &'static str,
        limit: usize,
        reconcile: &(dyn Fn(T) -> Work<'a> + Send + Sync),
    ) {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                key = self.next(), if running.len() < limit => {
                    let work = reconcile(key.clone());
                    running.push(async move { (key, work.await) });
                }
                Some((key, result)) = running.next(), if !running.is_empty() => self.finish(controller, key, result),
            }
        }
    }

    fn finish(&self, controller: &'static str, key: T, result: Result<Again, Error>) {
        match result {
            Ok(again) => {
                self.forget(&key);
                if let Some(delay) = again {
                    self.add_after(key.clone(), delay);
                }
            }
            Err(error) => {
                let delay = self.retry(key.clone());
                if error.is_conflict() {
                    tracing::debug!(controller, ?key, ?delay, %error, "conflict, will retry");
                } else {
                    tracing::warn!(controller, ?key, ?delay, error = %error.chain(), "will retry");
                }
            }
        }
        self.done(&key);
    }
}

impl<T: Clone + Eq + Hash> Inner<T> {
    /// Whether a waiter has something new to do.
    fn add(&mut self, key: T) -> bool {
        if self.running.contains(&key) {
            self.again.insert(key);
            return false;
        }
        if !self.queued.insert(key.clone()) {
            return false;
        }
        self.ready.push_back(key);
        self.numbers.adds.fetch_add(1, Ordering::Relaxed);
        self.numbers.depth.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn delay(&mut self, key: T, at: Instant) -> bool {
        if let Some(&known) = self.due.get(&key) {
            if known.0 <= at {
                return false;
            }
            self.delayed.remove(&known);
        }
        self.sequence += 1;
        let slot = (at, self.sequence);
        self.delayed.insert(slot, key.clone());
        self.due.insert(key, slot);
        self.delayed.keys().next() == Some(&slot)
    }

    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.due.remove(&key);
            self.add(key);
        }
    }

    fn take(&mut self) -> Option<T> {
        let key = self.ready.pop_front()?;
        self.numbers.depth.fetch_sub(1, Ordering::Relaxed);
        self.queued.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }
}

impl<T> Drop for Inner<T> {
    fn drop(&mut self) {
        // Nobody waits any more.
        let left = u64::try_from(self.ready.len()).unwrap_or(0);
        self.numbers.depth.fetch_sub(left, Ordering::Relaxed);
    }
}

fn backoff(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    FIRST_DELAY.saturating_mul(1 << doublings).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once() {
        let queue = Queue::new(Arc::default());
        queue.add("a");
        queue.add("a");
        queue.add("b");
        let numbers = Arc::clone(&lock(&queue.inner).numbers);
        assert_eq!((numbers.adds(), numbers.depth()), (2, 2));
        assert_eq!(queue.next().await, "a");
        assert_eq!(queue.next().await, "b");
        assert_eq!((numbers.adds(), numbers.depth()), (2, 0));
        queue.done(&"a");
        queue.done(&"b");
        let nothing = tokio::time::timeout(Duration::from_secs(60), queue.next()).await;
        assert!(nothing.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_asked_for_while_running_comes_again() {
        let queue = Queue::new(Arc::default());
        queue.add("a");
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        queue.add("a");
        assert!(
            tokio::time::timeout(Duration::from_secs(1), queue.next())
                .await
                .is_err()
        );
        queue.done(&"a");
        assert_eq!(queue.next().await, "a");
        queue.done(&"a");
        assert!(
            tokio::time::timeout(Duration::from_secs(1), queue.next())
                .await
                .is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn delays_keep_the_earliest() {
        let queue = Queue::new(Arc::default());
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(10));
        queue.add_after("a", Duration::from_secs(2));
        queue.add_after("a", Duration::from_secs(7));
        assert_eq!(queue.next().await, "a");
        assert_eq!(start.elapsed().as_secs(), 2);
        queue.done(&"a");
        assert!(
            tokio::time::timeout(Duration::from_secs(60), queue.next())
                .await
                .is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn failures_double_the_delay_up_to_a_cap() {
        let queue = Queue::new(Arc::default());
        assert_eq!(queue.retry("a"), Duration::from_millis(5));
        assert_eq!(queue.retry("a"), Duration::from_millis(10));
        for _ in 0..30 {
            queue.retry("a");
        }
        assert_eq!(queue.retry("a"), LONGEST_DELAY);
        assert_eq!(lock(&queue.inner).numbers.retries(), 33);
        queue.forget(&"a");
        assert_eq!(queue.retry("a"), Duration::from_millis(5));
    }

    #[tokio::test(start_paused = true)]
    async fn drive_retries_and_keeps_keys_apart() {
        let queue = Arc::new(Queue::new(Arc::default()));
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let (q, log) = (queue.clone(), attempts.clone());
        let driver = tokio::spawn(async move {
            q.drive("test", 4, |key: u32| {
                let log = log.clone();
                async move {
                    lock(&log).push(key);
                    if lock(&log).iter().filter(|k| **k == key).count() < 3 {
                        return Err(Error::invalid("test", "not yet"));
                    }
                    Ok(None)
                }
            })
            .await;
        });
        queue.add(1);
        queue.add(2);
        tokio::time::sleep(Duration::from_secs(5)).await;
        driver.abort();
        let seen = lock(&attempts).clone();
        assert_eq!(seen.iter().filter(|k| **k == 1).count(), 3);
        assert_eq!(seen.iter().filter(|k| **k == 2).count(), 3);
    }
}
