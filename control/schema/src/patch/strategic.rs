//! Strategic merge patch: a merge patch that knows which lists are maps in disguise.
//!
//! Directives inside a patch: `$patch: replace|delete|merge` in an object, `$retainKeys` (the only keys that stay),
//! `$setElementOrder/F` (order of list F) and `$deleteFromPrimitiveList/F` (scalars to take out of list F).

mod lists;

use serde_json::{Map, Value};

use super::PatchError;
use crate::{Container, Item, PatchStrategy, TypeRef};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// What the table knows about the values below some point.
#[derive(Clone, Copy)]
enum Schema {
    Struct(TypeRef),
    MapOf(Container, Item),
    Unknown,
}

/// How the field of an object is patched.
#[derive(Clone, Copy)]
struct Meta {
    /// Of the field's object, or of the items of its list.
    schema: Schema,
    merge: bool,
    replace: bool,
    merge_key: &'static str,
}

impl Schema {
    fn of_item(item: Item) -> Self {
        match item {
            Item::Type(ty) => Self::Struct(ty),
            _ => Self::Unknown,
        }
    }

    fn field(self, name: &str) -> Meta {
        let plain = |schema| Meta {
            schema,
            merge: false,
            replace: false,
            merge_key: "",
        };
        match self {
            Self::Unknown => plain(Self::Unknown),
            Self::MapOf(Container::Map, item) => plain(Self::of_item(item)),
            Self::MapOf(..) => plain(Self::Unknown),
            Self::Struct(ty) => {
                let Some(field) = ty.field(name) else {
                    return plain(Self::Unknown);
                };
                Meta {
                    schema: match field.container {
                        Container::One | Container::List => Self::of_item(field.item),
                        container => Self::MapOf(container, field.item),
                    },
                    merge: matches!(
                        field.patch_strategy,
                        PatchStrategy::Merge | PatchStrategy::MergeRetainKeys
                    ),
                    replace: field.patch_strategy == PatchStrategy::Replace,
                    merge_key: field.merge_key,
                }
            }
        }
    }
}

/// Applies a patch to an object.
pub(super) fn apply(ty: TypeRef, current: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else {
        return Err(malformed("a strategic merge patch must be an object"));
    };
    let mut map = match current {
        Value::Object(map) => map.clone(),
        _ => Map::new(),
    };
    merge_map(&mut map, patch.clone(), Schema::Struct(ty))?;
    Ok(Value::Object(map))
}

fn malformed(message: impl Into<String>) -> PatchError {
    PatchError::Malformed(message.into())
}

fn merge_map(
    original: &mut Map<String, Value>,
    mut patch: Map<String, Value>,
    schema: Schema,
) -> Result<(), PatchError> {
    match patch.remove(PATCH) {
        None => {}
        Some(directive) if directive == "replace" => {
            *original = patch;
            original.values_mut().for_each(clean);
            original.retain(|_, value| !value.is_null());
            return Ok(());
        }
        Some(directive) if directive == "delete" => {
            original.clear();
            return Ok(());
        }
        Some(directive) => {
            return Err(malformed(format!(
                "unknown patch type: {} in map",
                directive.as_str().unwrap_or_default()
            )));
        }
    }
    retain_keys(original, &mut patch)?;
    ordered_lists(original, &mut patch, schema)?;
    for (key, value) in patch {
        if let Some(name) = key.strip_prefix(DELETE_FROM) {
            let Value::Array(unwanted) = value else {
                return Err(malformed(format!("{key} must be a list")));
            };
            if let Some(Value::Array(items)) = original.get_mut(name) {
                items.retain(|item| !unwanted.contains(item));
            }
        } else {
            merge_field(original, key, value, schema)?;
        }
    }
    Ok(())
}

fn merge_field(
    original: &mut Map<String, Value>,
    key: String,
    mut value: Value,
    schema: Schema,
) -> Result<(), PatchError> {
    if value.is_null() {
        original.remove(&key);
        return Ok(());
    }
    let meta = schema.field(&key);
    match (original.get_mut(&key), value) {
        (Some(Value::Object(original)), Value::Object(patch)) if !meta.replace => {
            merge_map(original, patch, meta.schema)?
        }
        (Some(Value::Array(original)), Value::Array(patch)) if meta.merge => {
            let merged = lists::merge(std::mem::take(original), patch, meta)?;
            *original = merged;
        }
        (_, given) => {
            value = given;
            clean(&mut value);
            original.insert(key, value);
        }
    }
    Ok(())
}

/// `$retainKeys` names everything that may stay; the patch itself may set nothing else.
fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), PatchError> {
    let Some(retained) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let Value::Array(retained) = retained else {
        return Err(malformed("$retainKeys must be a list"));
    };
    let is_retained = |key: &str| retained.iter().any(|name| name == key);
    if patch.keys().any(|key| !key.starts_with('$') && !is_retained(key)) {
        return Err(malformed("invalid patch format of retainKeys"));
    }
    original.retain(|key, _| is_retained(key));
    Ok(())
}

/// Merges the lists whose order the patch states, and puts them into that order.
fn ordered_lists(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    schema: Schema,
) -> Result<(), PatchError> {
    let directives: Vec<String> = patch.keys().filter(|key| key.starts_with(ORDER)).cloned().collect();
    for directive in directives {
        let Some(Value::Array(order)) = patch.remove(&directive) else {
            return Err(malformed(format!("{directive} must be a list")));
        };
        let name = &directive[ORDER.len()..];
        let meta = schema.field(name);
        let patched = match patch.remove(name) {
            None => None,
            Some(Value::Array(items)) => Some(items),
            // The list is removed or becomes something else: there is nothing to order.
            Some(other) => {
                patch.insert(name.to_owned(), other);
                continue;
            }
        };
        lists::check_order(&order, patched.as_deref(), meta.merge_key)?;
        // A primitive list may lose items in the same patch; they are not to be ordered.
        let deleted = match patch.remove(&format!("{DELETE_FROM}{name}")) {
            Some(Value::Array(deleted)) => deleted,
            _ => Vec::new(),
        };
        let before = match original.get(name) {
            Some(Value::Array(items)) => Some(
                items
                    .iter()
                    .filter(|item| !deleted.contains(item))
                    .cloned()
                    .collect::<Vec<_>>(),
            ),
            _ => None,
        };
        let merged = match (before.clone(), patched) {
            (None, None) => continue,
            (Some(items), None) => items,
            (None, Some(items)) => lists::without_directives(items),
            (Some(items), Some(patched)) if meta.merge => lists::merge(items, patched, meta)?,
            (Some(_), Some(patched)) => lists::without_directives(patched),
        };
        let ordered = lists::order(merged, &order, &before.unwrap_or_default(), meta.merge_key);
        original.insert(name.to_owned(), Value::Array(ordered));
    }
    Ok(())
}

/// Takes directives and nulls out of a value that is new to the object.
fn clean(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| {
                clean(value);
                !value.is_null()
                    && key != PATCH
                    && key != RETAIN_KEYS
                    && !key.starts_with(ORDER)
                    && !key.starts_with(DELETE_FROM)
            });
        }
        Value::Array(items) => {
            let taken = std::mem::take(items);
            *items = lists::without_directives(taken);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
