//! The entries of `metadata.managedFields`.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::compare::Difference;
use super::set::{self, Set};

/// What makes an entry that of a manager: an applier has one for all versions, an updater one for each.
#[derive(Clone, Copy)]
pub(super) struct Identity<'a> {
    pub(super) manager: &'a str,
    pub(super) operation: &'static str,
    pub(super) api_version: &'a str,
    pub(super) subresource: &'a str,
}

pub(super) const APPLY: &str = "Apply";
pub(super) const UPDATE: &str = "Update";
/// kube keeps the books of this many updaters; older ones are summed up.
const MAX_UPDATERS: usize = 10;
/// Who owns what the summed-up updaters owned.
const ANCIENT: &str = "ancient-changes";

/// The entries of an object.
#[derive(Default)]
pub(super) struct Managers {
    entries: Vec<Value>,
}

fn text<'v>(entry: &'v Value, name: &str) -> &'v str {
    entry.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn fields(entry: &Value) -> Option<&Set> {
    entry.get("fieldsV1").and_then(Value::as_object)
}

impl Identity<'_> {
    fn is(&self, entry: &Value) -> bool {
        text(entry, "manager") == self.manager
            && text(entry, "operation") == self.operation
            && text(entry, "subresource") == self.subresource
            && (self.operation == APPLY || text(entry, "apiVersion") == self.api_version)
    }
}

impl Managers {
    /// The entries of `managedFields`.
    pub(super) fn of(value: Option<Value>) -> Self {
        match value {
            Some(Value::Array(entries)) => Self { entries },
            _ => Self::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a client may have written these: every entry has an operation and a set.
    pub(super) fn is_valid(&self) -> bool {
        self.entries.iter().all(|entry| {
            matches!(text(entry, "operation"), APPLY | UPDATE)
                && text(entry, "fieldsType") == "FieldsV1"
                && fields(entry).is_some()
        })
    }

    /// Whether this is the one empty entry by which a client asks to forget all entries.
    pub(super) fn is_reset(&self) -> bool {
        matches!(&self.entries[..], [Value::Object(entry)] if entry.is_empty())
    }

    fn position(&self, identity: &Identity<'_>) -> Option<usize> {
        self.entries.iter().position(|entry| identity.is(entry))
    }

    /// What the manager owns.
    pub(super) fn owned(&self, identity: &Identity<'_>) -> Option<&Set> {
        fields(&self.entries[self.position(identity)?])
    }

    /// What everybody but the manager owns, entry by entry.
    pub(super) fn others(&self, identity: &Identity<'_>) -> impl Iterator<Item = (&Value, &Set)> {
        self.entries
            .iter()
            .filter(move |entry| !identity.is(entry))
            .filter_map(|entry| Some((entry, fields(entry)?)))
    }

    /// Takes what changed from everybody but the manager; who owns nothing any more is forgotten, and so is who
    /// owned fields of a version that is no more. `difference` says what changed as a version sees it.
    pub(super) fn take_from_others<'d>(
        &mut self,
        identity: &Identity<'_>,
        mut difference: impl FnMut(&str) -> Option<Cow<'d, Difference>>,
    ) {
        self.entries.retain_mut(|entry| {
            if identity.is(entry) {
                return true;
            }
            let Some(taken) = difference(text(entry, "apiVersion")) else {
                return false;
            };
            match entry.get_mut("fieldsV1") {
                Some(Value::Object(owned)) if !taken.is_empty() => {
                    set::subtract(owned, &taken.changed);
                    set::subtract(owned, &taken.removed);
                    !owned.is_empty()
                }
                _ => true,
            }
        });
    }

    /// Gives members to the manager and takes others from it, at this time.
    pub(super) fn change(&mut self, identity: &Identity<'_>, gained: Set, lost: &Set, now: &str) {
        match self.position(identity) {
            Some(at) => {
                let entry = &mut self.entries[at];
                if let Some(Value::Object(owned)) = entry.get_mut("fieldsV1") {
                    set::unite(owned, gained);
                    set::subtract(owned, lost);
                    if owned.is_empty() {
                        self.entries.remove(at);
                        return;
                    }
                }
                self.stamp(at, now);
            }
            None if gained.is_empty() => {}
            None => self.entries.push(entry(identity, gained, now)),
        }
    }

    /// Takes members from the manager.
    pub(super) fn lose(&mut self, identity: &Identity<'_>, lost: &Set) {
        if let Some(at) = self.position(identity)
            && let Some(Value::Object(owned)) = self.entries[at].get_mut("fieldsV1")
        {
            set::subtract(owned, lost);
            if owned.is_empty() {
                self.entries.remove(at);
            }
        }
    }

    /// Makes the manager own exactly these members; the time changes with them, or when `touch` says that the object
    /// changed.
    pub(super) fn replace(&mut self, identity: &Identity<'_>, owned: Set, now: &str, touch: bool) {
        match self.position(identity) {
            Some(at) if owned.is_empty() => {
                self.entries.remove(at);
            }
            Some(at) => {
                let changed = fields(&self.entries[at]) != Some(&owned);
                if let Value::Object(entry) = &mut self.entries[at] {
                    entry.insert("apiVersion".to_owned(), Value::from(identity.api_version));
                    entry.insert("fieldsV1".to_owned(), Value::Object(owned));
                }
                if changed || touch {
                    self.stamp(at, now);
                }
            }
            None if owned.is_empty() => {}
            None => self.entries.push(entry(identity, owned, now)),
        }
    }

    fn stamp(&mut self, at: usize, now: &str) {
        match self.entries[at].get_mut("time") {
            Some(Value::String(time)) => now.clone_into(time),
            _ => {
                if let Value::Object(entry) = &mut self.entries[at] {
                    entry.insert("time".to_owned(), Value::from(now));
                }
            }
        }
    }

    /// Sums up the oldest updaters when there are too many.
    fn cap(&mut self) {
        let mut updaters: Vec<usize> = (0..self.entries.len())
            .filter(|at| {
                text(&self.entries[*at], "operation") == UPDATE && text(&self.entries[*at], "subresource").is_empty()
            })
            .collect();
        if updaters.len() <= MAX_UPDATERS {
            return;
        }
        updaters.sort_by(|a, b| text(&self.entries[*a], "time").cmp(text(&self.entries[*b], "time")));
        updaters.truncate(updaters.len() + 1 - MAX_UPDATERS);
        updaters.sort_unstable();
        for at in updaters.into_iter().rev() {
            let mut old = self.entries.swap_remove(at);
            let (api_version, time) = (text(&old, "apiVersion").to_owned(), text(&old, "time").to_owned());
            let owned = match old.get_mut("fieldsV1") {
                Some(Value::Object(owned)) => std::mem::take(owned),
                _ => Set::new(),
            };
            let identity = Identity {
                manager: ANCIENT,
                operation: UPDATE,
                api_version: &api_version,
                subresource: "",
            };
            let time = match self.position(&identity) {
                Some(known) if text(&self.entries[known], "time") > time.as_str() => {
                    text(&self.entries[known], "time").to_owned()
                }
                _ => time,
            };
            self.change(&identity, owned, &Set::new(), &time);
        }
    }

    /// The entries as the object carries them: appliers first, then by time, manager, version and subresource.
    pub(super) fn into_value(mut self) -> Option<Value> {
        self.cap();
        if self.entries.is_empty() {
            return None;
        }
        self.entries.sort_by(|a, b| {
            ["operation", "time", "manager", "apiVersion", "subresource"]
                .iter()
                .map(|name| text(a, name).cmp(text(b, name)))
                .find(|order| order.is_ne())
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        Some(Value::Array(self.entries))
    }
}

fn entry(identity: &Identity<'_>, owned: Set, now: &str) -> Value {
    let mut entry = json!({
        "manager": identity.manager,
        "operation": identity.operation,
        "apiVersion": identity.api_version,
        "time": now,
        "fieldsType": "FieldsV1",
        "fieldsV1": owned,
    });
    if !identity.subresource.is_empty() {
        entry["subresource"] = Value::from(identity.subresource);
    }
    entry
}

/// An entry's manager as kube names it in a conflict: `"kubectl" with subresource "status" using v1`.
pub(super) fn describe(entry: &Value) -> String {
    let mut name = format!("{:?}", text(entry, "manager"));
    let subresource = text(entry, "subresource");
    if !subresource.is_empty() {
        name.push_str(&format!(" with subresource {subresource:?}"));
    }
    if text(entry, "operation") == UPDATE {
        name.push_str(&format!(" using {}", text(entry, "apiVersion")));
    }
    name
}

/// Takes what kube never books out of the members of a configuration, and what the endpoint ignores.
pub(super) fn strip(owned: &mut Set, reset_fields: &[&str]) {
    for name in ["f:apiVersion", "f:kind"] {
        owned.remove(name);
    }
    if let Some(Value::Object(metadata)) = owned.get_mut("f:metadata") {
        metadata.retain(|name, _| {
            !name
                .strip_prefix("f:")
                .is_some_and(super::compare::is_unbooked_metadata)
        });
        metadata.remove(set::SELF);
        if metadata.is_empty() {
            owned.remove("f:metadata");
        }
    }
    reset(owned, reset_fields);
}

/// Takes out what the endpoint ignores.
pub(super) fn reset(owned: &mut Set, reset_fields: &[&str]) {
    for path in reset_fields {
        let path: Vec<&str> = path.split('.').collect();
        set::remove_path(owned, &path);
    }
}

/// Takes the entries out of an object.
pub(super) fn take(object: &mut Value) -> Option<Value> {
    object
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .and_then(|metadata| metadata.remove("managedFields"))
}

/// Puts the entries into an object.
pub(super) fn put(object: &mut Value, managers: Managers) {
    let value = managers.into_value();
    let Value::Object(object) = object else { return };
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(metadata) = metadata {
        match value {
            Some(value) => metadata.insert("managedFields".to_owned(), value),
            None => metadata.remove("managedFields"),
        };
    }
}
