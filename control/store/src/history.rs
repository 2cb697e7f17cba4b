use std::collections::VecDeque;
use std::sync::Arc;

use crate::memory::Past;
use crate::range::Overrides;
use crate::{Event, ReadError};

/// The recent events, oldest first, bounded by number and by bytes.
#[derive(Debug)]
pub(crate) struct History {
    events: VecDeque<Arc<Event>>,
    /// The state can be rebuilt at this revision and at every later one.
    oldest: u64,
    bytes: usize,
    past: Past,
}

impl History {
    pub(crate) fn new(revision: u64, past: Past) -> Self {
        History {
            events: VecDeque::new(),
            oldest: revision,
            bytes: 0,
            past,
        }
    }

    pub(crate) fn push(&mut self, event: Arc<Event>) {
        self.bytes += cost(&event);
        self.events.push_back(event);
        while self.events.len() > self.past.events || self.bytes > self.past.bytes {
            if !self.drop_oldest() {
                break;
            }
        }
    }

    pub(crate) fn compact(&mut self, revision: u64) {
        while self.events.front().is_some_and(|event| event.revision() <= revision) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(event) = self.events.pop_front() else {
            return false;
        };
        self.bytes -= cost(&event);
        self.oldest = event.revision();
        true
    }

    /// Fails if the revision was compacted or does not exist yet.
    pub(crate) fn check(&self, revision: u64, current: u64) -> Result<(), ReadError> {
        if revision < self.oldest {
            Err(ReadError::Compacted {
                requested: revision,
                oldest: self.oldest,
            })
        } else if revision > current {
            Err(ReadError::Future {
                requested: revision,
                current,
            })
        } else {
            Ok(())
        }
    }

    /// The events after a revision.
    pub(crate) fn after(&self, revision: u64) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        let start = self.events.partition_point(|event| event.revision() <= revision);
        self.events.range(start..)
    }

    /// What has to be undone below a prefix to get from now to the revision.
    pub(crate) fn undo(&self, prefix: &str, revision: u64) -> Overrides {
        let mut overrides = Overrides::new();
        for event in self
            .after(revision)
            .rev()
            .filter(|event| event.object.key().starts_with(prefix))
        {
            overrides.insert(event.object.shared_key(), event.previous.clone());
        }
        overrides
    }
}

/// What an object takes beside its text: its key, what is derived from it, and the event's own bookkeeping.
const OVERHEAD: usize = 512;

/// Bytes that an event keeps alive beyond the current objects, roughly: the state before it, and its own state, which a
/// later event makes a former one.
fn cost(event: &Event) -> usize {
    let previous = event.previous.as_ref().map_or(0, |object| object.bytes().len());
    event.object.bytes().len() + previous + OVERHEAD
}
