//! What is to become of one object, as far as its owners and dependents decide.

use super::graph::{FOREGROUND, Graph, Item, ORPHAN, Uid};
use barepod_client::Propagation;
use barepod_client::types::OwnerReference;
use std::collections::HashSet;

/// The decision.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    Nothing,
    /// These owners are not in the graph: ask the server whether they exist, then decide again.
    LookUp(Vec<OwnerReference>),
    /// Delete it.
    Delete(Propagation),
    /// Some owner remains: keep it, without its references to these.
    DropReferences(Vec<String>),
    /// No dependent blocks it any more: take the foreground finalizer off.
    Release,
    /// It waits for these.
    Wait(Vec<Uid>),
    /// It waits for itself, around a circle: let it block its owners no longer.
    Unblock,
}

/// Whether a kind has a namespace, by its index.
pub(super) type Scope<'a> = &'a dyn Fn(usize) -> bool;

pub(super) fn decide(graph: &Graph, uid: &str, namespaced: Scope<'_>) -> Verdict {
    let Some(item) = graph.item(uid) else {
        return Verdict::Nothing;
    };
    if item.in_foreground() {
        return foreground(graph, uid);
    }
    if item.deleting || item.owners.is_empty() {
        return Verdict::Nothing;
    }
    let mut unknown = Vec::new();
    let mut solid = 0;
    let mut dangling = Vec::new();
    let mut waiting = Vec::new();
    for owner in &item.owners {
        match graph.item(&owner.uid) {
            Some(found) if !may_own(found, item, namespaced) => dangling.push(owner.uid.clone()),
            Some(found) if found.in_foreground() => waiting.push(owner.uid.clone()),
            Some(_) => solid += 1,
            None if graph.is_absent(&owner.uid) => dangling.push(owner.uid.clone()),
            None => unknown.push(owner.clone()),
        }
    }
    if !unknown.is_empty() {
        return Verdict::LookUp(unknown);
    }
    if solid > 0 {
        dangling.extend(waiting);
        return if dangling.is_empty() {
            Verdict::Nothing
        } else {
            Verdict::DropReferences(dangling)
        };
    }
    if !waiting.is_empty() && graph.dependents(uid).next().is_some() {
        return Verdict::Delete(Propagation::Foreground);
    }
    // What the finalizers already ask for stays.
    Verdict::Delete(match () {
        () if item.holds(ORPHAN) => Propagation::Orphan,
        () if item.holds(FOREGROUND) => Propagation::Foreground,
        () => Propagation::Background,
    })
}

fn foreground(graph: &Graph, uid: &str) -> Verdict {
    let blocking: Vec<(&Uid, &Item)> = blocking(graph, uid).collect();
    if blocking.is_empty() {
        return Verdict::Release;
    }
    if waits_for_itself(graph, uid) {
        return Verdict::Unblock;
    }
    let left = blocking
        .into_iter()
        .filter(|(_, item)| !item.deleting)
        .map(|(uid, _)| uid.clone())
        .collect();
    Verdict::Wait(left)
}

/// The dependents that an object in foreground deletion waits for.
fn blocking<'a>(graph: &'a Graph, uid: &'a str) -> impl Iterator<Item = (&'a Uid, &'a Item)> {
    let blocks = move |item: &Item| item.owned_by(uid).is_some_and(|o| o.block_owner_deletion == Some(true));
    graph.dependents(uid).filter(move |(_, item)| blocks(item))
}

/// Whether the dependents of an object wait for theirs, and so on until the object itself.
fn waits_for_itself(graph: &Graph, uid: &str) -> bool {
    let (mut seen, mut next) = (HashSet::new(), vec![uid]);
    while let Some(at) = next.pop() {
        for (dependent, _) in blocking(graph, at).filter(|(_, item)| item.in_foreground()) {
            if &**dependent == uid {
                return true;
            }
            if seen.insert(dependent) {
                next.push(dependent);
            }
        }
    }
    false
}

/// An object may be owned from its own namespace or by an object without one. A reference to another namespace counts
/// as one to nothing; an object without a namespace cannot be judged by an owner that has one, and is kept.
fn may_own(owner: &Item, item: &Item, namespaced: Scope<'_>) -> bool {
    !namespaced(owner.kind) || !namespaced(item.kind) || owner.key.namespace() == item.key.namespace()
}

#[cfg(test)]
mod tests {
    use super::super::graph::tests::{deleting, item, owner};
    use super::*;
    use crate::informer::Key;

    fn decided(graph: &Graph, uid: &str) -> Verdict {
        decide(graph, uid, &|_| true)
    }

    #[test]
    fn deletes_what_lost_its_last_owner() {
        let mut graph = Graph::default();
        graph.set("p", item("p", &[owner("rs", true)]));
        assert_eq!(decided(&graph, "p"), Verdict::LookUp(vec![owner("rs", true)]));
        graph.set_absent("rs");
        assert_eq!(decided(&graph, "p"), Verdict::Delete(Propagation::Background));
        assert_eq!(decided(&graph, "unknown"), Verdict::Nothing);
    }

    #[test]
    fn keeps_what_has_another_owner() {
        let mut graph = Graph::default();
        graph.set("a", item("a", &[]));
        graph.set_absent("b");
        graph.set("p", item("p", &[owner("a", true), owner("b", false)]));
        assert_eq!(decided(&graph, "p"), Verdict::DropReferences(vec!["b".into()]));
        graph.set("p", item("p", &[owner("a", true)]));
        assert_eq!(decided(&graph, "p"), Verdict::Nothing);
    }

    #[test]
    fn foreground_deletion_waits_for_blocking_dependents_only() {
        let mut graph = Graph::default();
        graph.set("d", deleting(item("d", &[]), FOREGROUND));
        graph.set("rs", item("rs", &[owner("d", true)]));
        graph.set("free", item("free", &[owner("d", false)]));
        graph.set("p", item("p", &[owner("rs", true)]));
        assert_eq!(decided(&graph, "d"), Verdict::Wait(vec!["rs".into()]));
        assert_eq!(
            decided(&graph, "rs"),
            Verdict::Delete(Propagation::Foreground),
            "it has dependents itself"
        );
        assert_eq!(decided(&graph, "free"), Verdict::Delete(Propagation::Background));
        graph.remove("rs");
        assert_eq!(decided(&graph, "d"), Verdict::Release);
    }

    #[test]
    fn a_circle_is_opened_once_all_of_it_waits() {
        let mut graph = Graph::default();
        let held = |name: &str, by: &str, blocks| deleting(item(name, &[owner(by, blocks)]), FOREGROUND);
        graph.set("a", held("a", "c", true));
        graph.set("b", held("b", "a", true));
        graph.set("c", item("c", &[owner("b", true)]));
        assert_eq!(decided(&graph, "b"), Verdict::Wait(vec!["c".into()]));
        assert_eq!(decided(&graph, "c"), Verdict::Delete(Propagation::Foreground));
        graph.set("c", held("c", "b", true));
        for uid in ["a", "b", "c"] {
            assert_eq!(decided(&graph, uid), Verdict::Unblock, "{uid}");
        }
        graph.set("above", deleting(item("above", &[]), FOREGROUND));
        graph.set("a", {
            let mut a = held("a", "c", true);
            a.owners.push(owner("above", true));
            a
        });
        assert_eq!(
            decided(&graph, "above"),
            Verdict::Wait(Vec::new()),
            "it waits for a circle, but is not in it"
        );
        graph.set("c", held("c", "b", false));
        assert_eq!(decided(&graph, "b"), Verdict::Release);
    }

    #[test]
    fn an_owner_in_another_namespace_is_none() {
        let mut graph = Graph::default();
        let mut foreign = item("a", &[]);
        foreign.key = Key::new("other", "a");
        graph.set("a", foreign);
        graph.set("p", item("p", &[owner("a", true)]));
        assert_eq!(decided(&graph, "p"), Verdict::Delete(Propagation::Background));
        assert_eq!(
            decide(&graph, "p", &|_| false),
            Verdict::Nothing,
            "owners without a namespace own everywhere"
        );
    }

    #[test]
    fn what_is_being_deleted_is_left_alone() {
        let mut graph = Graph::default();
        graph.set_absent("rs");
        graph.set("p", deleting(item("p", &[owner("rs", true)]), "example.com/hold"));
        assert_eq!(decided(&graph, "p"), Verdict::Nothing);
    }
}
