use std::sync::Arc;

use crate::history::History;
use crate::range::{self, Objects, Overrides};
use crate::{Event, EventKind, Object, Page, Range, ReadError};

/// The in-memory state: the current objects and the recent events.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) objects: Objects,
    pub(crate) history: History,
    pub(crate) revision: u64,
}

impl State {
    /// Makes an event's change visible.
    pub(crate) fn apply(&mut self, event: Arc<Event>) {
        match event.kind {
            EventKind::Deleted => {
                self.objects.remove(event.object.key());
            }
            EventKind::Added | EventKind::Modified => {
                self.objects.insert(event.object.shared_key(), event.object.clone());
            }
        }
        self.revision = event.revision();
        self.history.push(event);
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    pub(crate) fn range(&self, range: &Range<'_>) -> Result<Page, ReadError> {
        let mut page = Page {
            revision: range.at.unwrap_or(self.revision),
            ..Page::default()
        };
        let overrides = match range.at {
            Some(revision) if revision != self.revision => {
                self.history.check(revision, self.revision)?;
                self.history.undo(range.prefix, revision)
            }
            _ => Overrides::new(),
        };
        range::read(&self.objects, &overrides, range, &mut page);
        Ok(page)
    }
}
