use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::{Delivery, Event};

/// Events that a watcher may have waiting before it is cut off.
const QUEUE: usize = 8192;

#[derive(Debug)]
struct Subscriber {
    id: u64,
    queue: mpsc::Sender<Arc<Delivery>>,
    lagged: Arc<AtomicBool>,
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
                subscribers.retain(|subscriber| match subscriber.queue.try_send(delivery.clone()) {
                    Ok(()) => true,
                    Err(mpsc::error::TrySendError::Full(_)) => {
                        subscriber.lagged.store(true, Ordering::Release);
                        false
                    }
                    Err(mpsc::error::TrySendError::Closed(_)) => false,
                });
            }
        }
    }

    /// Ends every watch as if its watcher had been too slow.
    pub(crate) fn cut_off(&mut self) {
        for subscriber in self.by_prefix.drain().flat_map(|(_, subscribers)| subscribers) {
            subscriber.lagged.store(true, Ordering::Release);
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
        let lagged = Arc::new(AtomicBool::new(false));
        self.last_id += 1;
        let id = self.last_id;
        if !self.closed {
            let subscriber = Subscriber {
                id,
                queue,
                lagged: lagged.clone(),
            };
            self.by_prefix.entry(prefix.into()).or_default().push(subscriber);
        }
        Watcher {
            backlog,
            queue: receiver,
            lagged,
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
    lagged: Arc<AtomicBool>,
    id: u64,
    prefix: Box<str>,
    registry: SharedRegistry,
}

impl Watcher {
    /// The next event. `None` when the watch ended: the watcher was too slow (see [`Watcher::lagged`]) or the store
    /// was closed. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Arc<Delivery>> {
        match self.backlog.pop_front() {
            Some(event) => Some(Delivery::new(event)),
            None => self.queue.recv().await,
        }
    }

    /// The next event if one is waiting already.
    pub fn try_next(&mut self) -> Option<Arc<Delivery>> {
        match self.backlog.pop_front() {
            Some(event) => Some(Delivery::new(event)),
            None => self.queue.try_recv().ok(),
        }
    }

    /// As [`Watcher::next`], for callers that implement a stream by hand.
    pub fn poll_next(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Option<Arc<Delivery>>> {
        match self.backlog.pop_front() {
            Some(event) => std::task::Poll::Ready(Some(Delivery::new(event))),
            None => self.queue.poll_recv(context),
        }
    }

    /// A revision up to which every event is in this watcher's queue already. When the queue has been emptied after
    /// this call, the watcher has seen the world up to here.
    pub fn settled(&self) -> u64 {
        lock(&self.registry).settled
    }

    /// Whether the watch ended because this watcher did not keep up.
    pub fn lagged(&self) -> bool {
        self.lagged.load(Ordering::Acquire)
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
