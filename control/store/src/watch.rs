use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::{Delivery, Event};

/// Events that a watcher may have waiting before it is cut off.
const QUEUE: usize = 8192;
/// Bytes of large objects that may wait with them.
const BYTES: usize = 16 << 20;
/// Objects from this size on are counted: what a full queue holds of smaller ones is about as much.
const LARGE: usize = 4 << 10;

/// What both ends of a queue know.
#[derive(Debug, Default)]
struct Backlog {
    /// Bytes of large objects that wait.
    bytes: AtomicUsize,
    lagged: AtomicBool,
}

#[derive(Debug)]
struct Subscriber {
    id: u64,
    queue: mpsc::Sender<Arc<Delivery>>,
    backlog: Arc<Backlog>,
}

/// What an event in a queue is counted as.
fn weight(delivery: &Delivery) -> usize {
    let length = delivery.event.object.bytes().len();
    if length < LARGE { 0 } else { length }
}

impl Subscriber {
    /// Queues an event; false if that was the last one.
    fn send(&self, delivery: &Arc<Delivery>) -> bool {
        let weight = weight(delivery);
        let waiting = match weight {
            0 => 0,
            weight => self.backlog.bytes.fetch_add(weight, Ordering::Relaxed),
        };
        // One alone may be as large as it is.
        if waiting > 0 && waiting + weight > BYTES {
            self.backlog.lagged.store(true, Ordering::Release);
            return false;
        }
        let sent = self.queue.try_send(delivery.clone());
        if matches!(sent, Err(mpsc::error::TrySendError::Full(_))) {
            self.backlog.lagged.store(true, Ordering::Release);
        }
        sent.is_ok()
    }
}

/// Who watches what.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    by_prefix: HashMap<Box<str>, Vec<Subscriber>>,
    last_id: u64,
    closed: bool,
    /// Events up to this revision have been handed to the watchers.
    pub(crate) settled: u64,
}

/// The registry as the writer and the watchers share it.
pub(crate) type SharedRegistry = Arc<Mutex<Registry>>;

pub(crate) fn lock(registry: &SharedRegistry) -> MutexGuard<'_, Registry> {
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    pub(crate) fn at(revision: u64) -> Self {
        Registry {
            settled: revision,
            ..Registry::default()
        }
    }

    /// Hands an event to everyone who watches its key, without waiting for anyone.
    pub(crate) fn dispatch(&mut self, event: &Arc<Event>) {
        let key = event.object.key();
        let mut delivery = None;
        let prefixes = key.char_indices().filter(|(_, c)| *c == '/').map(|(at, _)| &key[..=at]);
        for prefix in prefixes.chain([key]) {
            if let Some(subscribers) = self.by_prefix.get_mut(prefix) {
                let delivery = delivery.get_or_insert_with(|| Delivery::new(event.clone()));
                subscribers.retain(|subscriber| subscriber.send(delivery));
            }
        }
    }

    /// Ends every watch as if its watcher had been too slow.
    pub(crate) fn cut_off(&mut self) {
        for subscriber in self.by_prefix.drain().flat_map(|(_, subscribers)| subscribers) {
            subscriber.backlog.lagged.store(true, Ordering::Release);
        }
    }

    /// Ends every watch.
    pub(crate) fn close(&mut self) {
        self.by_prefix.clear();
        self.closed = true;
    }

    pub(crate) fn subscribe(
        &mut self,
        shared: &SharedRegistry,
        prefix: &str,
        backlog: VecDeque<Arc<Event>>,
    ) -> Watcher {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let waiting = Arc::new(Backlog::default());
        self.last_id += 1;
        let id = self.last_id;
        if !self.closed {
            let subscriber = Subscriber {
                id,
                queue,
                backlog: waiting.clone(),
            };
            self.by_prefix.entry(prefix.into()).or_default().push(subscriber);
        }
        Watcher {
            backlog,
            queue: receiver,
            waiting,
            id,
            prefix: prefix.into(),
            registry: shared.clone(),
        }
    }
}

/// The receiving end of a watch.
#[derive(Debug)]
pub struct Watcher {
    backlog: VecDeque<Arc<Event>>,
    queue: mpsc::Receiver<Arc<Delivery>>,
    waiting: Arc<Backlog>,
    id: u64,
    prefix: Box<str>,
    registry: SharedRegistry,
}

impl Watcher {
    /// The next event. `None` when the watch ended: the watcher was too slow (see [`Watcher::lagged`]) or the store
    /// was closed. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Arc<Delivery>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The next event if one is waiting already.
    pub fn try_next(&mut self) -> Option<Arc<Delivery>> {
        match self.backlog.pop_front() {
            Some(event) => Some(Delivery::new(event)),
            None => self.queue.try_recv().ok().inspect(|delivery| self.taken(delivery)),
        }
    }

    /// As [`Watcher::next`], for callers that implement a stream by hand.
    pub fn poll_next(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Option<Arc<Delivery>>> {
        match self.backlog.pop_front() {
            Some(event) => std::task::Poll::Ready(Some(Delivery::new(event))),
            None => self
                .queue
                .poll_recv(context)
                .map(|delivery| delivery.inspect(|delivery| self.taken(delivery))),
        }
    }

    /// An event does not wait any more.
    fn taken(&self, delivery: &Delivery) {
        match weight(delivery) {
            0 => {}
            weight => drop(self.waiting.bytes.fetch_sub(weight, Ordering::Relaxed)),
        }
    }

    /// A revision up to which every event is in this watcher's queue already. When the queue has been emptied after
    /// this call, the watcher has seen the world up to here.
    pub fn settled(&self) -> u64 {
        lock(&self.registry).settled
    }

    /// Whether the watch ended because this watcher did not keep up.
    pub fn lagged(&self) -> bool {
        self.waiting.lagged.load(Ordering::Acquire)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut registry = lock(&self.registry);
        if let Some(subscribers) = registry.by_prefix.get_mut(&self.prefix) {
            subscribers.retain(|subscriber| subscriber.id != self.id);
            if subscribers.is_empty() {
                registry.by_prefix.remove(&self.prefix);
            }
        }
    }
}
