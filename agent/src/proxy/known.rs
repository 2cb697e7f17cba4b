//! The objects of one kind, as far as a watch has told.

use std::collections::BTreeMap;
use std::sync::Arc;

use barepod_client::{Event, Read};

type Objects<K> = BTreeMap<(String, String), Arc<K>>;

/// What a watch has told.
pub struct Known<K> {
    objects: Objects<K>,
    /// The list that is being received.
    listing: Option<Objects<K>>,
    complete: bool,
}

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self {
            objects: Objects::new(),
            listing: None,
            complete: false,
        }
    }
}

impl<K: Read> Known<K> {
    /// Takes in what the watch tells next. Whether that changed something.
    pub fn take(&mut self, event: Event<K>) -> bool {
        let key = |it: &K| (it.meta().namespace().to_owned(), it.meta().name().to_owned());
        match event {
            Event::Init => {
                self.listing = Some(Objects::new());
                false
            }
            Event::InitApply(object) => {
                self.listing
                    .get_or_insert_default()
                    .insert(key(&object), Arc::new(object));
                false
            }
            Event::InitDone => {
                self.objects = self.listing.take().unwrap_or_default();
                self.complete = true;
                true
            }
            Event::Apply(object) => {
                self.objects.insert(key(&object), Arc::new(object));
                true
            }
            Event::Delete(object) => self.objects.remove(&key(&object)).is_some(),
        }
    }

    /// Every object.
    pub fn all(&self) -> impl Iterator<Item = &K> {
        self.objects.values().map(|it| &**it)
    }

    /// Whether there was a complete list.
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use barepod_client::PartialObject;

    fn object(name: &str) -> PartialObject {
        serde_json::from_value(serde_json::json!({"metadata": {"name": name, "namespace": "n"}})).unwrap()
    }

    fn names(known: &Known<PartialObject>) -> Vec<&str> {
        known.all().map(|it| it.metadata.name()).collect()
    }

    #[test]
    fn a_new_list_replaces_the_old_one_when_it_is_complete() {
        let mut known = Known::default();
        assert!(!known.take(Event::Init) && !known.take(Event::InitApply(object("a"))));
        assert!(!known.is_complete());
        assert!(known.take(Event::InitDone) && known.is_complete());
        assert!(known.take(Event::Apply(object("b"))));
        known.take(Event::Init);
        known.take(Event::InitApply(object("c")));
        assert_eq!(names(&known), ["a", "b"]);
        known.take(Event::InitDone);
        assert_eq!(names(&known), ["c"]);
        assert!(known.take(Event::Delete(object("c"))) && !known.take(Event::Delete(object("c"))));
    }
}
