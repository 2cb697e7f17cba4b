//! Merging an applied configuration into an object, and taking fields out of one.

use serde_json::{Map, Value};

use super::element;
use super::node::{List, Node};
use super::set::{SELF, Set, is_member};

/// Merges a configuration into a value: objects and lists with parts are merged, everything else is replaced.
pub(super) fn merge(node: Node<'_>, live: &mut Value, config: &Value) {
    match (&mut *live, config) {
        (Value::Object(live), Value::Object(config)) if !matches!(node, Node::Leaf | Node::List(_)) => {
            for (name, value) in config {
                match live.get_mut(name) {
                    Some(known) => merge(node.child(name).node, known, value),
                    None => {
                        live.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Array(items), Value::Array(config)) if matches!(node, Node::List(_)) => {
            if let Node::List(list) = node {
                let merged = lists(node, list, std::mem::take(items), config);
                *items = merged;
            }
        }
        _ => *live = config.clone(),
    }
}

/// Merges a list by its elements. The order is the configuration's, with the items that only the object has kept where
/// they stand relative to those both have.
fn lists(node: Node<'_>, list: List<'_>, live: Vec<Value>, config: &[Value]) -> Vec<Value> {
    let in_config = |item: &Value| config.iter().any(|applied| element::same(list, applied, item));
    let mut own: Vec<Option<Value>> = live.into_iter().map(Some).collect();
    // Of the items that both have, the configuration decides the order: an item of the object that comes earlier there
    // is passed over and merged when its turn comes.
    let mut merged = Vec::with_capacity(own.len() + config.len());
    let (mut at_live, mut at_config) = (0, 0);
    while at_live < own.len() || at_config < config.len() {
        if let Some(slot) = own.get_mut(at_live) {
            match slot {
                // Merged in its turn.
                None => {
                    at_live += 1;
                    continue;
                }
                Some(item) if !in_config(item) => {
                    merged.extend(slot.take());
                    at_live += 1;
                    continue;
                }
                Some(_) => {}
            }
            // A shared item that is not next among the shared ones of the configuration is left for its turn.
            let next_shared = config[at_config..]
                .iter()
                .find(|applied| own.iter().flatten().any(|known| element::same(list, known, applied)));
            let is_next = match (&own[at_live], next_shared) {
                (Some(item), Some(next)) => element::same(list, next, item),
                _ => false,
            };
            if !is_next {
                at_live += 1;
                continue;
            }
        }
        let Some(applied) = config.get(at_config) else { break };
        at_config += 1;
        let partner = own
            .iter_mut()
            .find(|known| known.as_ref().is_some_and(|known| element::same(list, known, applied)));
        match partner.and_then(Option::take) {
            Some(mut known) => {
                if !list.is_set() {
                    merge(node.item(), &mut known, applied);
                }
                merged.push(known);
            }
            None => merged.push(applied.clone()),
        }
    }
    merged
}

/// Takes the members of a set out of a value, with everything below them. What becomes empty by it becomes null: to the
/// books it is still there, [`drop_nulls`] ends it.
pub(super) fn remove(node: Node<'_>, value: &mut Value, unwanted: &Set) {
    let has_parts = node.has_parts(value);
    match value {
        Value::Object(map) if has_parts => {
            for (name, part) in unwanted {
                let (Some(name), Value::Object(part)) = (name.strip_prefix("f:"), part) else {
                    continue;
                };
                if is_member(part) {
                    map.remove(name);
                } else if let Some(value) = map.get_mut(name) {
                    let was_empty = is_empty(value);
                    remove(node.child(name).node, value, part);
                    if !was_empty && is_empty(value) {
                        *value = Value::Null;
                    }
                }
            }
        }
        Value::Array(items) => {
            if let Node::List(list) = node {
                items.retain_mut(|item| match unwanted.get(&element::item_lenient(list, item)) {
                    Some(Value::Object(part)) if is_member(part) => false,
                    Some(Value::Object(part)) => {
                        remove(node.item(), item, part);
                        true
                    }
                    _ => true,
                });
            }
        }
        _ => {}
    }
}

/// Takes out the nulls that [`remove`] left.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => map.retain(|_, value| {
            drop_nulls(value);
            !value.is_null()
        }),
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Makes every field of a structure that has members below it a member itself, so that taking members out takes their
/// emptied parents too. Entries of maps are left as they are: a map's entry is owned by who made it.
pub(super) fn with_named_fields(node: Node<'_>, set: &Set) -> Set {
    let mut all = Map::new();
    for (name, part) in set {
        let Value::Object(part) = part else { continue };
        if part.is_empty() || name == SELF {
            all.insert(name.clone(), Value::Object(Map::new()));
            continue;
        }
        let (node, named) = match name.strip_prefix("f:") {
            Some(name) => {
                let child = node.child(name);
                (child.node, child.named)
            }
            None => (node.item(), false),
        };
        let mut below = with_named_fields(node, part);
        if named {
            below.insert(SELF.to_owned(), Value::Object(Map::new()));
        }
        all.insert(name.clone(), Value::Object(below));
    }
    all
}
