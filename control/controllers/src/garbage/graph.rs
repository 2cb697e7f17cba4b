//! Who owns whom: every object's owners, finalizers and dependents, fed by watches of metadata.
//!
//! A pure state machine; what must be looked at is returned as work.

use crate::informer::Key;
use barepod_client::types::{ObjectMeta, OwnerReference};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Holds an owner until its blocking dependents are gone.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Holds an owner until its dependents no longer refer to it.
pub(super) const ORPHAN: &str = "orphan";

/// Owners known to be gone that are remembered.
const REMEMBERED: usize = 8192;

/// A uid, shared.
pub(super) type Uid = Arc<str>;

/// One object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    /// Index in the table of kinds.
    pub(super) kind: usize,
    pub(super) key: Key,
    pub(super) revision: Box<str>,
    pub(super) owners: Vec<OwnerReference>,
    pub(super) finalizers: Vec<String>,
    pub(super) deleting: bool,
}

impl Item {
    pub(super) fn of(kind: usize, meta: &ObjectMeta) -> Self {
        Self {
            kind,
            key: Key::of(meta),
            revision: meta.resource_version.as_deref().unwrap_or_default().into(),
            owners: meta.owner_references.clone().unwrap_or_default(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
        }
    }

    pub(super) fn holds(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|f| f == finalizer)
    }

    /// It waits for its dependents to go.
    pub(super) fn in_foreground(&self) -> bool {
        self.deleting && self.holds(FOREGROUND)
    }

    fn must_orphan(&self) -> bool {
        self.deleting && self.holds(ORPHAN)
    }

    pub(super) fn owned_by<'a>(&'a self, uid: &str) -> Option<&'a OwnerReference> {
        self.owners.iter().find(|o| o.uid == uid)
    }
}

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Work {
    /// Whether the object must go, or may.
    Examine(Uid),
    /// Take the references of its dependents off, then release it.
    Orphan(Uid),
}

#[derive(Default)]
pub(super) struct Graph {
    items: HashMap<Uid, Item>,
    dependents: HashMap<Uid, BTreeSet<Uid>>,
    absent: HashSet<Uid>,
    absent_order: VecDeque<Uid>,
}

impl Graph {
    pub(super) fn item(&self, uid: &str) -> Option<&Item> {
        self.items.get(uid)
    }

    /// The objects that name `uid` as an owner.
    pub(super) fn dependents(&self, uid: &str) -> impl Iterator<Item = (&Uid, &Item)> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| Some((uid, self.items.get(uid)?)))
    }

    /// Whether an object of this uid is known not to exist; a uid never comes back.
    pub(super) fn is_absent(&self, uid: &str) -> bool {
        self.absent.contains(uid)
    }

    pub(super) fn set_absent(&mut self, uid: &str) {
        if self.absent.insert(uid.into()) {
            self.absent_order.push_back(uid.into());
        }
        if self.absent_order.len() > REMEMBERED
            && let Some(oldest) = self.absent_order.pop_front()
        {
            self.absent.remove(&oldest);
        }
    }

    /// An object was added or changed.
    pub(super) fn set(&mut self, uid: &str, item: Item) -> Vec<Work> {
        let uid: Uid = uid.into();
        let old = self.items.get(&uid);
        let mut work = BTreeSet::new();
        let is_new = old.is_none();
        let was_in_foreground = old.is_some_and(Item::in_foreground);
        let had_to_orphan = old.is_some_and(Item::must_orphan);
        let old_owners = old.map(|o| o.owners.clone()).unwrap_or_default();
        let owners_changed = old_owners != item.owners;

        if item.must_orphan() && !had_to_orphan {
            work.insert(Work::Orphan(uid.clone()));
        }
        if item.in_foreground() && !was_in_foreground {
            work.insert(Work::Examine(uid.clone()));
            work.extend(
                self.dependents(&uid)
                    .map(|(dependent, _)| Work::Examine(dependent.clone())),
            );
        }
        if owners_changed || is_new {
            for owner in &old_owners {
                self.unlink(&owner.uid, &uid);
                // It no longer blocks an owner that waits.
                work.extend(self.waiting(&owner.uid));
            }
            for owner in &item.owners {
                self.dependents
                    .entry(owner.uid.as_str().into())
                    .or_default()
                    .insert(uid.clone());
            }
            // An owner that is not there (yet), or that waits for its dependents.
            let stable =
                |owner: &OwnerReference| self.items.get(owner.uid.as_str()).is_some_and(|o| !o.in_foreground());
            if !item.owners.iter().all(stable) {
                work.insert(Work::Examine(uid.clone()));
            }
        }
        self.items.insert(uid, item);
        work.into_iter().collect()
    }

    /// An object is gone.
    pub(super) fn remove(&mut self, uid: &str) -> Vec<Work> {
        let Some((uid, item)) = self.items.remove_entry(uid) else {
            return Vec::new();
        };
        self.set_absent(&uid);
        let mut work: BTreeSet<Work> = BTreeSet::new();
        for owner in &item.owners {
            self.unlink(&owner.uid, &uid);
            work.extend(self.waiting(&owner.uid));
        }
        work.extend(
            self.dependents(&uid)
                .map(|(dependent, _)| Work::Examine(dependent.clone())),
        );
        work.into_iter().collect()
    }

    /// The owner, if it waits for its dependents to go.
    fn waiting(&self, owner: &str) -> Option<Work> {
        let (uid, item) = self.items.get_key_value(owner)?;
        item.in_foreground().then(|| Work::Examine(uid.clone()))
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::garbage) fn owner(uid: &str, blocks: bool) -> OwnerReference {
        OwnerReference {
            api_version: "apps/v1".into(),
            kind: "ReplicaSet".into(),
            name: uid.into(),
            uid: uid.into(),
            block_owner_deletion: Some(blocks),
            controller: Some(true),
        }
    }

    pub(in crate::garbage) fn item(name: &str, owners: &[OwnerReference]) -> Item {
        Item {
            kind: 0,
            key: Key::new("ns", name),
            revision: "1".into(),
            owners: owners.to_vec(),
            finalizers: Vec::new(),
            deleting: false,
        }
    }

    pub(in crate::garbage) fn deleting(mut item: Item, finalizer: &str) -> Item {
        item.deleting = true;
        item.finalizers = vec![finalizer.to_owned()];
        item
    }

    fn examine(uids: &[&str]) -> Vec<Work> {
        uids.iter().map(|uid| Work::Examine((*uid).into())).collect()
    }

    #[test]
    fn dependents_are_examined_when_their_owner_goes() {
        let mut graph = Graph::default();
        assert!(graph.set("rs", item("rs", &[])).is_empty());
        assert!(graph.set("p1", item("p1", &[owner("rs", true)])).is_empty());
        assert_eq!(
            graph.set("p2", item("p2", &[owner("gone", true)])),
            examine(&["p2"]),
            "its owner is not known"
        );
        assert_eq!(graph.remove("rs"), examine(&["p1"]));
        assert!(graph.is_absent("rs"));
        assert!(graph.remove("p1").is_empty());
    }

    #[test]
    fn foreground_deletion_goes_down_and_comes_back() {
        let mut graph = Graph::default();
        graph.set("rs", item("rs", &[]));
        graph.set("p1", item("p1", &[owner("rs", true)]));
        let work = graph.set("rs", deleting(item("rs", &[]), FOREGROUND));
        assert_eq!(work, examine(&["p1", "rs"]));
        assert!(
            graph.set("rs", deleting(item("rs", &[]), FOREGROUND)).is_empty(),
            "once"
        );
        assert_eq!(graph.remove("p1"), examine(&["rs"]));
    }

    #[test]
    fn orphaning_is_asked_for_once() {
        let mut graph = Graph::default();
        graph.set("rs", item("rs", &[]));
        assert_eq!(
            graph.set("rs", deleting(item("rs", &[]), ORPHAN)),
            [Work::Orphan("rs".into())]
        );
        assert!(graph.set("rs", deleting(item("rs", &[]), ORPHAN)).is_empty());
    }

    #[test]
    fn changed_references_move_the_edges() {
        let mut graph = Graph::default();
        graph.set("a", item("a", &[]));
        graph.set("p", item("p", &[owner("a", true)]));
        graph.set("p", item("p", &[]));
        assert_eq!(graph.dependents("a").count(), 0);
        assert!(graph.remove("a").is_empty());
    }
}
