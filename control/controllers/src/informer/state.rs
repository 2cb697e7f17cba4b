//! The cached objects of one kind and their indices: a pure state machine, fed with watch events and with the answers to
//! our own writes.
//!
//! Resource versions of one kind grow in the order of its changes (KEP-5504), which lets an answer take its place in
//! that order: an object that an answer shows ahead of the watch is kept until the watch catches up, and one that the
//! watch already passed is not brought back.

use super::{IndexId, Key, Object};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// One change of the cache: added without `old`, removed without `new`.
pub(crate) struct Change<K> {
    pub(crate) old: Option<Arc<K>>,
    pub(crate) new: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// The object after the change, or before its removal.
    pub(crate) fn any(&self) -> Option<&Arc<K>> {
        self.new.as_ref().or(self.old.as_ref())
    }

    /// Both sides.
    pub(crate) fn sides(&self) -> impl Iterator<Item = &Arc<K>> {
        self.old.iter().chain(self.new.iter())
    }
}

struct Entry<K> {
    object: Arc<K>,
    revision: u64,
    /// Seen in an answer only; the number of the list it was seen after.
    ahead: Option<u64>,
}

pub(super) struct State<K> {
    entries: HashMap<Key, Entry<K>>,
    indices: Vec<HashMap<Box<str>, BTreeSet<Key>>>,
    /// The highest revision the watch delivered.
    revision: u64,
    /// Removed by our own delete, before the watch said so.
    removed: HashSet<Box<str>>,
    /// Counts the lists begun.
    lists: u64,
    incoming: Option<Vec<Arc<K>>>,
}

pub(super) fn revision<K: Object>(object: &K) -> u64 {
    object
        .meta()
        .resource_version
        .as_deref()
        .and_then(|v| v.parse().ok())
        .unwrap_or(0)
}

fn uid<K: Object>(object: &K) -> &str {
    object.meta().uid.as_deref().unwrap_or_default()
}

impl<K: Object> State<K> {
    pub(super) fn new() -> Self {
        Self {
            entries: HashMap::new(),
            indices: Vec::new(),
            revision: 0,
            removed: HashSet::new(),
            lists: 0,
            incoming: None,
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.entries.get(key).map(|e| e.object.clone())
    }

    pub(super) fn all(&self) -> Vec<Arc<K>> {
        self.entries.values().map(|e| e.object.clone()).collect()
    }

    pub(super) fn by(&self, index: IndexId, value: &str) -> Vec<Arc<K>> {
        let keys = self.indices.get(index.0).and_then(|i| i.get(value));
        keys.into_iter().flatten().filter_map(|key| self.get(key)).collect()
    }

    /// The watch said that `object` was added or modified.
    pub(super) fn apply(&mut self, object: K) -> Vec<Change<K>> {
        let at = revision(&object);
        self.revision = self.revision.max(at);
        if self.removed.contains(uid(&object)) {
            return Vec::new();
        }
        let key = Key::of(object.meta());
        if let Some(entry) = self.entries.get_mut(&key)
            && uid(&*entry.object) == uid(&object)
            && entry.revision >= at
        {
            if entry.revision == at {
                entry.ahead = None;
            }
            return Vec::new();
        }
        self.put(key, Arc::new(object), at, None)
    }

    /// The watch said that `object` was deleted.
    pub(super) fn delete(&mut self, object: &K) -> Vec<Change<K>> {
        self.revision = self.revision.max(revision(object));
        self.removed.remove(uid(object));
        let key = Key::of(object.meta());
        match self.entries.get(&key) {
            Some(entry) if uid(&*entry.object) == uid(object) => self.take(&key),
            _ => Vec::new(),
        }
    }

    /// A list begins.
    pub(super) fn list_begin(&mut self) {
        self.lists += 1;
        self.incoming = Some(Vec::new());
    }

    /// One object of the list.
    pub(super) fn list_item(&mut self, object: K) {
        self.incoming.get_or_insert_default().push(Arc::new(object));
    }

    /// The list is complete: what it does not name is gone, except what was written after it began.
    pub(super) fn list_end(&mut self) -> Vec<Change<K>> {
        let items = self.incoming.take().unwrap_or_default();
        let listed: HashSet<Key> = items.iter().map(|o| Key::of(o.meta())).collect();
        let lists = self.lists;
        let gone: Vec<Key> = self
            .entries
            .iter()
            .filter(|(key, entry)| !listed.contains(key) && entry.ahead != Some(lists))
            .map(|(key, _)| key.clone())
            .collect();
        let mut changes: Vec<Change<K>> = gone.iter().flat_map(|key| self.take(key)).collect();
        for object in items {
            let at = revision(&*object);
            self.revision = self.revision.max(at);
            if self.removed.contains(uid(&*object)) {
                continue;
            }
            let key = Key::of(object.meta());
            let known = self
                .entries
                .get(&key)
                .is_some_and(|e| uid(&*e.object) == uid(&*object) && e.revision >= at);
            if !known {
                changes.extend(self.put(key, object, at, None));
            }
        }
        self.removed.clear();
        changes
    }

    /// An answer to one of our requests carried `object`.
    pub(super) fn observe(&mut self, object: Arc<K>) -> Vec<Change<K>> {
        let at = revision(&*object);
        if at == 0 || self.removed.contains(uid(&*object)) {
            return Vec::new();
        }
        let key = Key::of(object.meta());
        match self.entries.get(&key) {
            Some(entry) if entry.revision >= at => Vec::new(),
            // The watch passed this revision and the object is not there: it was deleted since.
            None if at <= self.revision => Vec::new(),
            _ => {
                let ahead = Some(self.lists);
                self.put(key, object, at, ahead)
            }
        }
    }

    /// Our own delete of the object succeeded and nothing is left of it.
    pub(super) fn observe_removed(&mut self, key: &Key, removed: &str) -> Vec<Change<K>> {
        match self.entries.get(key) {
            Some(entry) if uid(&*entry.object) == removed => {
                self.removed.insert(removed.into());
                self.take(key)
            }
            _ => Vec::new(),
        }
    }

    fn put(&mut self, key: Key, object: Arc<K>, revision: u64, ahead: Option<u64>) -> Vec<Change<K>> {
        let mut changes = Vec::with_capacity(1);
        let mut old = None;
        if let Some(before) = self.entries.remove(&key) {
            self.unindex(&key, &before.object);
            if uid(&*before.object) == uid(&*object) {
                old = Some(before.object);
            } else {
                changes.push(Change {
                    old: Some(before.object),
                    new: None,
                });
            }
        }
        self.index(&key, &object);
        self.entries.insert(
            key,
            Entry {
                object: object.clone(),
                revision,
                ahead,
            },
        );
        changes.push(Change { old, new: Some(object) });
        changes
    }

    fn take(&mut self, key: &Key) -> Vec<Change<K>> {
        let Some(entry) = self.entries.remove(key) else {
            return Vec::new();
        };
        self.unindex(key, &entry.object);
        vec![Change {
            old: Some(entry.object),
            new: None,
        }]
    }

    fn index(&mut self, key: &Key, object: &K) {
        let indices = &mut self.indices;
        object.index(&mut |id: IndexId, value: &str| {
            if indices.len() <= id.0 {
                indices.resize_with(id.0 + 1, HashMap::new);
            }
            let index = &mut indices[id.0];
            match index.get_mut(value) {
                Some(keys) => drop(keys.insert(key.clone())),
                None => drop(index.insert(value.into(), BTreeSet::from([key.clone()]))),
            }
        });
    }

    fn unindex(&mut self, key: &Key, object: &K) {
        let indices = &mut self.indices;
        object.index(&mut |id: IndexId, value: &str| {
            let Some(index) = indices.get_mut(id.0) else { return };
            if let Some(keys) = index.get_mut(value) {
                keys.remove(key);
                if keys.is_empty() {
                    index.remove(value);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Pod;

    fn pod(name: &str, uid: &str, revision: u64) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.namespace = Some("ns".into());
        pod.metadata.name = Some(name.into());
        pod.metadata.uid = Some(uid.into());
        pod.metadata.resource_version = Some(revision.to_string());
        pod
    }

    fn listed(pods: Vec<Pod>) -> State<Pod> {
        let mut state = State::new();
        state.list_begin();
        pods.into_iter().for_each(|p| state.list_item(p));
        state.list_end();
        state
    }

    fn names(state: &State<Pod>) -> Vec<String> {
        let mut names: Vec<String> = state.all().iter().map(|p| p.metadata.name.clone().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_answer_is_seen_before_its_event_and_only_once() {
        let mut state = listed(vec![pod("a", "1", 5)]);
        assert_eq!(state.observe(Arc::new(pod("b", "2", 7))).len(), 1);
        assert_eq!(names(&state), ["a", "b"]);
        assert!(state.apply(pod("b", "2", 7)).is_empty());
        assert_eq!(state.apply(pod("b", "2", 8)).len(), 1);
    }

    #[test]
    fn an_old_answer_does_not_bring_a_deleted_object_back() {
        let mut state = listed(vec![]);
        state.apply(pod("a", "1", 6));
        state.delete(&pod("a", "1", 7));
        assert!(state.observe(Arc::new(pod("a", "1", 6))).is_empty());
        assert!(names(&state).is_empty());
    }

    #[test]
    fn an_old_answer_does_not_replace_a_newer_object() {
        let mut state = listed(vec![pod("a", "1", 9)]);
        assert!(state.observe(Arc::new(pod("a", "1", 8))).is_empty());
        assert_eq!(revision(&*state.get(&Key::new("ns", "a")).unwrap()), 9);
    }

    #[test]
    fn our_own_delete_holds_against_late_events() {
        let mut state = listed(vec![pod("a", "1", 5)]);
        assert_eq!(state.observe_removed(&Key::new("ns", "a"), "1").len(), 1);
        assert!(state.apply(pod("a", "1", 6)).is_empty());
        assert!(state.delete(&pod("a", "1", 7)).is_empty());
        assert!(state.removed.is_empty());
        assert_eq!(state.apply(pod("a", "2", 8)).len(), 1);
    }

    #[test]
    fn a_list_removes_what_it_does_not_name_but_keeps_newer_writes() {
        let mut state = listed(vec![pod("a", "1", 5)]);
        state.observe(Arc::new(pod("old", "2", 6)));
        state.list_begin();
        state.observe(Arc::new(pod("new", "3", 8)));
        state.list_item(pod("c", "4", 7));
        let changes = state.list_end();
        assert_eq!(names(&state), ["c", "new"]);
        assert_eq!(changes.iter().filter(|c| c.new.is_none()).count(), 2);
    }

    #[test]
    fn a_new_object_of_the_same_name_is_a_removal_and_an_addition() {
        let mut state = listed(vec![pod("a", "1", 5)]);
        let changes = state.apply(pod("a", "2", 9));
        assert_eq!(changes.len(), 2);
        assert!(changes[0].new.is_none() && changes[1].old.is_none());
    }

    #[test]
    fn indices_follow_the_objects() {
        let mut state = listed(vec![pod("a", "1", 5)]);
        let mut bound = pod("a", "1", 6);
        bound.spec.node_name = Some("n1".into());
        state.apply(bound);
        assert_eq!(state.by(Pod::BY_NODE, "n1").len(), 1);
        let mut moved = pod("a", "1", 7);
        moved.spec.node_name = Some("n2".into());
        state.apply(moved);
        assert!(state.by(Pod::BY_NODE, "n1").is_empty());
        assert_eq!(state.by(Pod::BY_NODE, "n2").len(), 1);
    }
}
