//! Kinds that are a row of data: defaults, rules, columns and selectable fields as tables, and a function only where
//! a kind does something no table can say.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::context::Context;
use crate::delete::{self, DeleteMode, DeleteOptions};
use crate::invalid::{Denied, Invalid};
use crate::names::NameRule;
use crate::path::Errors;
use crate::rules::{self, Default, Rule};
use crate::strategy::{Column, ScalePaths, Strategy};
use crate::warnings::Warnings;
use crate::{table, value, walk};

/// When `metadata.generation` grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// The kind does not count it.
    None,
    /// With any of these parts of the object.
    With(&'static [&'static str]),
}

/// What becomes of the status of a new object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewStatus {
    /// The kind has none that is written apart.
    None,
    /// It is emptied if it is given.
    Dropped,
    /// It is an empty object.
    Empty,
    /// It is an object with this phase.
    Phase(&'static str),
    /// It is an object with these numbers, all 0.
    Zeros(&'static [&'static str]),
}

/// A kind as data. See [`Strategy`] for what the parts mean.
#[derive(Clone, Copy)]
pub struct Declared {
    /// Rule for `metadata.name`.
    pub name_rule: NameRule,
    /// When the generation grows.
    pub generation: Generation,
    /// What becomes of a new object's status.
    pub new_status: NewStatus,
    /// Whether a write of the status leaves even labels and annotations as they were.
    pub status_alone: bool,
    /// What everybody is told who uses the kind, if it is not to be used any more.
    pub deprecation: Option<&'static str>,
    /// Whether a new object without a name gets a random one.
    pub names_itself: bool,
    /// Whether a `PUT` to a new name creates.
    pub create_on_update: bool,
    /// Whether a `PUT` may leave the version out.
    pub unconditional_update: bool,
    /// Whether finalizers need not say whose they are.
    pub bare_finalizers: bool,
    /// Whether preparing gives an object something unique, see [`Strategy::serial`].
    pub serial: bool,
    /// Columns; none means name and creation.
    pub columns: &'static [Column],
    /// Selectable fields as dotted paths.
    pub selectable: &'static [&'static str],
    /// Where the scale subresource reads and writes.
    pub scale: Option<&'static ScalePaths>,
    /// What is filled in.
    pub defaults: &'static [Default],
    /// What must hold of an object.
    pub rules: &'static [Rule],
    /// What must hold of a written status.
    pub status_rules: &'static [Rule],
    /// Defaults beyond the table, applied after it.
    pub more_defaults: fn(&mut Value),
    /// Preparation of a new object (no old one) or of an update.
    pub prepare: fn(&Context<'_>, &mut Value, Option<&Value>) -> Result<(), Denied>,
    /// Checks beyond the table.
    pub more_rules: fn(&Value, Option<&Value>, &mut Errors),
    /// Checks of a written status beyond the table.
    pub more_status_rules: fn(&Value, &Value, &mut Errors),
    /// What clients are told of an object that is accepted.
    pub warn: fn(&Value, Option<&Value>, &mut Warnings),
    /// What a delete request does.
    pub delete: fn(&Value, &DeleteOptions, Timestamp) -> DeleteMode,
}

/// A kind with a subdomain for a name, and nothing else.
pub const PLAIN: Declared = Declared {
    name_rule: NameRule::Subdomain,
    generation: Generation::None,
    new_status: NewStatus::None,
    status_alone: false,
    deprecation: None,
    names_itself: false,
    create_on_update: false,
    unconditional_update: true,
    bare_finalizers: false,
    serial: false,
    columns: &[],
    selectable: &[],
    scale: None,
    defaults: &[],
    rules: &[],
    status_rules: &[],
    more_defaults: no_defaults,
    prepare: no_preparation,
    more_rules: no_rules,
    more_status_rules: no_status_rules,
    warn: no_warnings,
    delete: delete::generic,
};

/// The part of an object that most kinds count generations of.
pub const SPEC: Generation = Generation::With(&["spec"]);

fn no_defaults(_: &mut Value) {}

fn no_preparation(_: &Context<'_>, _: &mut Value, _: Option<&Value>) -> Result<(), Denied> {
    Ok(())
}

fn no_rules(_: &Value, _: Option<&Value>, _: &mut Errors) {}

fn no_status_rules(_: &Value, _: &Value, _: &mut Errors) {}

fn no_warnings(_: &Value, _: Option<&Value>, _: &mut Warnings) {}

impl Strategy for Declared {
    fn default(&self, obj: &mut Value) {
        rules::fill(self.defaults, obj);
        (self.more_defaults)(obj);
    }

    fn prepare_create(&self, cx: &Context<'_>, obj: &mut Value) -> Result<(), Denied> {
        let status = match self.new_status {
            NewStatus::None => None,
            NewStatus::Dropped => {
                value::reset_status(obj);
                None
            }
            NewStatus::Empty => Some(Map::new()),
            NewStatus::Phase(phase) => Some(Map::from_iter([("phase".to_owned(), phase.into())])),
            NewStatus::Zeros(numbers) => Some(numbers.iter().map(|name| ((*name).to_owned(), 0.into())).collect()),
        };
        if let (Some(status), Some(map)) = (status, obj.as_object_mut()) {
            map.insert("status".into(), status.into());
        }
        (self.prepare)(cx, obj, None)
    }

    fn prepare_update(&self, cx: &Context<'_>, new: &mut Value, old: &Value) -> Result<(), Denied> {
        if self.new_status != NewStatus::None {
            value::keep(new, old, "status");
        }
        (self.prepare)(cx, new, Some(old))
    }

    fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Invalid> {
        let mut errors = Errors::new();
        rules::check(self.rules, new, old, &mut errors);
        (self.more_rules)(new, old, &mut errors);
        errors.into_vec()
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<Invalid> {
        let mut errors = Errors::new();
        rules::check(self.status_rules, new, Some(old), &mut errors);
        (self.more_status_rules)(new, old, &mut errors);
        errors.into_vec()
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = Warnings::default();
        (self.warn)(new, old, &mut warnings);
        warnings.into_vec()
    }

    fn name_rule(&self) -> NameRule {
        self.name_rule
    }

    fn generation(&self) -> bool {
        self.generation != Generation::None
    }

    fn changes_generation(&self, new: &Value, old: &Value) -> bool {
        match self.generation {
            Generation::None => false,
            Generation::With(parts) => parts.iter().any(|part| walk::at(new, part) != walk::at(old, part)),
        }
    }

    fn status_alone(&self) -> bool {
        self.status_alone
    }

    fn deprecation(&self) -> Option<&str> {
        self.deprecation
    }

    fn names_itself(&self) -> bool {
        self.names_itself
    }

    fn create_on_update(&self) -> bool {
        self.create_on_update
    }

    fn unconditional_update(&self) -> bool {
        self.unconditional_update
    }

    fn bare_finalizers(&self) -> bool {
        self.bare_finalizers
    }

    fn serial(&self) -> bool {
        self.serial
    }

    fn delete(&self, obj: &Value, options: &DeleteOptions, now: Timestamp) -> DeleteMode {
        (self.delete)(obj, options, now)
    }

    fn columns(&self) -> &[Column] {
        if self.columns.is_empty() {
            table::NAME_AND_CREATED
        } else {
            self.columns
        }
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        self.selectable
    }

    fn selectable_field<'a>(&self, obj: &'a Value, name: &str) -> Option<Cow<'a, str>> {
        let known = self.selectable.contains(&name);
        known.then(|| match walk::at(obj, name) {
            Some(Value::String(text)) => text.as_str().into(),
            Some(Value::Bool(flag)) => flag.to_string().into(),
            Some(Value::Number(number)) => number.to_string().into(),
            _ => "".into(),
        })
    }

    fn scale(&self) -> Option<ScalePaths> {
        self.scale.cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{EmptyCluster, Settings};
    use crate::rules::{Check, rule, text};
    use serde_json::json;

    const KIND: Declared = Declared {
        generation: SPEC,
        new_status: NewStatus::Empty,
        selectable: &["spec.on"],
        defaults: &[text("spec.mode", "A")],
        rules: &[rule("spec.mode", Check::OneOf(&["A", "B"]))],
        ..PLAIN
    };

    #[test]
    fn a_row_of_data_is_a_strategy() {
        let settings = Settings::default();
        let cx = Context {
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            user: "u",
            groups: &[],
            namespace: "",
            cluster: &EmptyCluster,
            settings: &settings,
        };
        let mut obj = json!({"metadata": {"name": "a"}, "spec": {"on": true}, "status": {"x": 1}});
        KIND.default(&mut obj);
        KIND.prepare_create(&cx, &mut obj).unwrap();
        KIND.set_generation(&mut obj, None);
        assert_eq!(
            obj,
            json!({"metadata": {"name": "a", "generation": 1}, "spec": {"on": true, "mode": "A"}, "status": {}})
        );
        assert_eq!(KIND.validate(&obj, None), vec![]);
        assert_eq!(KIND.selectable_fields(&obj), [("spec.on".into(), "true".to_owned())]);
        let mut new = obj.clone();
        new["spec"]["mode"] = json!("C");
        new["status"] = json!({"y": 1});
        KIND.prepare_update(&cx, &mut new, &obj).unwrap();
        KIND.set_generation(&mut new, Some(&obj));
        assert_eq!(new["metadata"]["generation"], 2);
        assert_eq!(new["status"], json!({}));
        assert_eq!(KIND.validate(&new, Some(&obj)).len(), 1);
    }
}
