//! The rules of custom resources: `x-kubernetes-validations` (KEP-2876), with messages that are expressions, transitions and
//! ratcheting (KEP-4008).

mod compile;
mod define;
mod judge;

use std::collections::BTreeMap;

pub use define::{Fault, Flaw, check_definition};
pub use judge::{Failure, Reason, Verdict};

use crate::Program;

/// The rules of a schema and of everything inside it. Only what has rules is there.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    /// The type that the schema states, which errors show in place of the value.
    type_text: String,
    properties: BTreeMap<String, Rules>,
    items: Option<Box<Rules>>,
    additional: Option<Box<Rules>>,
    all_of: Vec<Rules>,
    /// The keys of a list of type map, whose items are compared with those that they replace.
    keys: Option<Vec<String>>,
}

/// A rule.
#[derive(Debug)]
struct Rule {
    text: String,
    message: String,
    /// What it is to fulfil, or why that is no program, which is found out when a definition is written.
    program: Result<Program, String>,
    message_program: Option<Program>,
    reason: String,
    /// Below the value, without the leading dot.
    field_path: Option<String>,
    /// It is evaluated also where there was nothing before.
    optional_old: bool,
}

impl Rules {
    /// Whether there is nothing to check.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
            && self.properties.is_empty()
            && self.items.is_none()
            && self.additional.is_none()
            && self.all_of.is_empty()
    }
}
