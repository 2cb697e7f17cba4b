//! Keeping the books of creates, updates and patches.

use serde_json::{Map, Value};

use super::UpdateOptions;
use super::compare::compare;
use super::managers::{Identity, Managers, UPDATE, put, reset, take};
use super::node::Node;
use crate::TypeRef;

/// Books every field that `new` changes against `old` (nothing, when it is a create) under the manager, in
/// `new.metadata.managedFields`.
///
/// The entries come from `new` when it carries valid ones, else from `old`; through a subresource always from `old`.
/// One empty entry in `new` (`managedFields: [{}]`) forgets all of them, and an existing object without entries stays
/// without. Call it last, after defaulting and admission: what they filled in belongs to who asked.
pub fn update(ty: Option<TypeRef>, old: Option<&Value>, new: &mut Value, options: &UpdateOptions<'_>) {
    let given = Managers::of(take(new));
    let live = || Managers::of(old.and_then(|old| old.pointer("/metadata/managedFields")).cloned());
    let mut managers = if !options.subresource.is_empty() {
        live()
    } else if given.is_reset() {
        Managers::default()
    } else if given.is_empty() || !given.is_valid() {
        live()
    } else {
        given
    };
    if managers.is_empty() && old.is_some() {
        return;
    }
    let nothing = Value::Object(Map::new());
    let mut difference = compare(Node::root(ty), old.unwrap_or(&nothing), new);
    reset(&mut difference.changed, options.reset_fields);
    reset(&mut difference.removed, options.reset_fields);
    if !difference.is_empty() {
        let identity = Identity {
            manager: options.manager,
            operation: UPDATE,
            api_version: options.api_version,
            subresource: options.subresource,
        };
        managers.take_from_others(&identity, &difference.changed);
        managers.take_from_others(&identity, &difference.removed);
        if difference.changed.is_empty() {
            managers.lose(&identity, &difference.removed);
        } else {
            managers.change(&identity, difference.changed, &difference.removed, options.now);
        }
    }
    put(new, managers);
}
