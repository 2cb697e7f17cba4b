//! Server-side apply.

use serde_json::{Map, Value};

use super::compare::{Difference, compare, members};
use super::last_applied;
use super::managers::{APPLY, Identity, Managers, UPDATE, describe, put, strip, take};
use super::merge::{drop_nulls, merge, remove, with_named_fields};
use super::node::Node;
use super::set::{self, Set};
use super::versions::Changes;
use super::{ApplyError, ApplyOptions, Conflict, element};
use crate::Forms;

/// Who owns the fields of an object that nobody kept books of, once somebody applies to it.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Server-side apply: merges `config` into `live` (nothing, when it is a create), removes what the manager applied
/// before and no longer does, and keeps the books in `metadata.managedFields`. Without a type, structure is deduced
/// from the values and lists are atomic.
///
/// The result equals `live` when nothing changed. `config` should have passed [`crate::check::check`].
pub fn apply<'a>(
    forms: impl Into<Forms<'a>>,
    live: Option<&Value>,
    config: &Value,
    options: &ApplyOptions<'_>,
) -> Result<Value, ApplyError> {
    let forms = forms.into();
    let root = Node::root(forms.shape);
    if config
        .pointer("/metadata/managedFields")
        .is_some_and(|entries| entries.as_array().is_none_or(|entries| !entries.is_empty()))
    {
        return Err(ApplyError::Invalid("metadata.managedFields must be nil".to_owned()));
    }
    validate(root, config, &mut String::new())
        .map_err(|problem| ApplyError::Invalid(describe_typed_patch(config, &problem)))?;

    let mut live_object = live.cloned().unwrap_or_else(|| Value::Object(Map::new()));
    let mut managers = Managers::of(take(&mut live_object));
    let identity = Identity {
        manager: options.manager,
        operation: APPLY,
        api_version: options.api_version,
        subresource: options.subresource,
    };
    if live.is_some() && managers.is_empty() {
        let before = Identity {
            manager: BEFORE_FIRST_APPLY,
            operation: UPDATE,
            api_version: options.api_version,
            subresource: "",
        };
        let nothing = Value::Object(Map::new());
        managers.change(
            &before,
            compare(root, &nothing, &live_object).changed,
            &Set::new(),
            options.now,
        );
    }

    let given = members(root, config);
    let mut applied = given.clone();
    strip(&mut applied, options.reset_fields);
    let mut merged = live_object.clone();
    merge(root, &mut merged, config);
    if let Some(last) = managers.owned(&identity).filter(|last| !last.is_empty()) {
        // Nobody owns names, but a configuration that has one keeps the metadata around it.
        merged = prune(root, merged, &managers, &identity, last, &given);
    }

    let mut changes = Changes::new(
        forms,
        options.api_version,
        options.reset_fields,
        Some(&live_object),
        &merged,
    );
    let difference = changes.own();
    if !options.force {
        let given_up = last_applied::given_up(root, &live_object, options);
        conflicts(&managers, &identity, &difference, &given_up, &mut changes)?;
    }
    managers.take_from_others(&identity, |version| changes.seen_from(version, &difference));
    let changed = !difference.is_empty();
    managers.replace(&identity, applied, options.now, changed || live.is_none());
    let mut result = if changed || live.is_none() { merged } else { live_object };
    drop_nulls(&mut result);
    last_applied::follow(&mut result, config, options);
    put(&mut result, managers);
    Ok(result)
}

/// Removes what the manager applied last time and not this time, unless somebody else owns it.
fn prune(
    root: Node<'_>,
    merged: Value,
    managers: &Managers,
    identity: &Identity<'_>,
    last: &Set,
    applied: &Set,
) -> Value {
    let last = with_named_fields(root, last);
    let mut everybody = applied.clone();
    for (_, owned) in managers.others(identity) {
        set::unite(&mut everybody, owned.clone());
    }
    let everybody = with_named_fields(root, &everybody);
    let all = with_named_fields(root, &members(root, &merged));
    let without = |unwanted: &Set| {
        let mut value = merged.clone();
        remove(root, &mut value, unwanted);
        value
    };
    // Without everything that was applied last time …
    let mut kept = with_named_fields(root, &members(root, &without(&last)));
    // … but with what is owned now …
    set::unite(&mut kept, everybody);
    let mut unwanted = all.clone();
    set::subtract(&mut unwanted, &kept);
    // … and with what was inside something removed, yet never applied by this manager.
    let kept = with_named_fields(root, &members(root, &without(&unwanted)));
    let mut unwanted = all;
    set::subtract(&mut unwanted, &kept);
    without(&set::intersect(&unwanted, &last))
}

fn conflicts(
    managers: &Managers,
    identity: &Identity<'_>,
    own: &Difference,
    given_up: &Set,
    changes: &mut Changes<'_, '_>,
) -> Result<(), ApplyError> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for (entry, owned) in managers.others(identity) {
        let version = entry.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let Some(seen) = changes.seen_from(version, own) else {
            continue;
        };
        let mut paths = Vec::new();
        let mut clash = set::intersect(owned, &seen.changed);
        set::subtract(&mut clash, given_up);
        set::each_path(&clash, "", &mut |path| paths.push(path));
        if !paths.is_empty() {
            found.push((describe(entry), paths));
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    found.sort();
    let causes: Vec<Conflict> = found
        .iter()
        .flat_map(|(manager, paths)| {
            paths.iter().map(move |field| Conflict {
                message: format!("conflict with {manager}"),
                field: field.clone(),
            })
        })
        .collect();
    let message = if let [cause] = &causes[..] {
        format!("Apply failed with 1 conflict: {}: {}", cause.message, cause.field)
    } else {
        let lines: Vec<String> = found
            .iter()
            .flat_map(|(manager, paths)| {
                std::iter::once(format!("conflicts with {manager}:"))
                    .chain(paths.iter().map(|path| format!("- {path}")))
            })
            .collect();
        format!("Apply failed with {} conflicts: {}", causes.len(), lines.join("\n"))
    };
    Err(ApplyError::Conflicts { message, causes })
}

fn describe_typed_patch(config: &Value, problem: &str) -> String {
    let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    format!(
        "failed to create typed patch object ({}/{}; {}, Kind={}): {problem}",
        text("/metadata/namespace"),
        text("/metadata/name"),
        text("/apiVersion"),
        text("/kind")
    )
}

/// Every item of a list that is a map or set must be there once and carry its keys.
fn validate(node: Node<'_>, value: &Value, path: &mut String) -> Result<(), String> {
    let length = path.len();
    match value {
        Value::Object(map) if node.has_parts(value) => {
            for (name, value) in map {
                element::push_readable(path, &element::field(name));
                validate(node.child(name).node, value, path)?;
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            let Node::List(list) = node else { return Ok(()) };
            let mut seen = std::collections::HashSet::with_capacity(items.len());
            for (at, item) in items.iter().enumerate() {
                let name = element::item(list, item).map_err(|key| {
                    format!(
                        "{path}: element {at}: associative list with keys has an element that omits key field {key:?} (and doesn't have \
                         default value)"
                    )
                })?;
                let readable = |path: &mut String| element::push_readable(path, &name);
                if seen.contains(&name) {
                    let mut item = String::new();
                    readable(&mut item);
                    return Err(format!("{path}: duplicate entries for key {item}"));
                }
                readable(path);
                validate(node.item(), item, path)?;
                path.truncate(length);
                seen.insert(name);
            }
        }
        _ => {}
    }
    Ok(())
}
