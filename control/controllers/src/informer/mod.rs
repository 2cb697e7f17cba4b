//! A shared, indexed cache of one kind that tells its listeners about every change.
//!
//! One watch per kind feeds it, and so do the answers to our own writes. Listeners are called in the order of changes,
//! must not block and must not write to the same informer; all they do is note a key in a queue or update a table.

mod key;
mod state;
mod watch;

pub(crate) use key::Key;
pub(crate) use state::Change;

use crate::sync::lock;
use barepod_client::types::ObjectMeta;
use state::State;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch as signal;

/// Names an index of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexId(pub(crate) usize);

/// What the cache needs to know about a kind.
pub(crate) trait Object: barepod_client::Object + Clone + Debug + Sync {
    /// Drops what no controller reads, before the object is cached.
    fn trim(&mut self) {
        trim_meta(self.meta_mut());
    }

    /// Calls `add` for every value the object can be looked up by.
    fn index(&self, _add: &mut dyn FnMut(IndexId, &str)) {}
}

/// Drops the bulky part of the metadata.
pub(crate) fn trim_meta(meta: &mut ObjectMeta) {
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

type Listener<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// The cache of one kind.
pub(crate) struct Informer<K> {
    state: RwLock<State<K>>,
    /// Held while the state changes and its listeners hear of it, so that all hear the same order.
    listeners: Mutex<Vec<Listener<K>>>,
    synced: signal::Sender<bool>,
}

impl<K: Object> Informer<K> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: RwLock::new(State::new()),
            listeners: Mutex::new(Vec::new()),
            synced: signal::Sender::new(false),
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, State<K>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<K>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a listener; it first hears of every object already cached.
    pub(crate) fn on_change(&self, listener: impl Fn(&Change<K>) + Send + Sync + 'static) {
        self.add(Box::new(listener));
    }

    fn add(&self, listener: Listener<K>) {
        let mut listeners = lock(&self.listeners);
        for object in self.all() {
            listener(&Change {
                old: None,
                new: Some(object),
            });
        }
        listeners.push(listener);
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.read().get(key)
    }

    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.get(&Key::new(namespace, name))
    }

    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.read().all()
    }

    /// The objects that have `value` in the index.
    pub(crate) fn by(&self, index: IndexId, value: &str) -> Vec<Arc<K>> {
        self.read().by(index, value)
    }

    /// Waits for the first list.
    pub(crate) async fn synced(&self) {
        let mut synced = self.synced.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _ = synced.wait_for(|done| *done).await;
    }

    /// Takes in an object that an answer carried, unless the watch is already past it.
    pub(crate) fn observe(&self, mut object: K) -> Arc<K> {
        object.trim();
        let object = Arc::new(object);
        self.change(|state| state.observe(object.clone()));
        object
    }

    /// Takes in that our own delete left nothing of the object.
    pub(crate) fn observe_removed(&self, key: &Key, uid: &str) {
        self.change(|state| state.observe_removed(key, uid));
    }

    fn change(&self, act: impl FnOnce(&mut State<K>) -> Vec<Change<K>>) {
        let listeners = lock(&self.listeners);
        let changes = act(&mut self.write());
        Self::tell(&listeners, &changes);
    }

    fn tell(listeners: &[Listener<K>], changes: &[Change<K>]) {
        for change in changes {
            for listener in listeners.iter() {
                listener(change);
            }
        }
    }
}
