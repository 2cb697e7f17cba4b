//! What changed between two objects, as sets of field paths.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::element;
use super::node::{Always, Child, List, Node};
use super::set::{Part, Set};

/// The difference between two objects.
#[derive(Clone, Default)]
pub(super) struct Difference {
    /// Members that are new or have another value.
    pub(super) changed: Set,
    /// Members that are gone.
    pub(super) removed: Set,
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

static EMPTY_OBJECT: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
static EMPTY_LIST: Value = Value::Array(Vec::new());

/// Compares two objects. What kube never books to anybody (identity and bookkeeping in the metadata, `apiVersion`,
/// `kind`) is left out.
pub(super) fn compare(root: Node<'_>, old: &Value, new: &Value) -> Difference {
    let mut difference = Difference::default();
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return difference;
    };
    let mut walk = |name: &str, old: Option<&Value>, new: Option<&Value>| {
        let child = root.child(name);
        let (mut changed, mut removed) = (Part::default(), Part::default());
        if name == "metadata" {
            metadata(child.node, old, new, &mut changed, &mut removed);
        } else {
            walk(child, old, new, &mut changed, &mut removed);
        }
        changed.put(&mut difference.changed, || element::field(name));
        removed.put(&mut difference.removed, || element::field(name));
    };
    for (name, new) in new
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind"))
    {
        walk(name, old.get(name), Some(new));
    }
    for (name, old) in old
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind") && !new.contains_key(*name))
    {
        walk(name, Some(old), None);
    }
    difference
}

/// Whether kube leaves a metadata field out of the books.
pub(super) fn is_unbooked_metadata(name: &str) -> bool {
    matches!(
        name,
        "name"
            | "namespace"
            | "creationTimestamp"
            | "selfLink"
            | "uid"
            | "clusterName"
            | "generation"
            | "managedFields"
            | "resourceVersion"
    )
}

fn metadata(node: Node<'_>, old: Option<&Value>, new: Option<&Value>, changed: &mut Part, removed: &mut Part) {
    let empty = Map::new();
    let (old, new) = (
        old.and_then(Value::as_object).unwrap_or(&empty),
        new.and_then(Value::as_object).unwrap_or(&empty),
    );
    for (name, new) in new.iter().filter(|(name, _)| !is_unbooked_metadata(name)) {
        field(node.child(name), name, old.get(name), Some(new), changed, removed);
    }
    for (name, old) in old
        .iter()
        .filter(|(name, _)| !is_unbooked_metadata(name) && !new.contains_key(*name))
    {
        field(node.child(name), name, Some(old), None, changed, removed);
    }
}

fn field(
    child: Child<'_>,
    name: &str,
    old: Option<&Value>,
    new: Option<&Value>,
    changed: &mut Part,
    removed: &mut Part,
) {
    let (mut part_changed, mut part_removed) = (Part::default(), Part::default());
    walk(child, old, new, &mut part_changed, &mut part_removed);
    part_changed.put(&mut changed.below, || element::field(name));
    part_removed.put(&mut removed.below, || element::field(name));
}

/// Compares a field whose parent is on both sides.
fn walk(child: Child<'_>, old: Option<&Value>, new: Option<&Value>, changed: &mut Part, removed: &mut Part) {
    let absent = child.always.map(|always| match always {
        Always::Object => &*EMPTY_OBJECT,
        Always::List => &EMPTY_LIST,
    });
    values(child.node, old.or(absent), new.or(absent), changed, removed);
}

/// Compares two values; absent ones are on neither side or on one.
fn values(node: Node<'_>, old: Option<&Value>, new: Option<&Value>, changed: &mut Part, removed: &mut Part) {
    match (old, new) {
        (None, None) => {}
        (None, Some(new)) => all(node, new, changed),
        (Some(old), None) => all(node, old, removed),
        (Some(old), Some(new)) => match (old, new) {
            (Value::Object(old), Value::Object(new)) if !matches!(node, Node::Leaf | Node::List(_)) => {
                for (name, new) in new {
                    field(node.child(name), name, old.get(name), Some(new), changed, removed);
                }
                for (name, old) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
                    field(node.child(name), name, Some(old), None, changed, removed);
                }
            }
            (Value::Array(old), Value::Array(new)) if matches!(node, Node::List(_)) => {
                if let Node::List(list) = node {
                    lists(node, list, old, new, changed, removed);
                }
            }
            // Emptied by an apply: what was inside is gone, the thing itself is still given.
            (old, Value::Null) if node.has_parts(old) => {
                all(node, old, removed);
                removed.member = false;
            }
            // From something with parts to something without, or the other way: all of the one goes and all of the
            // other comes.
            _ if node.has_parts(old) != node.has_parts(new) => {
                all(node, old, removed);
                all(node, new, changed);
                removed.member = false;
            }
            _ => changed.member |= old != new,
        },
    }
}

/// Every member of a value that is only on one side.
fn all(node: Node<'_>, value: &Value, part: &mut Part) {
    part.member = true;
    match value {
        Value::Object(map) if node.has_parts(value) => {
            for (name, value) in map {
                let mut below = Part::default();
                all(node.child(name).node, value, &mut below);
                below.put(&mut part.below, || element::field(name));
            }
        }
        Value::Array(items) => {
            if let Node::List(list) = node {
                for item in items {
                    let mut below = Part::default();
                    all(node.item(), item, &mut below);
                    below.put(&mut part.below, || element::item_lenient(list, item));
                }
            }
        }
        _ => {}
    }
}

/// Compares the items of two lists. Items that stand at the same place are paired without their element being written
/// out.
fn lists(node: Node<'_>, list: List<'_>, old: &[Value], new: &[Value], changed: &mut Part, removed: &mut Part) {
    let mut paired = vec![false; old.len()];
    for (at, item) in new.iter().enumerate() {
        let is_match = |known: usize| !paired[known] && element::same(list, &old[known], item);
        let partner = if at < old.len() && is_match(at) {
            Some(at)
        } else {
            (0..old.len()).find(|known| is_match(*known))
        };
        let (mut below_changed, mut below_removed) = (Part::default(), Part::default());
        match partner {
            Some(partner) => {
                paired[partner] = true;
                if !list.is_set() {
                    values(
                        node.item(),
                        Some(&old[partner]),
                        Some(item),
                        &mut below_changed,
                        &mut below_removed,
                    );
                }
            }
            None => all(node.item(), item, &mut below_changed),
        }
        below_changed.put(&mut changed.below, || element::item_lenient(list, item));
        below_removed.put(&mut removed.below, || element::item_lenient(list, item));
    }
    for (item, _) in old.iter().zip(&paired).filter(|(_, paired)| !**paired) {
        let mut below = Part::default();
        if new.iter().any(|kept| element::same(list, kept, item)) {
            // One of several items with the same keys went: the element stays, with another value.
            below.member = true;
            below.put(&mut changed.below, || element::item_lenient(list, item));
        } else {
            all(node.item(), item, &mut below);
            below.put(&mut removed.below, || element::item_lenient(list, item));
        }
    }
}

/// The members of an object, as an applied configuration owns them: leaves, items of lists and entries of maps.
pub(super) fn members(node: Node<'_>, value: &Value) -> Set {
    let mut part = Part::default();
    collect(node, value, &mut part);
    part.below
}

fn collect(node: Node<'_>, value: &Value, part: &mut Part) {
    match value {
        Value::Object(map) if node.has_parts(value) => {
            for (name, value) in map {
                let child = node.child(name);
                let mut below = Part::default();
                collect(child.node, value, &mut below);
                below.member |= !child.named || value.as_object().is_some_and(Map::is_empty);
                below.put(&mut part.below, || element::field(name));
            }
        }
        Value::Array(items) if node.has_parts(value) => {
            if let Node::List(list) = node {
                for item in items {
                    let mut below = Part::leaf();
                    collect(node.item(), item, &mut below);
                    below.put(&mut part.below, || element::item_lenient(list, item));
                }
            }
        }
        _ => part.member = true,
    }
}
