//! Lists that a strategic merge patch merges item by item.

use serde_json::{Map, Value};

use super::{Meta, PATCH, PatchError, clean, malformed, merge_map};

/// Merges a list: objects by their key, scalars as a set.
pub(super) fn merge(original: Vec<Value>, patch: Vec<Value>, meta: Meta) -> Result<Vec<Value>, PatchError> {
    let objects = original.iter().chain(&patch).any(Value::is_object);
    let before = original.clone();
    let (merged, key) = if objects {
        if meta.merge_key.is_empty() {
            return Err(malformed("cannot merge lists without merge key"));
        }
        let (mut merged, patch) = special_items(original, patch, meta.merge_key)?;
        for item in patch.iter().cloned() {
            let Value::Object(item) = item else {
                return Err(malformed("a list holds both objects and scalars"));
            };
            let key = key_of(&item, meta.merge_key)?.clone();
            let known = merged.iter_mut().find_map(|known| match known {
                Value::Object(map) if map.get(meta.merge_key) == Some(&key) => Some(map),
                _ => None,
            });
            match known {
                Some(known) => merge_map(known, item, meta.schema)?,
                None => {
                    let mut item = Value::Object(item);
                    clean(&mut item);
                    merged.push(item);
                }
            }
        }
        return Ok(order(merged, &patch, &before, meta.merge_key));
    } else {
        let mut merged: Vec<Value> = Vec::with_capacity(original.len() + patch.len());
        for item in original.into_iter().chain(patch.iter().cloned()) {
            if !merged.contains(&item) {
                merged.push(item);
            }
        }
        (merged, "")
    };
    Ok(order(merged, &patch, &before, key))
}

fn key_of<'v>(item: &'v Map<String, Value>, merge_key: &str) -> Result<&'v Value, PatchError> {
    item.get(merge_key).ok_or_else(|| {
        malformed(format!(
            "map: {} does not contain declared merge key: {merge_key}",
            Value::Object(item.clone())
        ))
    })
}

/// Obeys the `$patch` directives among the items; returns what is left of the list and of the patch.
fn special_items(
    original: Vec<Value>,
    patch: Vec<Value>,
    merge_key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let (mut original, mut rest, mut replace) = (original, Vec::with_capacity(patch.len()), false);
    for item in patch {
        let directive = match &item {
            Value::Object(map) => map.get(PATCH).and_then(Value::as_str),
            _ => None,
        };
        match directive {
            None => rest.push(item),
            Some("delete") => {
                let Some(key) = item.get(merge_key) else {
                    return Err(malformed(format!(
                        "delete patch type with no merge key {merge_key} defined"
                    )));
                };
                original.retain(|known| known.get(merge_key) != Some(key));
            }
            Some("replace") => replace = true,
            Some("merge") => return Err(malformed("merging lists cannot yet be specified in the patch")),
            Some(other) => return Err(malformed(format!("unknown patch type: {other} in map"))),
        }
    }
    if replace {
        Ok((without_directives(rest), Vec::new()))
    } else {
        Ok((original, rest))
    }
}

/// The items of a new list: nothing is left of directives.
pub(super) fn without_directives(items: Vec<Value>) -> Vec<Value> {
    let mut items: Vec<Value> = items
        .into_iter()
        .filter(|item| {
            item.get(PATCH)
                .is_none_or(|directive| directive != "delete" && directive != "replace")
        })
        .collect();
    items.iter_mut().for_each(clean);
    items
}

/// An order must name what the patch brings, in the same order.
pub(super) fn check_order(order: &[Value], patch: Option<&[Value]>, merge_key: &str) -> Result<(), PatchError> {
    let Some(patch) = patch else { return Ok(()) };
    let mut remaining = order.iter();
    for item in patch.iter().filter(|item| item.get(PATCH).is_none()) {
        if !remaining.any(|ordered| same(ordered, item, merge_key)) {
            let (patch, order) = (Value::from(patch), Value::from(order));
            return Err(malformed(format!(
                "The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n"
            )));
        }
    }
    Ok(())
}

fn same(a: &Value, b: &Value, merge_key: &str) -> bool {
    if merge_key.is_empty() {
        a == b
    } else {
        a.get(merge_key).is_some() && a.get(merge_key) == b.get(merge_key)
    }
}

fn position(items: &[Value], item: &Value, merge_key: &str) -> Option<usize> {
    items.iter().position(|known| same(known, item, merge_key))
}

/// Puts the items that `wanted` names into its order, and the others where they were relative to them in `before`.
pub(super) fn order(merged: Vec<Value>, wanted: &[Value], before: &[Value], merge_key: &str) -> Vec<Value> {
    let (mut named, mut others): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|item| position(wanted, item, merge_key).is_some());
    named.sort_by_key(|item| position(wanted, item, merge_key));
    others.sort_by_key(|item| position(before, item, merge_key).unwrap_or(usize::MAX));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut ordered = Vec::with_capacity(named.len() + others.len());
    loop {
        let take_other = match (others.peek(), named.peek()) {
            (None, None) => return ordered,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(name)) => {
                match (position(before, other, merge_key), position(before, name, merge_key)) {
                    (Some(other), Some(name)) => other < name,
                    _ => false,
                }
            }
        };
        ordered.extend(if take_other { others.next() } else { named.next() });
    }
}
