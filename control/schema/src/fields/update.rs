//! Keeping the books of creates, updates and patches.

use serde_json::Value;

use super::UpdateOptions;
use super::managers::{Identity, Managers, UPDATE, put, take};
use super::versions::Changes;
use crate::Forms;

/// Books every field that `new` changes against `old` (nothing, when it is a create) under the manager, in
/// `new.metadata.managedFields`.
///
/// The entries come from `new` when it carries valid ones, else from `old`; through a subresource always from `old`.
/// One empty entry in `new` (`managedFields: [{}]`) forgets all of them, and an existing object without entries stays
/// without. Call it last, after defaulting and admission: what they filled in belongs to who asked.
pub fn update<'f>(forms: impl Into<Forms<'f>>, old: Option<&Value>, new: &mut Value, options: &UpdateOptions<'_>) {
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
    let mut changes = Changes::new(forms.into(), options.api_version, options.reset_fields, old, new);
    let difference = changes.own();
    if !difference.is_empty() {
        let identity = Identity {
            manager: options.manager,
            operation: UPDATE,
            api_version: options.api_version,
            subresource: options.subresource,
        };
        managers.take_from_others(&identity, |version| changes.seen_from(version, &difference));
        if difference.changed.is_empty() {
            managers.lose(&identity, &difference.removed);
        } else {
            managers.change(&identity, difference.changed, &difference.removed, options.now);
        }
    }
    put(new, managers);
}
