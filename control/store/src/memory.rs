use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use crate::history::History;
use crate::range::Objects;
use crate::state::State;
use crate::watch::{self, Registry, SharedRegistry};
use crate::{Event, Object, Page, Range, ReadError, Watcher};

/// How much of the past is kept in memory.
#[derive(Debug, Clone, Copy)]
pub struct Past {
    /// At most so many events.
    pub events: usize,
    /// At most about so many bytes of objects that are kept alive by them.
    pub bytes: usize,
}

impl Default for Past {
    fn default() -> Self {
        Past {
            events: 20_000,
            bytes: 8 << 20,
        }
    }
}

/// What every backend has in memory: the current objects, the recent events, and who watches.
#[derive(Debug)]
pub(crate) struct Memory {
    state: RwLock<State>,
    registry: SharedRegistry,
    past: Past,
}

impl Memory {
    pub(crate) fn new(objects: Objects, revision: u64, past: Past) -> Self {
        Memory {
            state: RwLock::new(State {
                objects,
                history: History::new(revision, past),
                revision,
            }),
            registry: SharedRegistry::new(Mutex::new(Registry::at(revision))),
            past,
        }
    }

    /// The state, for as long as it is held.
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn revision(&self) -> u64 {
        self.state().revision
    }

    pub(crate) fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.state().get(key).cloned()
    }

    pub(crate) fn range(&self, range: &Range<'_>) -> Result<Page, ReadError> {
        self.state().range(range)
    }

    pub(crate) fn count(&self, prefix: &str) -> usize {
        let bounds = (Bound::Included(prefix), Bound::Unbounded);
        self.state()
            .objects
            .range::<str, _>(bounds)
            .take_while(|(key, _)| key.starts_with(prefix))
            .count()
    }

    pub(crate) fn watch(&self, prefix: &str, after: u64) -> Result<Watcher, ReadError> {
        // Whoever publishes takes the registry before the state and dispatches under it, so between the two steps here
        // no event can be missed or seen twice.
        let mut registry = watch::lock(&self.registry);
        let state = self.state();
        state.history.check(after, state.revision)?;
        let matches = |key: &str| {
            if prefix.ends_with('/') {
                key.starts_with(prefix)
            } else {
                key == prefix
            }
        };
        let backlog: VecDeque<_> = state
            .history
            .after(after)
            .filter(|event| matches(event.object.key()))
            .cloned()
            .collect();
        drop(state);
        Ok(registry.subscribe(&self.registry, prefix, backlog))
    }

    pub(crate) fn compact(&self, revision: u64) {
        self.write().history.compact(revision);
    }

    /// Shows events to readers, calls `shown`, then hands the events to the watchers. Who learns of them by `shown` may
    /// watch from there at once: it finds the registry only when all of this is done.
    pub(crate) fn publish(&self, events: &[Arc<Event>], shown: impl FnOnce()) {
        let mut registry = watch::lock(&self.registry);
        if !events.is_empty() {
            let mut state = self.write();
            for event in events {
                state.apply(event.clone());
            }
        }
        shown();
        for event in events {
            registry.dispatch(event);
            registry.settled = event.revision();
        }
    }

    /// Says that there is nothing more up to a revision.
    pub(crate) fn advance(&self, revision: u64) {
        let mut registry = watch::lock(&self.registry);
        let mut state = self.write();
        state.revision = state.revision.max(revision);
        registry.settled = registry.settled.max(revision);
    }

    /// Begins anew with another state, to which no events lead: whoever watches has to list again.
    pub(crate) fn replace(&self, objects: Objects, revision: u64) {
        let mut registry = watch::lock(&self.registry);
        let mut state = self.write();
        *state = State {
            objects,
            history: History::new(revision, self.past),
            revision,
        };
        registry.cut_off();
        registry.settled = revision;
    }

    /// Ends every watch.
    pub(crate) fn close(&self) {
        watch::lock(&self.registry).close();
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
