//! The pods that wait for a node: by priority and then by age, or parked until something relevant changes.

use super::fit::Hints;
use super::request::Request;
use crate::informer::Key;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

/// A pod to place.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) key: Key,
    pub(super) uid: Box<str>,
    pub(super) priority: i32,
    pub(super) request: Arc<Request>,
}

enum Place {
    /// In the heap under this number; an entry with another number is stale.
    Ready(u64),
    /// Nothing fits until something changes.
    Parked(Hints),
    /// Taken out to be placed or bound.
    Taken,
}

struct Entry {
    candidate: Candidate,
    place: Place,
}

/// All unbound pods of this scheduler.
#[derive(Default)]
pub(super) struct Waiting {
    pods: HashMap<Box<str>, Entry>,
    heap: BinaryHeap<(i32, Reverse<u64>, Box<str>)>,
    sequence: u64,
}

impl Waiting {
    /// Adds or updates a pod; says whether there is something new to try.
    pub(super) fn set(&mut self, candidate: Candidate) -> bool {
        if let Some(entry) = self.pods.get_mut(&candidate.uid) {
            let same = entry.candidate.request == candidate.request && entry.candidate.priority == candidate.priority;
            entry.candidate = candidate.clone();
            if same || matches!(entry.place, Place::Taken) {
                return false;
            }
        }
        self.push(candidate);
        true
    }

    fn push(&mut self, candidate: Candidate) {
        self.sequence += 1;
        self.heap
            .push((candidate.priority, Reverse(self.sequence), candidate.uid.clone()));
        let place = Place::Ready(self.sequence);
        self.pods.insert(candidate.uid.clone(), Entry { candidate, place });
    }

    /// Drops a pod that was bound or deleted.
    pub(super) fn remove(&mut self, uid: &str) {
        self.pods.remove(uid);
    }

    /// The most important pod; it stays known until it is parked, retried or removed.
    pub(super) fn take(&mut self) -> Option<Candidate> {
        while let Some((_, Reverse(number), uid)) = self.heap.pop() {
            if let Some(entry) = self.pods.get_mut(&uid)
                && matches!(entry.place, Place::Ready(n) if n == number)
            {
                entry.place = Place::Taken;
                return Some(entry.candidate.clone());
            }
        }
        None
    }

    /// Sets a pod aside for which nothing fits.
    pub(super) fn park(&mut self, uid: &str, hints: Hints) {
        if let Some(entry) = self.pods.get_mut(uid) {
            entry.place = Place::Parked(hints);
        }
    }

    /// Puts a taken pod back.
    pub(super) fn retry(&mut self, uid: &str) {
        if let Some(entry) = self.pods.remove(uid) {
            self.push(entry.candidate);
        }
    }

    /// Wakes parked pods: all, or only those that wait for room. Says whether there were any.
    pub(super) fn wake(&mut self, only_for_room: bool) -> bool {
        let woken: Vec<Candidate> = self
            .pods
            .values()
            .filter(|entry| matches!(&entry.place, Place::Parked(hints) if hints.room || !only_for_room))
            .map(|entry| entry.candidate.clone())
            .collect();
        let any = !woken.is_empty();
        woken.into_iter().for_each(|candidate| self.push(candidate));
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, priority: i32) -> Candidate {
        Candidate {
            key: Key::new("ns", name),
            uid: name.into(),
            priority,
            request: Arc::default(),
        }
    }

    fn order(waiting: &mut Waiting) -> Vec<String> {
        std::iter::from_fn(|| waiting.take().map(|c| c.uid.to_string())).collect()
    }

    #[test]
    fn priority_then_age() {
        let mut waiting = Waiting::default();
        for (name, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)] {
            assert!(waiting.set(candidate(name, priority)));
        }
        waiting.remove("c");
        assert_eq!(order(&mut waiting), ["b", "d", "a"]);
    }

    #[test]
    fn parked_pods_wake_for_what_they_wait_for() {
        let mut waiting = Waiting::default();
        for name in ["room", "label"] {
            waiting.set(candidate(name, 0));
            waiting.take();
        }
        waiting.park("room", Hints { room: true });
        waiting.park("label", Hints::default());
        assert!(waiting.wake(true));
        assert_eq!(order(&mut waiting), ["room"]);
        assert!(waiting.wake(false));
        assert_eq!(order(&mut waiting), ["label"]);
    }

    #[test]
    fn an_update_that_changes_nothing_does_not_wake() {
        let mut waiting = Waiting::default();
        waiting.set(candidate("a", 0));
        waiting.take();
        waiting.park("a", Hints::default());
        assert!(!waiting.set(candidate("a", 0)));
        assert!(waiting.set(candidate("a", 1)));
        assert_eq!(order(&mut waiting), ["a"]);
    }

    #[test]
    fn a_taken_pod_can_come_back() {
        let mut waiting = Waiting::default();
        waiting.set(candidate("a", 0));
        assert!(waiting.take().is_some());
        assert!(waiting.take().is_none());
        waiting.retry("a");
        assert_eq!(order(&mut waiting), ["a"]);
    }
}
