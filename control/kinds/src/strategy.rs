//! What is particular about a kind: the trait the generic engine calls.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;

use crate::cells::Cell;
use crate::context::Context;
use crate::delete::{self, DeleteMode, DeleteOptions};
use crate::invalid::{Denied, Invalid};
use crate::names::NameRule;
use crate::{table, value};

/// One column of a `Table` answer.
#[derive(Debug, Clone)]
pub struct Column {
    /// Heading, for example `Ready`.
    pub name: Cow<'static, str>,
    /// OpenAPI type: `string`, `integer`.
    pub type_: Cow<'static, str>,
    /// OpenAPI format: `name` for the name column, mostly empty.
    pub format: Cow<'static, str>,
    /// What the column shows.
    pub description: Cow<'static, str>,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
    /// Where its cells come from.
    pub cell: Cell,
}

/// Where the scale subresource reads and writes, as dotted paths with a leading dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    /// Wanted replicas, `.spec.replicas`.
    pub spec_replicas: Cow<'static, str>,
    /// Observed replicas, `.status.replicas`.
    pub status_replicas: Cow<'static, str>,
    /// The selector: `.spec.selector` as a `LabelSelector` or as a plain map.
    pub label_selector: Option<Cow<'static, str>>,
}

/// The behaviour of one kind. Every method is a pure function of its arguments.
///
/// The engine's order is: decode → [`default`](Strategy::default) → [`prepare_create`](Strategy::prepare_create) or
/// [`prepare_update`](Strategy::prepare_update) → [`set_generation`](Strategy::set_generation) →
/// [`validate_object_meta`](crate::validate_object_meta) with [`name_rule`](Strategy::name_rule) →
/// [`validate`](Strategy::validate) → store. A write to the status subresource goes through
/// [`prepare_status`](Strategy::prepare_status) and [`validate_status`](Strategy::validate_status) instead.
pub trait Strategy: Sync {
    /// Fills fields that have a default. Runs on every object that a client sends, also on status writes and patches.
    fn default(&self, _obj: &mut Value) {}

    /// Makes a new object ready: drops its status, fills what admission would (addresses, priority, tolerations).
    fn prepare_create(&self, _cx: &Context<'_>, obj: &mut Value) -> Result<(), Denied> {
        value::reset_status(obj);
        Ok(())
    }

    /// Makes an update ready: the status stays as stored.
    fn prepare_update(&self, _cx: &Context<'_>, new: &mut Value, old: &Value) -> Result<(), Denied> {
        value::keep(new, old, "status");
        Ok(())
    }

    /// Makes a status update ready: everything but the status and what metadata may change stays as stored.
    fn prepare_status(&self, _cx: &Context<'_>, new: &mut Value, old: &Value) -> Result<(), Denied> {
        value::keep_all_but_status(new, old);
        if self.status_alone() {
            value::keep_metadata(new, old);
        }
        Ok(())
    }

    /// Whether a write of the status leaves even labels and annotations as they were.
    fn status_alone(&self) -> bool {
        false
    }

    /// Field errors of a new object (`old` is `None`) or of an update; metadata is checked apart.
    fn validate(&self, _new: &Value, _old: Option<&Value>) -> Vec<Invalid> {
        Vec::new()
    }

    /// Field errors of a status update.
    fn validate_status(&self, _new: &Value, _old: &Value) -> Vec<Invalid> {
        Vec::new()
    }

    /// As [`validate`](Strategy::validate) or, of a status, as [`validate_status`](Strategy::validate_status); tells also
    /// what is wrong but was so before, which a client is only warned of.
    fn judge(&self, new: &Value, old: Option<&Value>, status: bool, _warnings: &mut Vec<String>) -> Vec<Invalid> {
        match old {
            Some(old) if status => self.validate_status(new, old),
            _ => self.validate(new, old),
        }
    }

    /// What a client is told of an object that is accepted all the same: what is on its way out, and what is hardly meant
    /// as it is written. Of writes to the object itself, new (`old` is `None`) or updated.
    fn warnings(&self, _new: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// Makes a write to another part of the object ready, such as `ephemeralcontainers`, `resize` or `approval`.
    fn prepare_part(&self, _part: &str, cx: &Context<'_>, new: &mut Value, old: &Value) -> Result<(), Denied> {
        self.prepare_status(cx, new, old)
    }

    /// Field errors of a write to another part of the object.
    fn validate_part(&self, _part: &str, new: &Value, old: &Value) -> Vec<Invalid> {
        self.validate_status(new, old)
    }

    /// Rule for `metadata.name`.
    fn name_rule(&self) -> NameRule {
        NameRule::Subdomain
    }

    /// Whether finalizers need not say whose they are.
    fn bare_finalizers(&self) -> bool {
        false
    }

    /// Whether the kind counts `metadata.generation`.
    fn generation(&self) -> bool {
        false
    }

    /// Whether an update counts as a new generation. Asked only where [`generation`](Strategy::generation) is true.
    fn changes_generation(&self, new: &Value, old: &Value) -> bool {
        new.get("spec") != old.get("spec")
    }

    /// Writes `metadata.generation`: 1 at creation, one more with a changed spec, as stored otherwise.
    /// The engine calls it after `prepare_create` and `prepare_update` (not for status writes, where it is kept).
    fn set_generation(&self, new: &mut Value, old: Option<&Value>) {
        let next = match old {
            _ if !self.generation() => None,
            None => Some(1),
            Some(old) => {
                let stored = value::i64_at(old, &["metadata", "generation"]);
                let stored = stored.unwrap_or(0);
                Some(if self.changes_generation(new, old) {
                    stored + 1
                } else {
                    stored
                })
            }
        };
        if let Some(metadata) = value::object_mut(new, "metadata") {
            match next {
                Some(n) if n > 0 => {
                    metadata.insert("generation".into(), n.into());
                }
                _ => {
                    metadata.remove("generation");
                }
            }
        }
    }

    /// Whether preparing gives an object something unique. Then preparing what was prepared changes nothing, unless that
    /// was given to somebody else meanwhile.
    fn serial(&self) -> bool {
        false
    }

    /// Whether a new object without a name gets a random one.
    fn names_itself(&self) -> bool {
        false
    }

    /// Whether an update of an absent object creates it (`PUT` to a new name), as Leases and Events allow.
    fn create_on_update(&self) -> bool {
        false
    }

    /// Whether an update may leave `metadata.resourceVersion` out.
    fn unconditional_update(&self) -> bool {
        true
    }

    /// Whether the object may be deleted at all.
    fn may_delete(&self, _obj: &Value) -> Result<(), Denied> {
        Ok(())
    }

    /// What a delete request does to the object.
    fn delete(&self, obj: &Value, options: &DeleteOptions, now: Timestamp) -> DeleteMode {
        delete::generic(obj, options, now)
    }

    /// Whether an updated object is to be removed at once: it was waiting for finalizers, and the last one is gone.
    fn finished(&self, obj: &Value) -> bool {
        delete::finished(obj)
    }

    /// Columns of a `Table`.
    fn columns(&self) -> &[Column] {
        table::NAME_AND_CREATED
    }

    /// The row of an object, one value for each column.
    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        self.columns().iter().map(|column| column.cell.show(obj, now)).collect()
    }

    /// Names of the fields that a field selector may use, beyond `metadata.name` and `metadata.namespace`.
    fn selectable_field_names(&self) -> &'static [&'static str] {
        &[]
    }

    /// One selectable field's value; `None` when the name is not selectable. Absent fields are empty strings.
    fn selectable_field<'a>(&self, _obj: &'a Value, _name: &str) -> Option<Cow<'a, str>> {
        None
    }

    /// All selectable fields with their values.
    fn selectable_fields(&self, obj: &Value) -> Vec<(Cow<'static, str>, String)> {
        let names = self.selectable_field_names().iter();
        names
            .filter_map(|n| Some((Cow::Borrowed(*n), self.selectable_field(obj, n)?.into_owned())))
            .collect()
    }

    /// What everybody is told who uses the kind, if it is not to be used any more.
    fn deprecation(&self) -> Option<&str> {
        None
    }

    /// Paths of the scale subresource, where the kind has one.
    fn scale(&self) -> Option<ScalePaths> {
        None
    }
}
